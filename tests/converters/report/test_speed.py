"""What the reports say of speed: against fp32, against the file as it came, and when nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgevision.converters import cli as convert_cli
from edgevision.converters.conversion import Conversion, Engine
from edgevision.converters.report.markdown import report_markdown
from edgevision.converters.report.speed import (
    not_faster,
    original_notes,
    speed_counts,
    speed_notes,
)


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


def test_a_graph_that_does_more_is_not_called_slow_without_saying_so(
    converted: Conversion,
) -> None:
    spec = replace(converted.spec, output=replace(converted.spec.output, baked=("nms",)))
    slow = timed(replace(converted, spec=spec), own(won=1.0), fp32=(1.0, 0.8))
    assert original_notes(slow) == [
        "⚠️ The cleaned fp32 runs at only 0.80× the original's speed here. It does more by itself: nms."
    ]
    quick = timed(replace(converted, spec=spec), own(), fp32=(1.0, 1.2))
    assert original_notes(quick)[0].startswith("Cleaning and baking made fp32 1.20×")


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


def test_what_runs_here_is_said_only_if_it_does(converted: Conversion) -> None:
    """In another engine, or as another variant, INT8 may be faster; and where there is no bundle nothing runs."""
    slow = timed(converted, own(), int8_x86=(0.9, 1.1))
    proof = slow.made[1].proof
    assert proof is not None
    quick = Engine("int8-x86", "openvino", "int8", proof, {"speedup": 1.5})
    elsewhere = replace(slow, engines=[quick])
    assert speed_notes(elsewhere) == [
        "int8-x86 is not faster than fp32 in onnxruntime on this machine"
    ]
    failed = replace(proof, agreement=proof.agreement | {"verdict": "fail"})
    rejected = [replace(made, proof=failed) if made.proof else made for made in slow.made]
    assert speed_notes(replace(slow, made=rejected)) == [
        "int8-x86 is not faster than fp32 on this machine"
    ]
    other = replace(slow.made[1], variant=replace(slow.made[1].variant, id="int8-x86-avx2"))
    timings = slow.timings | {"int8-x86-avx2": slow.timings["int8-x86"] | {"speedup": 2.0}}
    both = replace(slow, made=[*slow.made, other], timings=timings)
    assert speed_notes(both) == ["int8-x86 is not faster than fp32 on this machine"]


def test_several_that_are_slower_are_named_together() -> None:
    assert not_faster(["int8-x86"]) == "int8-x86 is not faster"
    assert not_faster(["int8-x86", "int8-x86-avx2"]) == "int8-x86, int8-x86-avx2 are not faster"


@pytest.mark.parametrize(
    ("machine", "variant_id", "counts"),
    [
        ("x86_64", "int8-x86", True),
        ("x86_64", "int8-x86-avx2", True),
        ("x86_64", "int8-arm", False),
        ("aarch64", "int8-arm", True),
        ("aarch64", "int8-x86", False),
        ("x86_64", "int8-trt", False),
        ("x86_64", "fp16", False),
        ("aarch64", "fp32", True),
    ],
)
def test_a_speed_counts_where_the_variant_is_to_run(
    monkeypatch: pytest.MonkeyPatch, machine: str, variant_id: str, counts: bool
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert speed_counts(variant_id) == counts


def test_speeds_of_variants_for_other_machines_are_not_boasted_of(
    converted: Conversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proven or not: what is not proven has no targets, and is for the same machine."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    _, x86, trt = converted.made
    arm = replace(x86, variant=replace(x86.variant, id="int8-arm"))
    half = replace(trt, variant=replace(trt.variant, id="fp16", targets=()))
    timings = dict.fromkeys(("fp32", "fp16", "int8-arm"), converted.timings["int8-x86"])
    made = [converted.made[0], half, arm]
    found = timed(replace(converted, made=made, timings=timings), {})
    text = report_markdown(found)
    assert "runs at" not in text
    assert "Written for TensorRT: `fp16`; its speed on a CPU says nothing about a GPU." in text
    assert (
        "Written for another kind of processor: `int8-arm`; its speed on this one says nothing"
        in text
    )


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
