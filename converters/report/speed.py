"""What is to be said of speed: what is not faster than float here, and what cleaning alone gained."""

from __future__ import annotations

import platform

from edgevision.converters.conversion import Conversion, Made

__all__ = ["original_notes", "ratio_text", "speed_counts", "speed_notes"]

#: A smaller difference may well be the machine's, and so may one that shows in fewer of the rounds.
_NOTEWORTHY, _MOST_ROUNDS = 0.03, 0.75


def ratio_text(ratio: float | None) -> str:
    """``1.50×``."""
    return "not measured" if ratio is None else f"{ratio:.2f}×"


def speed_counts(variant_id: str) -> bool:
    """Whether a speed measured here says anything: not of what is for GPUs, or for the other kind of processor."""
    other = "x86" if platform.machine().lower() in ("aarch64", "arm64") else "arm"
    return variant_id not in ("fp16", "int8-trt") and not variant_id.startswith(f"int8-{other}")


def speed_notes(conversion: Conversion) -> list[str]:
    """What is slower than what it was made of, as sentences; empty if nothing is."""
    mine = [
        made for made in conversion.made if made.proof is not None and speed_counts(made.variant.id)
    ]
    slower = [m.variant.id for m in mine if conversion.timings[m.variant.id]["speedup"] < 1]
    notes = []
    if slower:
        notes.append(
            f"{', '.join(slower)} is not faster than fp32 on this machine, so fp32 is what runs here by default"
        )
    behind = [m.variant.id for m in mine if m.variant.id not in slower and _behind(m, conversion)]
    if behind:
        notes.append(f"{', '.join(behind)} is not faster than the original file here")
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
    won = original.get("won", 0.5)  # rounds in which the original was faster than fp32
    if ratio >= 1 + _NOTEWORTHY and won <= 1 - _MOST_ROUNDS:
        return [
            f"Cleaning alone made fp32 {ratio:.2f}× as fast as the original file, with the same results.{fixed}"
        ]
    if ratio <= 1 - _NOTEWORTHY and won >= _MOST_ROUNDS:
        return [f"⚠️ The cleaned fp32 runs at only {ratio:.2f}× the original's speed here.{fixed}"]
    return [fixed.strip()] if fixed else []


def _behind(made: Made, conversion: Conversion) -> bool:
    ratio = conversion.timings[made.variant.id].get("speedup_vs_original")
    return ratio is not None and ratio < 1
