"""The report of a conversion for scripts: `report.json`, the same for the same input."""

from __future__ import annotations

from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.onnx_header import read_header

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
    inputs = read_header(conversion.order.model).inputs
    return [tensor.name for tensor in inputs if tensor.name != conversion.spec.input.tensor]


def _variant(made: Made) -> dict[str, Any]:
    facts: dict[str, Any] = {"size_bytes": made.variant.size_bytes, "sha256": made.variant.sha256}
    if made.proof is None:
        return facts | {"agreement": None, "outputs": {}}
    facts["agreement"] = made.proof.agreement
    facts["outputs"] = {
        name: {key: value if value is None else round(value, 6) for key, value in found.items()}
        for name, found in made.proof.outputs.items()
    }
    facts["quantization"] = made.quantized
    facts["read_back"] = made.written
    facts["trials"] = [
        {"recipe": t.candidate.name, "agreement": round(t.score, 6)} for t in made.trials
    ]
    return facts


def _calibration(conversion: Conversion) -> dict[str, Any] | None:
    data = conversion.data
    if data is None:
        return None
    return {
        "method": next((recipe(m) for m in conversion.made if m.proof is not None), None),
        "samples": data.calibration.count,
        "digest": data.digest,
        "data": data.name,
        "selection_samples": data.selection.count,
        "recipes_chosen_on": "selection" if data.selection.count else "calibration",
        "proof_samples": data.proof.count,
        "problems": data.problems,
    }


def recipe(made: Made) -> str:
    report = made.quantized or {}
    return f"{report.get('ranges')}{'+rounding' if report.get('rounding') else ''}"


def _overall(conversion: Conversion) -> str:
    verdicts = {m.proof.verdict for m in conversion.made if m.proof is not None}
    for verdict in ("fail", "insufficient"):
        if verdict in verdicts:
            return verdict
    return "pass" if verdicts else "reference only"
