"""The table: complete, aligned, within 100 columns, and honest about what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevision.benchmarks.record import Record
from edgevision.benchmarks.report.text import report_text
from edgevision.clock import STAGES

MS = 1_000_000


def with_samples(record: Record, milliseconds: list[int], **stages: list[int]) -> Record:
    """The record with other samples; stages that are not given took no time."""
    zeros = np.zeros(len(milliseconds), np.int64)
    given = {name: np.array(values, np.int64) * MS for name, values in stages.items()}
    return replace(
        record,
        samples_ns=np.array(milliseconds, np.int64) * MS,
        begins_ns=(np.cumsum([0, *milliseconds])[:-1] * MS).astype(np.int64),
        stages_ns={stage: given.get(stage, zeros) for stage in STAGES},
        ran_ns=sum(milliseconds) * MS,
    )


def line(text: str, start: str) -> str:
    return next(x for x in text.splitlines() if x.startswith(start))


def test_table_says_what_ran_and_what_it_took(record: Record) -> None:
    text = report_text(with_samples(record, [10] * 700, compute=[10] * 700))
    assert text.splitlines()[0] == "tiny · single-stream · VALID"
    assert line(text, "variant").split() == ["variant", "fp32", "(fp32)"]
    assert "ort: onnxruntime" in line(text, "backend")
    assert line(text, "queries").endswith("700 in 7.0 s, after 3 of warm-up")
    assert line(text, "throughput").endswith("100.0 frames/s")
    assert line(text, "ms ").split() == ["ms"] + ["10.000"] * 6
    for name in ("load", "first inference", "peak memory", "timed", "not timed"):
        assert line(text, name)


def test_percentiles_without_enough_queries_are_dashes_with_a_footnote(record: Record) -> None:
    text = report_text(with_samples(record, [10] * 70))
    assert line(text, "ms ").split() == ["ms", "10.000", "10.000", "10.000", "—", "—", "10.000"]
    assert "— too few queries to quote it; needed: p95 130, p99 662" in text


def test_no_footnote_where_nothing_is_left_out(record: Record) -> None:
    assert "too few" not in report_text(with_samples(record, [10] * 662))


def test_stages_show_their_share_and_those_without_time_are_left_out(record: Record) -> None:
    text = report_text(with_samples(record, [10] * 70, read=[1] * 70, compute=[8] * 70))
    text = text[text.index("stage ") :]
    assert line(text, "read").split() == ["read", "1.000", "1.000", "10.0", "%", "█" * 4]
    assert line(text, "compute").split() == ["compute", "8.000", "8.000", "80.0", "%", "█" * 32]
    assert not any(x.startswith("h2d") for x in text.splitlines())


def test_overlapping_queries_are_named_in_the_first_line(record: Record) -> None:
    text = report_text(replace(record, hint="throughput", in_flight=3))
    assert text.splitlines()[0] == "tiny · single-stream, 3 in flight · VALID"


def test_reason_of_an_invalid_run_stands_in_the_first_line(record: Record) -> None:
    bad = replace(record, valid=False, invalid_reason="interrupted by signal 2 after 5 queries")
    assert (
        report_text(bad)
        .splitlines()[0]
        .endswith("INVALID: interrupted by signal 2 after 5 queries")
    )


def test_run_without_a_query_has_a_table_too(record: Record) -> None:
    empty = replace(
        with_samples(record, []), valid=False, invalid_reason="zero frames", first_inference_ms=None
    )
    text = report_text(empty)
    assert line(text, "throughput").split() == ["throughput", "—"]
    assert line(text, "ms ").split() == ["ms"] + ["—"] * 6
    assert "stage" not in text


def test_source_that_was_opened_again_says_how_often(record: Record) -> None:
    often = replace(record, source={**record.source, "passes": 3})
    assert line(report_text(often), "frames").endswith("opened 3 times")


def test_overlapping_queries_are_pointed_out(record: Record) -> None:
    assert "queries overlap" in report_text(replace(record, hint="throughput"))
    assert "queries overlap" not in report_text(record)


def test_flags_are_pointed_out(record: Record) -> None:
    assert "flag " not in report_text(replace(record, flags=()))
    flags = [{"kind": "throttled", "text": "slowed down in 7 % of the time: heat of the GPU"}]
    assert "flag             slowed down in 7 %" in report_text(replace(record, flags=flags))


def test_problems_of_the_source_are_listed_and_cut(record: Record) -> None:
    problems = [f"{n}.png cannot be decoded and was skipped" for n in range(8)]
    text = report_text(replace(record, source={**record.source, "problems": problems}))
    assert "4.png" in text
    assert "5.png" not in text
    assert "3 more problems" in text


@pytest.mark.parametrize("name", ["a" * 150, "long name " * 40, "\x1b[31mred\x1b[0m\nnext"])
def test_no_line_is_longer_than_100_columns_whatever_the_names(record: Record, name: str) -> None:
    odd = replace(
        record,
        bundle={**record.bundle, "name": name},
        variant=name,
        compute=name,
        source={**record.source, "uri": name, "problems": [name]},
        valid=False,
        invalid_reason=name,
    )
    text = report_text(odd)
    assert max(len(x) for x in text.splitlines()) <= 100
    assert "\x1b" not in text


def test_times_of_cameras_are_ages(record: Record) -> None:
    camera = {"fps": 30.0, "cameras": 1, "results": 9, "dropped": 0, "drop_rate": 0.0}
    assert line(report_text(replace(record, camera=camera)), "age").split()[1:3] == ["mean", "p50"]
    assert line(report_text(record), "latency").split()[1:3] == ["mean", "p50"]


@pytest.mark.parametrize(("dropped", "told"), [(1, "1 frame dropped"), (2, "2 frames dropped")])
def test_cameras_tell_what_they_lost(record: Record, dropped: int, told: str) -> None:
    camera = {"fps": 30.0, "cameras": 2, "results": 99, "dropped": dropped, "drop_rate": 0.01}
    text = report_text(replace(record, camera=camera))
    assert f"2 of 30 frames/s: 99 results, {told} (1.0 %)" in text
