"""The report of a conversion: `report.json` for scripts, the same for the same input; `report.md` for people."""

from __future__ import annotations

from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.text import markdown, printable, size_text

__all__ = ["REPORT_SCHEMA", "report_json", "report_markdown"]

REPORT_SCHEMA = 1
_LISTED = 12

_VERDICTS = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "insufficient": "⚠️ insufficient data",
    "reference": "reference",
}


def report_json(conversion: Conversion) -> dict[str, Any]:
    """What was made, on which data, with which verdict; no time, host or path in it."""
    return {
        "schema": REPORT_SCHEMA,
        "model": conversion.order.model.name,
        "changes": conversion.changes,
        "variants": {made.variant.id: _variant(made) for made in conversion.made},
        "calibration": _calibration(conversion),
        "verdict": _overall(conversion),
    }


def report_markdown(conversion: Conversion) -> str:
    """The report for people: the answer first, then what it rests on."""
    sections = [
        _headline(conversion),
        _table(conversion),
        _speed_note(conversion),
        _data_section(conversion),
        *(_variant_section(made) for made in conversion.made if made.proof is not None),
        _changes_section(conversion),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


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
        "method": next((_recipe(m) for m in conversion.made if m.proof is not None), None),
        "samples": data.calibration.count,
        "digest": data.digest,
        "data": data.name,
        "selection_samples": data.selection.count,
        "proof_samples": data.proof.count,
        "problems": data.problems,
    }


def _recipe(made: Made) -> str:
    report = made.quantized or {}
    return f"{report.get('ranges')}{'+rounding' if report.get('rounding') else ''}"


def _overall(conversion: Conversion) -> str:
    verdicts = {m.proof.verdict for m in conversion.made if m.proof is not None}
    for verdict in ("fail", "insufficient"):
        if verdict in verdicts:
            return verdict
    return "pass" if verdicts else "reference only"


def _headline(conversion: Conversion) -> str:
    name = markdown(conversion.order.output.stem)
    proven = [m for m in conversion.made if m.proof is not None]
    if not proven:
        return f"# {name}\n\nConverted to a clean fp32 model. Nothing was quantized, so there was nothing to prove."
    lines = [_sentence(made, conversion) for made in proven]
    return f"# {name}\n\n" + "\n\n".join(lines)


def _sentence(made: Made, conversion: Conversion) -> str:
    agreement = made.proof.agreement if made.proof else {}
    metric = {"f1": "F1", "top1": "top-1"}[agreement["metric"]]
    speed = conversion.timings[made.variant.id]["speedup"]
    size = made.variant.size_bytes / conversion.made[0].variant.size_bytes
    return (
        f"**{markdown(made.variant.id)}: {_VERDICTS[agreement['verdict']]}.** "
        f"It agrees with fp32 at {metric} {agreement['value']:.4f} (at least {agreement['least']:g} was asked), "
        f"runs at {speed:.2f}× its speed on this machine and takes {size:.0%} of its size."
    )


def _table(conversion: Conversion) -> str:
    rows = [
        "| variant | size | agreement with fp32 | median inference | speed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for made in conversion.made:
        timing = conversion.timings[made.variant.id]
        agreement = (
            "reference"
            if made.proof is None
            else f"{made.proof.value:.4f} {_VERDICTS[made.proof.verdict]}"
        )
        rows.append(
            f"| {markdown(made.variant.id)} | {size_text(made.variant.size_bytes)} | {agreement} "
            f"| {timing['latency_ms']['p50']:.2f} ms | {timing['speedup']:.2f}× |"
        )
    return "\n".join(rows)


def _speed_note(conversion: Conversion) -> str:
    slower = [
        m.variant.id
        for m in conversion.made
        if m.proof is not None
        and "trt" not in m.variant.targets
        and conversion.timings[m.variant.id]["speedup"] < 1
    ]
    how = (
        "Inference alone, on onnxruntime's CPU provider, the variants taken in turn on this machine; "
        "`edgevision bench` measures a whole pipeline on yours."
    )
    lines = [how]
    if slower:
        lines.append(
            f"**{', '.join(slower)} is not faster than fp32 here**: run fp32 on machines like this one."
        )
    if any("trt" in m.variant.targets for m in conversion.made):
        lines.append(
            "The `trt` variant is written for TensorRT; its speed on a CPU says nothing about a GPU."
        )
    return "\n".join(lines)


def _data_section(conversion: Conversion) -> str:
    data = conversion.data
    if data is None:
        return ""
    how = (
        "the first 40 % of the frames, the next 20 % and the last 40 %"
        if data.kind == "video"
        else "parts chosen by each file's hash"
    )
    lines = [
        "## Data",
        "",
        f"`{markdown(data.name)}`, a {data.kind}, split into {how}, so nothing that was calibrated on was proven on:",
        "",
        f"- calibrated on {data.calibration.count} pictures (digest `{data.digest[:16]}…`)",
        f"- chose among recipes on {data.selection.count}",
        f"- proven on {data.proof.count}",
    ]
    lines += [f"- ⚠️ {markdown(p)}" for p in data.problems[:_LISTED]]
    if len(data.problems) > _LISTED:
        lines.append(
            f"- … and {len(data.problems) - _LISTED} more problems; all are in `report.json`"
        )
    return "\n".join(lines)


def _variant_section(made: Made) -> str:
    if made.proof is None:
        return ""
    parts = [
        f"## {markdown(made.variant.id)}",
        _agreement_text(made),
        _outputs_table(made),
        _recipes_text(made),
        _float_text(made),
    ]
    return "\n\n".join(p for p in parts if p)


def _agreement_text(made: Made) -> str:
    agreement = made.proof.agreement if made.proof else {}
    if agreement["metric"] == "top1":
        return f"The best class is the same in {agreement['value']:.2%} of {agreement['samples']} pictures."
    at = ", ".join(f"{value:.4f} at score {score}" for score, value in agreement["f1_at"].items())
    return (
        f"Over {agreement['frames']} pictures fp32 finds {agreement['samples']} objects at score 0.35. "
        f"Of those the variant finds {agreement['recall']:.1%}, and {agreement['precision']:.1%} of what it finds "
        f"is among them (same class, IoU ≥ 0.5, one to one). F1 is {at}."
    )


def _outputs_table(made: Made) -> str:
    rows = ["| output | cosine | signal to noise |", "| --- | --- | --- |"]
    for name, found in (made.proof.outputs if made.proof else {}).items():
        sqnr = "exact" if found["sqnr_db"] is None else f"{found['sqnr_db']:.1f} dB"
        rows.append(f"| `{printable(name)}` | {found['cosine']:.5f} | {sqnr} |")
    return "\n".join(rows)


def _recipes_text(made: Made) -> str:
    tried = ", ".join(f"{t.candidate.name} {t.score:.4f}" for t in made.trials)
    return (
        f"Recipes tried, with their agreement on the selection pictures: {tried}. Shipped: **{_recipe(made)}**."
        if tried
        else ""
    )


def _float_text(made: Made) -> str:
    report = made.quantized or {}
    kept: dict[str, str] = report.get("float", {})
    reasons: dict[str, int] = {}
    for reason in kept.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    lines = [f"{len(report.get('int8', []))} nodes run in int8, {len(kept)} stay in float:"]
    lines += [
        f"- {count}: {markdown(reason)}"
        for reason, count in sorted(reasons.items(), key=lambda item: -item[1])
    ]
    lines += [f"- ⚠️ {markdown(w)}" for w in report.get("warnings", [])[:_LISTED]]
    return "\n".join(lines)


def _changes_section(conversion: Conversion) -> str:
    if not conversion.changes:
        return ""
    return "## What was changed in the graph\n\n" + "\n".join(
        f"- {markdown(c)}" for c in conversion.changes
    )
