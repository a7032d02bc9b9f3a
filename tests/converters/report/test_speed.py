"""What the reports say of speed: against fp32, against the file as it came, and when nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgevision.converters import cli as convert_cli
from edgevision.converters.conversion import Conversion
from edgevision.converters.report.markdown import report_markdown
from edgevision.converters.report.speed import original_notes, speed_notes


def timed(
    conversion: Conversion, original: dict[str, Any], **variants: tuple[float, float | None]
) -> Conversion:
    """The conversion with other speeds: over fp32, and over the original."""
    timings = {
        name: {
            **found,
            **dict(
                zip(
                    ("speedup", "speedup_vs_original"),
                    variants.get(name.replace("-", "_"), (1.0, 1.0)),
                    strict=True,
                )
            ),
        }
        for name, found in conversion.timings.items()
    }
    return replace(conversion, timings=timings, original=original, engines=[])


def own(**changed: Any) -> dict[str, Any]:
    return {"latency_ms": {"p50": 10.0}, "speedup": 0.8, "won": 0.1, "shapes": "own"} | changed


def test_the_original_is_measured_beside_the_variants(converted: Conversion) -> None:
    original = converted.original
    assert original["shapes"] == "own"
    assert original["latency_ms"]["p50"] > 0
    for found in converted.timings.values():
        ratio = found["speedup"] / original["speedup"]
        assert found["speedup_vs_original"] == pytest.approx(ratio, abs=0.002)


def test_what_cleaning_gained_is_said(converted: Conversion) -> None:
    faster = timed(converted, own(), fp32=(1.0, 1.25), int8_x86=(2.0, 2.5))
    (note,) = original_notes(faster)
    assert note.startswith("Cleaning alone made fp32 1.25× as fast as the original file")
    assert speed_notes(faster) == []
    text = report_markdown(faster)
    assert note in text
    assert "| the file as it came | | | 10.00 ms | 0.80× | 1.00× |" in text
    assert note in convert_cli._text(faster)


@pytest.mark.parametrize(
    ("ratio", "won", "said"),
    [
        (1.25, 0.1, "Cleaning alone made"),
        (1.25, 0.5, ""),  # it was faster on the median, and in half of the rounds it was not
        (1.02, 0.0, ""),
        (0.98, 1.0, ""),
        (0.8, 0.9, "⚠️ The cleaned fp32 runs at only 0.80×"),
        (0.8, 0.5, ""),
    ],
)
def test_a_difference_that_may_be_the_machines_is_not_told(
    converted: Conversion, ratio: float, won: float, said: str
) -> None:
    notes = original_notes(timed(converted, own(won=won), fp32=(1.0, ratio)))
    assert [note[: len(said)] for note in notes] == ([said] if said else [])


def test_int8_behind_the_original_is_said_although_it_beats_fp32(converted: Conversion) -> None:
    behind = timed(converted, own(), int8_x86=(1.1, 0.9))
    assert speed_notes(behind) == ["int8-x86 is not faster than the original file here"]
    assert convert_cli._text(behind).splitlines()[-1] == f"note: {speed_notes(behind)[0]}"


def test_int8_behind_fp32_is_the_last_line(converted: Conversion) -> None:
    slow = timed(converted, own(), int8_x86=(0.9, 1.1), int8_trt=(0.1, 0.1))
    (note,) = speed_notes(slow)
    assert note == (
        "int8-x86 is not faster than fp32 on this machine, so fp32 is what runs here by default"
    ), "and nothing of int8-trt, which is for GPUs"


def test_an_original_that_cannot_run_is_said(converted: Conversion) -> None:
    alone = timed(
        converted, {"problem": "it takes 10 pictures at a time, fp32 1"}, fp32=(1.0, None)
    )
    (note,) = original_notes(alone)
    assert "could not be measured" in note
    assert "it takes 10 pictures at a time" in note
    assert "| not measured |" in report_markdown(alone)


def test_an_original_that_had_to_be_told_its_size_is_said(converted: Conversion) -> None:
    (note,) = original_notes(timed(converted, own(shapes="fixed"), fp32=(1.0, 1.0)))
    assert "had to be told the size of its input" in note
