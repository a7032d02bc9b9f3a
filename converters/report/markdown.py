"""The report of a conversion for people: `report.md`, the answer first, then what it rests on."""

from __future__ import annotations

import re
import shlex

from edgevision.converters.calibration import Data
from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.int8.range_methods import METHODS
from edgevision.converters.report.agreement import (
    agreement_cell,
    agreement_section,
    headline,
    lacking,
)
from edgevision.converters.report.json_file import recipe, zero_inputs
from edgevision.converters.report.outputs import code, outputs_table
from edgevision.text import counted, markdown, score_text, size_text

__all__ = ["report_markdown"]

_LISTED = 12

_ROUNDING = "`rounding` rounds weights by what the pictures make of them, not to the nearest."
_UNPROVEN = (
    "There were no pictures to compare it with fp32 on, so no machine takes it by itself; "
    "`--calibration` gives some."
)
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
        *(_variant_section(made, conversion) for made in conversion.made),
        _changes_section(conversion),
        _next_section(conversion),
    ]
    return "\n\n".join(s for s in sections if s) + "\n"


def _headline(conversion: Conversion) -> str:
    name = markdown(conversion.order.output.stem)
    derived = [m for m in conversion.made if m.quantized is not None]
    if not derived:
        return f"# {name}\n\nConverted to a clean fp32 model. Nothing was quantized, so there was nothing to prove."
    lines = [_sentence(made, conversion) for made in derived]
    if not conversion.passed:
        lines.append(
            "What did not pass was left out of the bundle."
            if conversion.order.keep_passing
            else "**So no bundle was written.** More and more varied pictures from the camera help most."
        )
    return f"# {name}\n\n" + "\n\n".join(lines)


def _sentence(made: Made, conversion: Conversion) -> str:
    if made.proof is None:
        return f"**{markdown(made.variant.id)}: ⚠️ not proven.** {_UNPROVEN}"
    agreement = made.proof.agreement
    speed = conversion.timings[made.variant.id]["speedup"]
    size = made.variant.size_bytes / conversion.made[0].variant.size_bytes
    runs = "" if "trt" in made.variant.targets else f"runs at {speed:.2f}× its speed here and "
    return (
        f"**{markdown(made.variant.id)}: {_VERDICTS[agreement['verdict']]}.** "
        f"{headline(agreement)}, {runs}takes {size:.0%} of its size."
        + lacking(agreement)
        + _broken(made)
    )


def _broken(made: Made) -> str:
    if made.proof is None or not made.proof.broken:
        return ""
    return " Some of its raw outputs are NaN or infinite, which fails it, whatever else agrees."


def _model_text(conversion: Conversion) -> str:
    """What the model is, so that a wrong preset is seen here."""
    spec = conversion.spec
    size = "any size" if spec.input.size is None else "×".join(map(str, spec.input.size))
    count = len(spec.labels)
    classes = f", {count} class{'es' if count > 1 else ''}" if count else ""
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
            ("reference" if made.quantized is None else "not proven")
            if made.proof is None
            else f"{agreement_cell(made.proof.agreement)} {_VERDICTS[made.proof.verdict]}"
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
    for_gpus = [m.variant.id for m in conversion.made if "trt" in m.variant.targets]
    if for_gpus:
        lines.append(
            f"Written for TensorRT: {', '.join(f'`{i}`' for i in for_gpus)}; "
            "its speed on a CPU says nothing about a GPU."
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
            f"{agreement_cell(proof.agreement)} {_VERDICTS[proof.verdict]} | "
            f"{engine.timing['latency_ms']['p50']:.2f} ms | {engine.timing['speedup']:.2f}× |"
        )
    rows += ["", "`edgevision run` takes the fastest that passed, unless told otherwise."]
    return "\n".join(rows)


#: How each kind of data is split into its parts.
_SPLIT = {
    "video": "a video, split into the first 40 % of the frames, the next 20 % and the last 40 %",
    "folder": "a folder, split into parts chosen by each file's hash",
    "belts": "a belt for each part, with other garments",
}


def _data_section(conversion: Conversion) -> str:
    data = conversion.data
    if data is None:
        return ""
    lines = [
        "## Data",
        "",
        f"{code(data.name)}, {_SPLIT[data.kind]}, so nothing that was calibrated on was proven on:",
        "",
        f"- calibrated on {data.calibration.count} pictures (digest `{data.digest[:16]}…`)",
        *([_chosen_on(data)] if any(made.trials for made in conversion.made) else []),
        f"- proven on {data.proof.count}",
    ]
    if data.problems:
        lines += ["", f"⚠️ Problems with it: {len(data.problems)}", ""]
        lines += [f"- {markdown(p)}" for p in data.problems[:_LISTED]]
    if len(data.problems) > _LISTED:
        lines.append(f"- … and {len(data.problems) - _LISTED} more; all are in `report.json`")
    return "\n".join(lines)


def _chosen_on(data: Data) -> str:
    if data.selection.count:
        return f"- chose among recipes on {data.selection.count}"
    return "- chose among recipes on the same pictures: so few were given that none fell to the part for that"


def _variant_section(made: Made, conversion: Conversion) -> str:
    if made.quantized is None:
        return ""
    parts = [
        f"## {markdown(made.variant.id)}",
        agreement_section(made.proof.agreement) if made.proof else "",
        outputs_table(made) if made.proof else "",
        _recipes_text(made, conversion),
        _float_text(made),
    ]
    return "\n\n".join(p for p in parts if p)


def _recipes_text(made: Made, conversion: Conversion) -> str:
    if not made.trials:
        return ""
    own = conversion.data is not None and conversion.data.selection.count > 0
    part = "selection" if own else "calibration"
    rows = [f"| recipe tried | agreement on the {part} pictures | size |", "| --- | ---: | ---: |"]
    for trial in made.trials:
        shipped = " (shipped)" if trial.candidate.name == recipe(made) else ""
        rows.append(
            f"| {trial.candidate.name}{shipped} | {score_text(trial.score)} | {size_text(trial.size_bytes)} |"
        )
    tried = dict.fromkeys(trial.candidate.ranges for trial in made.trials)
    meant = [f"`{name}` {METHODS[name]}" for name in tried]
    rows += ["", f"As the range of an activation, {'; '.join(meant)}. {_ROUNDING}"]
    return "\n".join(rows)


def _float_text(made: Made) -> str:
    report = made.quantized or {}
    kept: dict[str, str] = report.get("float", {})
    reasons: dict[str, int] = {}
    for reason in kept.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    kind = "fp16" if "fp16" in report else "int8"
    count = len(report.get(kind, []))
    runs, stay = "runs" if count == 1 else "run", "stays" if len(kept) == 1 else "stay"
    lines = [f"{counted(count, 'node')} {runs} in {kind}, {len(kept)} {stay} in float."]
    if reasons:
        lines.append("")
    lines += [
        f"- {count} × {markdown(reason)}"
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    lines += [f"\n{markdown(note)}" for note in report.get("notes", [])]
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
