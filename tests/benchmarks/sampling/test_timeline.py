"""What becomes of the process's lines: series, reasons, sums, jumps and cost."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.sampling.timeline import inside, read_lines, timeline_of

S = 1_000_000_000


def lines(units, rows, *, missing=None, power=(), more=()):
    """As the process writes them; ``rows``: [seconds, values] each."""
    head = {
        "interval_s": 0.1,
        "units": units,
        "missing": missing or {},
        "power": list(power),
        "facts": {},
    }
    samples = [
        [int(t * S), 5 * S, 0.01 * n, 12.0 + n, values] for n, (t, values) in enumerate(rows)
    ]
    return [head, *more, *samples]


def test_times_count_from_the_first_counted_query():
    timeline = timeline_of(
        lines({"a": "%"}, [(9.9, [1]), (10.0, [2]), (10.1, [None])]), 10 * S, 0.1
    )
    assert timeline["t_s"] == [-0.1, 0.0, 0.1]
    assert timeline["series"] == {"a": {"unit": "%", "values": [1, 2, None]}}
    assert timeline["counted_s"] == 0.1
    assert inside(timeline, "a", 0, 1) == [2]
    assert inside(timeline, "b", 0, 1) == []


def test_interval_is_the_last_that_was_told():
    told = lines({"a": "%"}, [(0, [1]), (1, [2])], more=[{"interval_s": 0.2}, {"interval_s": 0.4}])
    assert timeline_of(told, 0)["interval_s"] == 0.4
    assert timeline_of(lines({"a": "%"}, [(0, [1])]), 0)["interval_s"] == 0.1


def test_series_that_never_answered_is_missing_with_what_the_sensor_said():
    more = [{"failed": ["a"], "why": "[Errno 11] Resource temporarily unavailable"}]
    rows = [(0, [None, None, 1]), (1, [None, None, 2])]
    timeline = timeline_of(lines({"a": "W", "b": "W", "c": "W"}, rows, more=more), 0)
    assert set(timeline["series"]) == {"c"}
    assert timeline["missing"]["a"] == "[Errno 11] Resource temporarily unavailable"
    assert timeline["missing"]["b"] == "it never answered"


def test_power_is_the_sum_of_all_sources_and_unknown_where_one_is():
    power = [
        {"source": "RAPL", "rails": ["package-0", "dram"], "alone": False},
        {"source": "NVML", "rails": ["gpu"], "alone": False},
    ]
    units = {"power_w.package-0": "W", "power_w.core": "W", "power_w.dram": "W", "power_w.gpu": "W"}
    rows = [(0, [10, 8, 2, 50]), (1, [11, 8, 2, None]), (2, [12, 8, 3, 60])]
    timeline = timeline_of(lines(units, rows, power=power), 0)
    assert timeline["series"]["power_w"]["values"] == [62, None, 75]
    assert [source["source"] for source in timeline["power"]] == ["RAPL", "NVML"]


def test_a_whole_boards_monitor_stands_alone():
    power = [
        {"source": "NVML", "rails": ["gpu"], "alone": False},
        {"source": "board", "rails": ["VDD_IN"], "alone": True},
    ]
    rows = [(0, [5, 12])]
    timeline = timeline_of(lines({"power_w.gpu": "W", "power_w.VDD_IN": "W"}, rows, power=power), 0)
    assert timeline["series"]["power_w"]["values"] == [12]
    assert timeline["power"] == [{"source": "board", "rails": ["VDD_IN"]}]


def test_without_power_the_reasons_are_told_and_that_a_pc_is_no_jetson_is_none():
    missing = {"power_w.rapl": "no permission to read X", "power_w.ina3221": "not a Jetson"}
    timeline = timeline_of(lines({"a": "%"}, [(0, [1])], missing=missing), 0)
    assert timeline["missing"]["power_w"] == "no permission to read X"


def test_throttled_counts_causes_and_drops_those_that_never_were_one():
    units = {
        "throttled.gpu-heat": "state",
        "throttle_events.cores": "events",
        "throttled.fan": "state",
    }
    rows = [(0, [0, 0, 0]), (1, [2, 3, 0]), (2, [1, 3, 0]), (3, [None, 4, 0])]
    timeline = timeline_of(lines(units, rows), 0)
    assert timeline["series"]["throttled"]["values"] == [0, 2, 1, None]
    assert set(timeline["series"]) == {"throttled", "throttled.gpu-heat", "throttle_events.cores"}


def test_machine_that_tells_nothing_of_throttling_says_so():
    timeline = timeline_of(lines({"a": "%"}, [(0, [1])]), 0)
    assert timeline["missing"]["throttled"] == "nothing here tells of throttling"


def test_wall_clock_that_is_set_is_a_jump_and_one_that_is_steered_is_none():
    found = lines({"a": "%"}, [(n, [n]) for n in range(6)])
    for sample, offset in zip(found[1:], [5.0, 5.05, None, 5.1, -3595.0, -3595.0], strict=True):
        sample[1] = None if offset is None else int(offset * S)
    timeline = timeline_of(found, 2 * S)
    assert timeline["wall_jumps"] == [{"t_s": 2.0, "jump_s": -3600.1}]


def test_own_cost_is_time_between_the_first_and_the_last_sample():
    timeline = timeline_of(lines({"a": "%"}, [(0, [1]), (0.5, [1]), (1.0, [1])]), 0)
    assert timeline["sampler"] == {"cpu_percent": 2.0, "rss_mb": 14.0, "samples": 3}


def test_one_sample_has_no_cost_yet():
    assert timeline_of(lines({"a": "%"}, [(0, [1])]), 0)["sampler"]["cpu_percent"] is None


@pytest.mark.parametrize("content", [b"", b'{"interval_s"', b"\n"[:0]])
def test_process_that_wrote_no_sample_leaves_no_timeline(content):
    assert timeline_of(read_lines(content), 0) is None


@given(st.integers(0, 400))
def test_lines_cut_off_anywhere_are_read_up_to_there(cut):
    whole = b"".join(
        json.dumps(line).encode() + b"\n"
        for line in lines({"a": "%"}, [(n, [n]) for n in range(5)])
    )
    found = read_lines(whole[:cut])
    assert found == read_lines(whole)[: len(found)]
    assert len(found) == whole[:cut].count(b"\n")
    timeline = timeline_of(found, 0)
    assert timeline is None or len(timeline["t_s"]) == len(found) - 1


def test_timeline_is_json():
    values = [random.Random(0).random() for _ in range(3)]
    timeline = timeline_of(lines({"a": "%"}, [(n, [v]) for n, v in enumerate(values)]), 0)
    assert json.loads(json.dumps(timeline)) == timeline
