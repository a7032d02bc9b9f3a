"""The report of a conversion: `report.json` for scripts, the same for the same input; `report.md` for people."""

from __future__ import annotations

import re
import shlex
from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.prove import LEAST_DETECTIONS, LEAST_FRAMES
from edgevision.text import markdown, printable, size_text

__all__ = ["REPORT_SCHEMA", "report_json", "report_markdown"]

REPORT_SCHEMA = 1
_LISTED = 12

_RECIPES = (
    "`minmax` takes the extremes of all calibration pictures as ranges, `mean` the mean of each one's; "
    "`rounding` rounds weights by what the pictures make of them, not to the nearest."
)
_METRICS = {"f1": "F1", "top1": "top-1"}
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
        _model_text(conversion),
        _table(conversion),
        _speed_note(conversion),
        _data_section(conversion),
        *(_variant_section(made) for made in conversion.made if made.proof is not None),
        _changes_section(conversion),
        _next_section(conversion),
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
    if not conversion.passed:
        lines.append(
            "What did not pass was left out of the bundle."
            if conversion.order.keep_passing
            else "**So no bundle was written.** More and more varied pictures from the camera help most."
        )
    return f"# {name}\n\n" + "\n\n".join(lines)


def _sentence(made: Made, conversion: Conversion) -> str:
    agreement = made.proof.agreement if made.proof else {}
    speed = conversion.timings[made.variant.id]["speedup"]
    size = made.variant.size_bytes / conversion.made[0].variant.size_bytes
    runs = "" if "trt" in made.variant.targets else f"runs at {speed:.2f}× its speed here and "
    return (
        f"**{markdown(made.variant.id)}: {_VERDICTS[agreement['verdict']]}.** "
        f"It agrees with fp32 at {_METRICS[agreement['metric']]} {agreement['value']:.4f} "
        f"(at least {agreement['least']:g} was asked), {runs}takes {size:.0%} of its size."
        + _lacking(agreement)
    )


def _lacking(agreement: dict[str, Any]) -> str:
    """What was too little, if the data were."""
    if agreement["verdict"] != "insufficient":
        return ""
    pictures, objects = agreement["frames"], agreement["samples"]
    seen = f"{pictures} pictures" + (
        f" with {objects} objects" if agreement["metric"] == "f1" else ""
    )
    least = f"{LEAST_FRAMES} pictures" + (
        f" with {LEAST_DETECTIONS} objects" if agreement["metric"] == "f1" else ""
    )
    return f" That rests on only {seen}; a verdict needs at least {least}."


def _model_text(conversion: Conversion) -> str:
    """What the model is, so that a wrong preset is seen here."""
    spec = conversion.spec
    size = "any size" if spec.input.size is None else "×".join(map(str, spec.input.size))
    classes = f", {len(spec.labels)} classes" if spec.labels else ""
    return (
        f"From {_code(conversion.order.model.name)}: {markdown(spec.task)} with decoder "
        f"{_code(spec.output.decoder)}{classes}, on {size} {spec.input.colour} pictures ({spec.input.resize})."
    )


def _table(conversion: Conversion) -> str:
    rows = [
        "| variant | size | agreement with fp32 | median inference | speed |",
        "| --- | ---: | --- | ---: | ---: |",
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
        f"{_code(data.name)}, a {data.kind}, split into {how}, so nothing that was calibrated on was proven on:",
        "",
        f"- calibrated on {data.calibration.count} pictures (digest `{data.digest[:16]}…`)",
        f"- chose among recipes on {data.selection.count}",
        f"- proven on {data.proof.count}",
    ]
    if data.problems:
        lines += ["", f"⚠️ Problems with it: {len(data.problems)}", ""]
        lines += [f"- {markdown(p)}" for p in data.problems[:_LISTED]]
    if len(data.problems) > _LISTED:
        lines.append(f"- … and {len(data.problems) - _LISTED} more; all are in `report.json`")
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
    right = (
        f"{agreement['precision']:.1%} of what it finds is among them"
        if agreement["recall"]
        else ""
    )
    return (
        f"Over {agreement['frames']} pictures fp32 finds {agreement['samples']} objects at score 0.35. "
        f"Of those the variant finds {agreement['recall']:.1%}{', and ' if right else ''}{right} "
        f"(same class, IoU ≥ 0.5, one to one). F1 is {at}."
    )


def _outputs_table(made: Made) -> str:
    """Raw outputs, the worst first: what to look at when the agreement is low."""
    rows = ["| output | cosine | signal to noise |", "| --- | ---: | ---: |"]
    outputs = made.proof.outputs if made.proof else {}
    worst = sorted(outputs.items(), key=lambda item: item[1]["cosine"] or 0.0)
    for name, found in worst[:_LISTED]:
        sqnr = "exact" if found["sqnr_db"] is None else f"{found['sqnr_db']:.1f} dB"
        rows.append(f"| {_code(name)} | {found['cosine']:.5f} | {sqnr} |")
    if len(worst) > _LISTED:
        rows.append(f"| … and {len(worst) - _LISTED} more | | |")
    return "\n".join(rows)


def _recipes_text(made: Made) -> str:
    if not made.trials:
        return ""
    rows = ["| recipe tried | agreement on the selection pictures |", "| --- | ---: |"]
    for trial in made.trials:
        shipped = " (shipped)" if trial.candidate.name == _recipe(made) else ""
        rows.append(f"| {trial.candidate.name}{shipped} | {trial.score:.4f} |")
    rows += ["", _RECIPES]
    return "\n".join(rows)


def _float_text(made: Made) -> str:
    report = made.quantized or {}
    kept: dict[str, str] = report.get("float", {})
    reasons: dict[str, int] = {}
    for reason in kept.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    lines = [f"{len(report.get('int8', []))} nodes run in int8, {len(kept)} stay in float."]
    if reasons:
        lines.append("")
    lines += [
        f"- {count} × {markdown(reason)}"
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    warnings = report.get("warnings", [])
    if warnings:
        lines += ["", *(f"- ⚠️ {markdown(w)}" for w in warnings[:_LISTED])]
    return "\n".join(lines)


def _changes_section(conversion: Conversion) -> str:
    if not conversion.changes:
        return ""
    return "## What was changed in the graph\n\n" + "\n".join(
        f"- {markdown(c)}" for c in conversion.changes
    )


def _next_section(conversion: Conversion) -> str:
    order = conversion.order
    if not conversion.passed and not order.keep_passing:
        return ""
    name = order.output.name
    bundle = shlex.quote(name) if re.fullmatch(r"[\w.+ -]+", name) else "BUNDLE.evb"
    return (
        "## Next\n\n```\n"
        f"edgevision run {bundle} VIDEO out.mp4 out.jsonl\n"
        f"edgevision bench {bundle} VIDEO\n"
        f"edgevision verify {bundle}\n```"
    )


def _code(text: str) -> str:
    """A name in code style; in a table too, and whatever it holds."""
    plain = printable(text).translate(str.maketrans("`|<>", "'¦‹›"))
    return f"`{plain}`"
