"""The report of a conversion for people: `report.md`, the answer first, then what it rests on."""

from __future__ import annotations

import re
import shlex

from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.report.accuracy import accuracy_cell, accuracy_section
from edgevision.converters.report.agreement import agreement_cell, agreement_section
from edgevision.converters.report.data import data_section, noise_warning
from edgevision.converters.report.decided import proof_cell, proof_headline, proof_lacking
from edgevision.converters.report.json_file import zero_inputs
from edgevision.converters.report.outputs import code, outputs_table
from edgevision.converters.report.speed import (
    elsewhere_notes,
    original_notes,
    ratio_text,
    speed_counts,
    speed_notes,
)
from edgevision.converters.report.trials import trials_section
from edgevision.text import counted, markdown, size_text

__all__ = ["report_markdown"]

_LISTED = 12

_UNPROVEN = (
    "There were no pictures to compare it with fp32 on, so no machine takes it by itself; "
    "`--calibration` gives some."
)
_VERDICTS = {
    "pass": "✅ pass",
    "fail": "❌ fail",
    "insufficient": "⚠️ insufficient data",
    "not proven": "⚠️ not proven",
    "reference": "reference",
}


def report_markdown(conversion: Conversion, runs: str = "") -> str:
    """The whole report.

    Args:
        conversion: What it is about.
        runs: Which variant runs on this machine, as a sentence; empty where there is no bundle.
    """
    sections = [
        _headline(conversion),
        _noise_text(conversion),
        runs if len(conversion.made) > 1 else "",
        _model_text(conversion),
        _zeros_text(conversion),
        _table(conversion),
        _speed_note(conversion),
        _engines_section(conversion),
        data_section(conversion),
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
    speed = conversion.timings[made.variant.id]["speedup"]
    size = made.variant.size_bytes / conversion.made[0].variant.size_bytes
    whose = "its" if made.proof.accuracy is None else "fp32's"
    runs = f", runs at {speed:.2f}× {whose} speed here" if speed_counts(made.variant.id) else ""
    return (
        f"**{markdown(made.variant.id)}: {_VERDICTS[made.verdict]}.** "
        f"{proof_headline(made.proof)}{runs} and takes {size:.0%} of {whose} size."
        + proof_lacking(made.proof)
        + _broken(made)
    )


def _noise_text(conversion: Conversion) -> str:
    """That the calibration was noise, right below the answer."""
    warning = noise_warning(conversion)
    return f"⚠️ **{warning}**" if warning else ""


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
        + _baked_text(conversion)
    )


def _baked_text(conversion: Conversion) -> str:
    """What the variants do by themselves, for whoever feeds them without edgevision."""
    dtype, baked = conversion.spec.input.dtype, conversion.spec.baked
    if not conversion.order.bake:
        return ""
    done = {made.variant.id for made in conversion.made if made.variant.spec.baked == baked}
    which = "Every variant" if len(done) == len(conversion.made) else ", ".join(sorted(done))
    what = f", with this baked into it: {', '.join(baked)}" if baked else ""
    return f" {which} takes {dtype} pixels{what}."


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
    labelled = conversion.validation is not None
    rows = [
        "| variant | size | agreement with fp32 |"
        + (" accuracy |" if labelled else "")
        + " median inference | speed against fp32 | against the original |",
        "| --- | ---: | --- |" + (" --- |" if labelled else "") + " ---: | ---: | ---: |",
    ]
    for made in conversion.made:
        timing = conversion.timings[made.variant.id]
        rows.append(
            f"| {markdown(made.variant.id)} | {size_text(made.variant.size_bytes)} | {_agreement(made)} |"
            + (f" {_accuracy(made)} |" if labelled else "")
            + f" {timing['latency_ms']['p50']:.2f} ms | {timing['speedup']:.2f}× "
            f"| {ratio_text(timing.get('speedup_vs_original'))} |"
        )
    if "latency_ms" in conversion.original:
        own = conversion.original
        rows.append(
            "| the file as it came | | |"
            + (" |" if labelled else "")
            + f" {own['latency_ms']['p50']:.2f} ms | {own['speedup']:.2f}× | 1.00× |"
        )
    return "\n".join(rows)


def _agreement(made: Made) -> str:
    if made.proof is None:
        return "reference" if made.quantized is None else "not proven"
    cell = agreement_cell(made.proof.agreement)
    return cell if made.proof.accuracy else f"{cell} {_VERDICTS[made.verdict]}"


def _accuracy(made: Made) -> str:
    if made.proof is None or made.proof.accuracy is None:
        return "reference"
    return f"{accuracy_cell(made.proof.accuracy)} {_VERDICTS[made.verdict]}"


def _speed_note(conversion: Conversion) -> str:
    how = (
        "Inference alone, on onnxruntime's CPU provider, the variants and the original file taken in turn on "
        "this machine; `edgevision bench` measures a whole pipeline on yours."
    )
    lines = [how, *(f"**{note}**" for note in speed_notes(conversion))]
    return "\n".join([*lines, *original_notes(conversion), *elsewhere_notes(conversion)])


def _engines_section(conversion: Conversion) -> str:
    """Other engines on this machine; `run` takes the fastest proven one by itself."""
    proven = [(e, e.proof) for e in conversion.engines if e.proof is not None]
    if not proven:
        return ""
    rows = [
        "## In other engines",
        "",
        "| variant | engine | executes in | "
        + ("accuracy" if conversion.validation is not None else "agreement with fp32")
        + " | median inference | speed against fp32 in onnxruntime |",
        "| --- | --- | --- | --- | ---: | ---: |",
    ]
    for engine, proof in proven:
        rows.append(
            f"| {markdown(engine.variant)} | {engine.backend} | {engine.compute} | "
            f"{proof_cell(proof)} {_VERDICTS[proof.verdict]} | "
            f"{engine.timing['latency_ms']['p50']:.2f} ms | {engine.timing['speedup']:.2f}× |"
        )
    if not conversion.rejected:
        rows += ["", "`edgevision run` takes the fastest that passed, unless told otherwise."]
    return "\n".join(rows)


def _variant_section(made: Made, conversion: Conversion) -> str:
    if made.quantized is None:
        return ""
    parts = [
        f"## {markdown(made.variant.id)}",
        accuracy_section(made.proof.accuracy) if made.proof and made.proof.accuracy else "",
        agreement_section(made.proof.agreement) if made.proof else "",
        outputs_table(made) if made.proof else "",
        trials_section(made, conversion),
        _float_text(made),
    ]
    return "\n\n".join(p for p in parts if p)


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
    lines += [f"\n{markdown(note, 1000)}" for note in report.get("notes", [])]
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
    if conversion.rejected:
        return ""
    name = conversion.order.output.name
    bundle = shlex.quote(name) if re.fullmatch(r"[\w.+ -]+", name) else "BUNDLE.evb"
    return (
        "## Next\n\n```\n"
        f"edgevision run {bundle} VIDEO out.mp4 out.jsonl\n"
        f"edgevision bench {bundle} VIDEO\n"
        f"edgevision verify {bundle}\n```"
    )
