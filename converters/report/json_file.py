"""The report of a conversion for scripts: `report.json`, the same for the same input."""

from __future__ import annotations

from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.int8.candidates import Candidate

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
        "engines": {e.name: e.proof.agreement for e in conversion.engines if e.proof is not None},
        "calibration": _calibration(conversion),
        "verdict": _overall(conversion),
    }


def zero_inputs(conversion: Conversion) -> list[str]:
    """Inputs besides the one for pictures: whatever runs the model here feeds them with zeros."""
    inputs = conversion.read.header.inputs
    return [tensor.name for tensor in inputs if tensor.name != conversion.spec.input.tensor]


def _variant(made: Made) -> dict[str, Any]:
    facts: dict[str, Any] = {"size_bytes": made.variant.size_bytes, "sha256": made.variant.sha256}
    if made.quantized is not None:
        facts |= {"quantization": made.quantized, "read_back": made.written}
    if made.proof is None:
        return facts | {"agreement": None, "outputs": {}}
    facts["agreement"] = made.proof.agreement
    facts["outputs"] = {
        name: {key: value if value is None else round(value, 6) for key, value in found.items()}
        for name, found in made.proof.outputs.items()
    }
    facts["trials"] = [
        {"recipe": t.candidate.name, "agreement": round(t.score, 6), "size_bytes": t.size_bytes}
        for t in made.trials
    ]
    return facts


def _calibration(conversion: Conversion) -> dict[str, Any] | None:
    data = conversion.data
    if data is None:
        return None
    proven = sorted((m for m in conversion.made if m.proof is not None), key=lambda m: not m.trials)
    return {
        "method": recipe(proven[0]) if proven else None,
        "samples": data.calibration.count,
        "digest": data.digest,
        "data": data.name,
        "selection_samples": data.selection.count,
        "recipes_chosen_on": "selection" if data.selection.count else "calibration",
        "proof_samples": data.proof.count,
        "problems": data.problems,
    }


def recipe(made: Made) -> str:
    """The recipe that a variant was written by, as its trial is called."""
    report = made.quantized or {}
    put_back = tuple(report.get("put_back", ()))
    return Candidate(str(report.get("ranges")), bool(report.get("rounding")), put_back).name


def _overall(conversion: Conversion) -> str:
    verdicts = {m.proof.verdict for m in conversion.made if m.proof is not None}
    for verdict in ("fail", "insufficient"):
        if verdict in verdicts:
            return verdict
    if any(m.proof is None and m.quantized is not None for m in conversion.made):
        return "not proven"
    return "pass" if verdicts else "reference only"
