"""What a bundle says of how accurate a variant is in an engine: the entry ``accuracy`` of a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgevision.bundle import Bundle

__all__ = ["accuracy_of"]

_KEPT = ("metric", "value", "reference", "samples", "verdict")
#: What agreement with fp32 is measured against: fp32 in this engine. It agrees with itself.
_REFERENCE = ("fp32", "ort", "fp32")


def accuracy_of(bundle: Bundle, variant: str, backend: str, compute: str) -> dict[str, Any] | None:
    """What was proven of exactly this variant, engine and precision when the bundle was made.

    Returns:
        ``metric``, ``value``, ``reference`` (fp32's, where the pictures were labelled, else None),
        ``samples`` and ``verdict``, which is ``reference`` for what the others were held against;
        None where nothing was proven.
    """
    proofs = bundle.variants[variant].verified if variant in bundle.variants else ()
    for proof in proofs:
        if (proof.get("backend"), proof.get("compute")) == (backend, compute):
            return {key: proof.get(key) for key in _KEPT} if "value" in proof else None
    return _reference(bundle) if (variant, backend, compute) == _REFERENCE else None


def _reference(bundle: Bundle) -> dict[str, Any] | None:
    every = [proof for variant in bundle.variants.values() for proof in variant.verified]
    known = next((proof for proof in every if "value" in proof), None)
    return None if known is None else _entry(known)


def _entry(proof: Mapping[str, Any]) -> dict[str, Any]:
    """Of the reference, as a proof of another variant tells it."""
    return {
        "metric": proof.get("metric"),
        "value": proof.get("reference", 1.0),
        "reference": None,
        "samples": proof.get("samples"),
        "verdict": "reference",
    }
