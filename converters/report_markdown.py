"""The report of a conversion for people: `report.md`, the answer first, then what it rests on."""

from __future__ import annotations

import re
import shlex
from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.prove import (
    LEAST_DETECTIONS,
    LEAST_FRAMES,
    MOST_OF_ONE_CLASS,
    one_sided,
)
from edgevision.converters.report import recipe, zero_inputs
from edgevision.converters.report_outputs import code, outputs_table
from edgevision.text import counted, markdown, score_text, size_text

__all__ = ["report_markdown"]

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


def report_markdown(conversion: Conversion) -> str:
    """The whole report."""
    sections = [
        _headline(conversion),
        _model_text(conversion),
        _zeros_text(conversion),
        _table(conversion),
        _speed_note(conversion),
        _engines_section(conversion),
        _data_section(conversion),
        *(_variant_section(made, conversion) for made in conversion.made if made.proof is not None),
        _changes_section(conversion),
        _next_section(conversion),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


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
        f"It agrees with fp32 at {_METRICS[agreement['metric']]} {score_text(agreement['value'])} "
        f"(at least {agreement['least']:g} was asked), {runs}takes {size:.0%} of its size."
        + _lacking(agreement)
        + _broken(made)
    )


def _lacking(agreement: dict[str, Any]) -> str:
    """What was too little, if the data were."""
    if agreement["verdict"] != "insufficient":
        return ""
    detects = agreement["metric"] == "f1"
    pictures, objects = agreement["frames"], agreement["samples"]
    lines = []
    if detects or pictures < LEAST_FRAMES:
        seen = f"{pictures} pictures" + (f" with {objects} objects" if detects else "")
        least = f"{LEAST_FRAMES} pictures" + (
            f" with {LEAST_DETECTIONS} objects" if detects else ""
        )
        lines.append(f" That rests on only {seen}; a verdict needs at least {least}.")
    if one_sided(agreement) and pictures:
        best = code(agreement["commonest"] or "nothing")
        lines.append(
            f" fp32 says {best} in {agreement['commonest_frames']} of {pictures} pictures: a model that "
            "always says so would agree as often. A verdict needs pictures of several classes, "
            f"none of them in more than {MOST_OF_ONE_CLASS:.0%}."
        )
    return "".join(lines)


def _broken(made: Made) -> str:
    if made.proof is None or not made.proof.broken:
        return ""
    return " Some of its raw outputs are NaN or infinite, which fails it, whatever else agrees."


def _model_text(conversion: Conversion) -> str:
    """What the model is, so that a wrong preset is seen here."""
    spec = conversion.spec
    size = "any size" if spec.input.size is None else "×".join(map(str, spec.input.size))
    classes = f", {len(spec.labels)} classes" if spec.labels else ""
    return (
        f"From {code(conversion.order.model.name)}: {markdown(spec.task)} with decoder "
        f"{code(spec.output.decoder)}{classes}, on {size} {spec.input.colour} pictures ({spec.input.resize})."
    )


def _zeros_text(conversion: Conversion) -> str:
    names = zero_inputs(conversion)
    if not names:
        return ""
    shown = ", ".join(map(code, names[:_LISTED])) + (", …" if len(names) > _LISTED else "")
    return (
        f"⚠️ Inputs fed with zeros: {shown}. Only {code(str(conversion.spec.input.tensor))} takes pictures; "
        "calibration, proof and `edgevision run` leave the others at zero, so what is said here holds for "
        "zeros alone."
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
            else f"{score_text(made.proof.value)} {_VERDICTS[made.proof.verdict]}"
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


def _engines_section(conversion: Conversion) -> str:
    """Other engines on this machine; `run` takes the fastest proven one by itself."""
    proven = [(e, e.proof) for e in conversion.engines if e.proof is not None]
    if not proven:
        return ""
    rows = [
        "## In other engines",
        "",
        "| variant | engine | executes in | agreement with fp32 | median inference | speed |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    for engine, proof in proven:
        rows.append(
            f"| {markdown(engine.variant)} | {engine.backend} | {engine.compute} | "
            f"{score_text(proof.value)} {_VERDICTS[proof.verdict]} | "
            f"{engine.timing['latency_ms']['p50']:.2f} ms | {engine.timing['speedup']:.2f}× |"
        )
    rows += ["", "`edgevision run` takes the fastest that passed, unless told otherwise."]
    return "\n".join(rows)


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
        f"{code(data.name)}, a {data.kind}, split into {how}, so nothing that was calibrated on was proven on:",
        "",
        f"- calibrated on {data.calibration.count} pictures (digest `{data.digest[:16]}…`)",
        f"- chose among recipes on {data.selection.count}"
        if data.selection.count
        else "- chose among recipes on the same pictures: so few were given that none fell to the part for that",
        f"- proven on {data.proof.count}",
    ]
    if data.problems:
        lines += ["", f"⚠️ Problems with it: {len(data.problems)}", ""]
        lines += [f"- {markdown(p)}" for p in data.problems[:_LISTED]]
    if len(data.problems) > _LISTED:
        lines.append(f"- … and {len(data.problems) - _LISTED} more; all are in `report.json`")
    return "\n".join(lines)


def _variant_section(made: Made, conversion: Conversion) -> str:
    if made.proof is None:
        return ""
    parts = [
        f"## {markdown(made.variant.id)}",
        _agreement_text(made),
        outputs_table(made),
        _recipes_text(made, conversion),
        _float_text(made),
    ]
    return "\n\n".join(p for p in parts if p)


def _agreement_text(made: Made) -> str:
    agreement = made.proof.agreement if made.proof else {}
    if agreement["metric"] == "top1":
        return f"The best class is the same in {agreement['value']:.2%} of {agreement['samples']} pictures."
    at = ", ".join(
        f"{score_text(value)} at score {score}" for score, value in agreement["f1_at"].items()
    )
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


def _recipes_text(made: Made, conversion: Conversion) -> str:
    if not made.trials:
        return ""
    own = conversion.data is not None and conversion.data.selection.count > 0
    part = "selection" if own else "calibration"
    rows = [f"| recipe tried | agreement on the {part} pictures |", "| --- | ---: |"]
    for trial in made.trials:
        shipped = " (shipped)" if trial.candidate.name == recipe(made) else ""
        rows.append(f"| {trial.candidate.name}{shipped} | {score_text(trial.score)} |")
    rows += ["", _RECIPES]
    return "\n".join(rows)


def _float_text(made: Made) -> str:
    report = made.quantized or {}
    kept: dict[str, str] = report.get("float", {})
    reasons: dict[str, int] = {}
    for reason in kept.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    int8 = len(report.get("int8", []))
    runs, stay = "runs" if int8 == 1 else "run", "stays" if len(kept) == 1 else "stay"
    lines = [f"{counted(int8, 'node')} {runs} in int8, {len(kept)} {stay} in float."]
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
