"""What is to be said of speed: what is not faster than float here, and what cleaning alone gained."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from edgevision.choice import Choice
from edgevision.converters.conversion import Conversion, Engine, Made, for_gpus
from edgevision.text import markdown

__all__ = [
    "elsewhere_notes",
    "not_faster",
    "original_notes",
    "ratio_text",
    "runs_here",
    "speed_counts",
    "speed_notes",
]

#: A smaller difference may well be the machine's, and so may one that shows in fewer of the rounds.
_NOTEWORTHY, _MOST_ROUNDS = 0.03, 0.75


def ratio_text(ratio: float | None) -> str:
    """``1.50×``."""
    return "not measured" if ratio is None else f"{ratio:.2f}×"


def speed_counts(variant_id: str) -> bool:
    """Whether a speed measured here says anything: not of what is for GPUs, or for the other kind of processor."""
    other = "x86" if platform.machine().lower() in ("aarch64", "arm64") else "arm"
    return not for_gpus(variant_id) and not variant_id.startswith(f"int8-{other}")


def runs_here(choice: Choice) -> str:
    """What `edgevision run` takes on this machine, and why, as a sentence."""
    engine = "onnxruntime" if choice.backend == "ort" else choice.backend
    compute = choice.compute or choice.variant.precision
    reason = markdown(choice.reason, 1000)
    return (
        f"Here `edgevision run` takes **{choice.variant.id}**, in {engine} ({compute}): {reason}."
    )


def not_faster(names: Sequence[str]) -> str:
    """``int8-x86 is not faster``, ``int8-x86, int8-x86-avx2 are not faster``."""
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} not faster"


def elsewhere_notes(conversion: Conversion) -> list[str]:
    """Which speeds are not to be judged by, as they are those of variants for other machines."""
    other = [m for m in conversion.made if not speed_counts(m.variant.id)]
    gpus = [m.variant.id for m in other if m.for_gpus]
    cpus = [m.variant.id for m in other if not m.for_gpus]
    return [
        f"Written for {what}: {', '.join(f'`{name}`' for name in names)}; "
        f"{'its' if len(names) == 1 else 'their'} speed {here} says nothing about {one}."
        for what, names, here, one in (
            ("TensorRT", gpus, "on a CPU", "a GPU"),
            ("another kind of processor", cpus, "on this one", "the other"),
        )
        if names
    ]


def speed_notes(conversion: Conversion) -> list[str]:
    """What is slower than what it was made of, as sentences; empty if nothing is."""
    mine = [
        made for made in conversion.made if made.proof is not None and speed_counts(made.variant.id)
    ]
    slower = [m.variant.id for m in mine if conversion.timings[m.variant.id]["speedup"] < 1]
    notes = []
    if slower:
        elsewhere = any(e.variant in slower and _pays(e) for e in conversion.engines)
        notes.append(
            f"{not_faster(slower)} than fp32 {'in onnxruntime ' if elsewhere else ''}on this machine"
            + (", so fp32 is what runs here by default" if _float_runs(conversion) else "")
        )
    behind = [m.variant.id for m in mine if m.variant.id not in slower and _behind(m, conversion)]
    if behind:
        notes.append(f"{not_faster(behind)} than the original file here")
    return notes


def original_notes(conversion: Conversion) -> list[str]:
    """How the cleaned fp32 compares with the file as it came, as sentences."""
    original = conversion.original
    if "problem" in original:
        return [f"The original file could not be measured beside them: {original['problem']}."]
    ratio = conversion.timings["fp32"].get("speedup_vs_original")
    if ratio is None:
        return []
    fixed = (
        " The original had to be told the size of its input to run at all."
        if original.get("shapes") == "fixed"
        else ""
    )
    baked = conversion.spec.baked
    won = original.get("won", 0.5)  # rounds in which the original was faster than fp32
    if ratio >= 1 + _NOTEWORTHY and won <= 1 - _MOST_ROUNDS:
        how = "Cleaning and baking" if baked else "Cleaning alone"
        return [
            f"{how} made fp32 {ratio:.2f}× as fast as the original file, with the same results.{fixed}"
        ]
    if ratio <= 1 - _NOTEWORTHY and won >= _MOST_ROUNDS:
        more = f" It does more by itself: {', '.join(baked)}." if baked else ""
        return [
            f"⚠️ The cleaned fp32 runs at only {ratio:.2f}× the original's speed here.{more}{fixed}"
        ]
    return [fixed.strip()] if fixed else []


def _float_runs(conversion: Conversion) -> bool:
    """Whether there is a bundle, and nothing in it that was made of fp32 is proven and faster here."""
    quicker = [
        made
        for made in conversion.made
        if made.verdict == "pass"
        and speed_counts(made.variant.id)
        and conversion.timings[made.variant.id]["speedup"] >= 1
    ]
    engines = [e for e in conversion.engines if e.variant != "fp32" and _pays(e)]
    return not (quicker or engines or conversion.rejected)


def _pays(engine: Engine) -> bool:
    proven = engine.proof is not None and engine.proof.passed
    return proven and engine.timing["speedup"] > 1


def _behind(made: Made, conversion: Conversion) -> bool:
    ratio = conversion.timings[made.variant.id].get("speedup_vs_original")
    return ratio is not None and ratio < 1
