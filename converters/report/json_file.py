"""The report of a conversion for scripts: `report.json`, the same for the same input."""

from __future__ import annotations

from typing import Any

from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.int8.candidates import Candidate
from edgevision.converters.prove import Proof

__all__ = ["REPORT_SCHEMA", "recipe", "report_json", "zero_inputs"]

REPORT_SCHEMA = 1


def report_json(conversion: Conversion) -> dict[str, Any]:
    """What was made, on which data, with which verdict; no time, host or path in it."""
    return {
        "schema": REPORT_SCHEMA,
        "model": conversion.order.model.name,
        "changes": conversion.changes,
        "inputs_fed_with_zeros": zero_inputs(conversion),
        "variants": {made.variant.id: _variant(made) for made in conversion.made},
        "engines": {e.name: _engine(e.proof) for e in conversion.engines if e.proof is not None},
        "calibration": _calibration(conversion),
        "validation": _validation(conversion),
        "verdict": _overall(conversion),
    }


def zero_inputs(conversion: Conversion) -> list[str]:
    """Inputs besides the one for pictures: whatever runs the model here feeds them with zeros."""
    inputs = conversion.read.header.inputs
    return [tensor.name for tensor in inputs if tensor.name != conversion.spec.input.tensor]


def _variant(made: Made) -> dict[str, Any]:
    facts: dict[str, Any] = {"size_bytes": made.variant.size_bytes, "sha256": made.variant.sha256}
    facts["baked"] = list(made.variant.spec.baked)
    if made.quantized is not None:
        facts |= {"quantization": made.quantized, "read_back": made.written}
    facts["verdict"] = made.verdict
    if made.proof is None:
        return facts | {"agreement": None, "outputs": {}}
    facts["agreement"] = made.proof.agreement
    facts["decided_by"] = "agreement"
    if made.proof.accuracy is not None:
        facts |= {"accuracy": made.proof.accuracy, "decided_by": "accuracy"}
    facts["outputs"] = {
        name: {key: value if value is None else round(value, 6) for key, value in found.items()}
        for name, found in made.proof.outputs.items()
    }
    score = facts["decided_by"]
    facts["trials"] = [
        {
            "recipe": t.candidate.name,
            score: round(t.score, 6),
            "size_bytes": t.size_bytes,
            "int8_share": round(t.int8_share, 6),
        }
        for t in made.trials
    ]
    return facts


def _calibration(conversion: Conversion) -> dict[str, Any] | None:
    data = conversion.data
    if data is None:
        return None
    own = conversion.validation is None  # else the labelled pictures choose and decide
    proven = sorted((m for m in conversion.made if m.proof is not None), key=lambda m: not m.trials)
    return {
        "method": recipe(proven[0]) if proven else None,
        "samples": data.calibration.count,
        "digest": data.digest,
        "data": data.name,
        "selection_samples": data.selection.count if own else 0,
        "recipes_chosen_on": _chosen_on(data) if own else "validation",
        "proof_samples": data.proof.count if own else 0,
        "proof_digest": data.proof.digest or None,
        "proof_repeated": data.proof.repeated,
        "random": data.random,
        "problems": data.problems,
    }


def _chosen_on(data: Data) -> str:
    return "selection" if data.selection.count else "calibration"


def _validation(conversion: Conversion) -> dict[str, Any] | None:
    found = conversion.validation
    if found is None:
        return None
    return {
        "data": found.name,
        "format": found.confirmation.kind,
        "selection_samples": len(found.selection),
        "selection_digest": found.selection.digest,
        "confirmation_samples": found.count,
        "confirmation_digest": found.confirmation.digest,
        "confirmation_repeated": found.repeated,
        "calibrated_on_it": len(found.calibration),
        "problems": found.problems,
    }


def _engine(proof: Proof) -> dict[str, Any]:
    if proof.accuracy is None:
        return proof.agreement
    return proof.agreement | {"accuracy": proof.accuracy, "verdict": proof.verdict}


def recipe(made: Made) -> str:
    """The recipe that a variant was written by, as its trial is called."""
    report = made.quantized or {}
    put_back = tuple(report.get("put_back", ()))
    return Candidate(
        str(report.get("ranges")),
        bool(report.get("rounding")),
        put_back,
        bool(report.get("equalized")),
    ).name


def _overall(conversion: Conversion) -> str:
    verdicts = {made.verdict for made in conversion.made}
    for verdict in ("fail", "insufficient", "not proven", "pass"):
        if verdict in verdicts:
            return verdict
    return "reference only"
