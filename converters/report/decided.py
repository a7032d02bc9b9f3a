"""What decided about a variant, in words: accuracy where pictures are labelled, else agreement with fp32."""

from __future__ import annotations

from edgevision.converters.prove import Proof
from edgevision.converters.report.accuracy import (
    accuracy_cell,
    accuracy_headline,
    accuracy_required,
    accuracy_text,
)
from edgevision.converters.report.agreement import (
    agreement_cell,
    found_text,
    headline,
    lacking,
    required,
)

__all__ = ["proof_cell", "proof_headline", "proof_lacking", "proof_required", "proof_text"]


def proof_text(proof: Proof) -> str:
    """The number, and what it rests on, for a line."""
    return found_text(proof.agreement) if proof.accuracy is None else accuracy_text(proof.accuracy)


def proof_required(proof: Proof) -> str:
    """What was asked."""
    if proof.accuracy is not None:
        return accuracy_required(proof.accuracy)
    return required(proof.agreement["metric"], proof.agreement["least"])


def proof_headline(proof: Proof) -> str:
    """The number in a sentence."""
    return (
        headline(proof.agreement) if proof.accuracy is None else accuracy_headline(proof.accuracy)
    )


def proof_cell(proof: Proof) -> str:
    """The number in a table."""
    return (
        agreement_cell(proof.agreement) if proof.accuracy is None else accuracy_cell(proof.accuracy)
    )


def proof_lacking(proof: Proof) -> str:
    """What was too little, if the data were."""
    if proof.accuracy is None:
        return lacking(proof.agreement)
    shortcoming = proof.accuracy["shortcoming"]
    return f" {shortcoming}" if shortcoming else ""
