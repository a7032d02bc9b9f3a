"""The page: whole, valid, honest about what is missing, safe whatever is written in a record."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgevision.benchmarks.record import Record
from edgevision.benchmarks.report.html import html_report

HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;"

#: What has a picture even for a single run.
DRAWN = {"floor", "energy", "stages_ms", "timeline"}

Make = Callable[..., dict[str, Any]]
Read = Callable[[str], Any]


def failed(**keys: Any) -> dict[str, Any]:
    """A configuration that gave no numbers."""
    return {
        "schema": 1,
        "status": "out-of-memory",
        "valid": False,
        "invalid_reason": "it was killed",
        "error": {"kind": "out-of-memory", "problem": "the kernel killed it", "hint": "less rows"},
        "instance": {"variant": "fp32", "backend": "ort", "batch": 64, "size": [640, 480]},
        "samples_ns": [],
        **keys,
    }


def invalid(make: Make) -> dict[str, Any]:
    return make(30, valid=False, invalid_reason="p90 needs 64 queries; 30 were run")


def test_page_of_a_full_matrix_is_valid_and_needs_nothing_else(make: Make, read_page: Read) -> None:
    page = html_report([make(), make(backend="openvino"), invalid(make), failed()], "Four runs")
    read = read_page(page)
    assert "Four runs" in read.text
    assert len(read.found["h1"]) == 1
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(read.found)
    assert not re.search(r"https?://|@import|url\(", page)


def test_what_a_sceptic_looks_for_is_on_the_page(make: Make, read_page: Read) -> None:
    text = read_page(html_report([make()], "one")).text
    for words in ("VALID", "clip.mp4", "read to result", "warm-up", "A Processor", "onnxruntime"):
        assert words in text
    for figure in ("123.4 ms", "45.60 ms", "0.6395", "18.50", "2.500", "159"):
        assert figure in text.replace("\u00a0", " ")
    latency = make()["latency_ms"]
    for name in ("p50", "p90", "p99", "max"):
        assert f" {latency[name]:.2f} " in text


def test_reasons_stand_above_the_numbers(make: Make, read_page: Read) -> None:
    text = read_page(html_report([make(), invalid(make), failed()], "three")).text
    caveats = text[text.index("Before you quote") : text.index("All runs")]
    assert "p90 needs 64 queries; 30 were run" in caveats
    assert "the kernel killed it" in caveats
    assert re.search(r"1 valid\s+1 invalid\s+1 failed", text)
    assert "OUT OF MEMORY" in text


def test_flag_is_no_failure_because_a_failed_run_has_it_too(make: Make, read_page: Read) -> None:
    busy = [{"kind": "busy", "text": "others were at work"}]
    read = read_page(html_report([make(flags=busy), failed(flags=busy)], "two"))
    assert [a.get("class") for a in read.found["li"]].count("worst") == 1  # what failed


def test_of_what_never_ran_no_zeros_are_told(make: Make, read_page: Read) -> None:
    zeros = {
        "queries": 0,
        "duration_s": 0.0,
        "warmup_queries": 0,
        "in_flight": 0,
        "hint": "latency",
    }
    text = read_page(html_report([make(), failed(**zeros)], "two")).text
    part = text[text.rindex("There is nothing to draw") :]
    assert "0 in" not in part
    assert "hint latency" in part


def test_names_of_keys_are_words_with_units(make: Make, read_page: Read) -> None:
    environment = {"memory_mb": 8590, "start": {"memory_available_mb": 1}, "cpu": {"max_mhz": 9}}
    text = read_page(html_report([make(environment=environment)], "x")).text
    for words in ("memory, MB", "memory available, MB", "cpu: max, MHz"):
        assert words in text
    assert " mb" not in text


def test_flags_of_several_runs_are_one_line(make: Make, read_page: Read) -> None:
    hot = [{"kind": "throttled", "text": "it was too hot"}]
    text = read_page(html_report([make(flags=hot), make(), make(flags=hot)], "x")).text
    caveats = text[text.index("Before you quote") : text.index("All runs")]
    assert caveats.count("it was too hot") == 1
    assert "#1, #3" in caveats


def test_flags_of_one_kind_are_one_line_whatever_they_say(make: Make, read_page: Read) -> None:
    runs = [make(flags=[{"kind": "busy", "text": f"others used {n} %"}]) for n in (20, 30, 40)]
    text = read_page(html_report(runs, "x")).text
    caveats = text[text.index("Before you quote") : text.index("All runs")]
    assert caveats.count("busy") == 1
    assert "#1, #2, #3: " in caveats
    assert "others used 20 %; others used 30 %; …" in caveats


def test_load_of_the_run_before_is_no_caveat_where_others_were_watched(
    make: Make, read_page: Read
) -> None:
    """A matrix leaves a load average behind; a record with a timeline flags what others really used."""
    loaded = {**make()["environment"], "start": {"load_average": [1.9, 1.0, 1.0]}}
    watched, blind = make(environment=loaded), make(environment=loaded, timeline=None)
    assert "kept half" not in read_page(html_report([watched], "x")).text
    assert "kept half" in read_page(html_report([blind], "x")).text


def test_where_floors_come_from_is_said_once_for_all_runs(make: Make, read_page: Read) -> None:
    floor = {**make()["floor"], "source": "measured by convolutions", "measured": "p50 of compute"}
    text = read_page(html_report([make(floor=floor), make(floor=floor)], "x")).text
    assert (
        text.count("Measured: p50 of compute. Figures of a machine: measured by convolutions.") == 1
    )


def test_runs_that_cannot_be_compared_are_pointed_out(make: Make, read_page: Read) -> None:
    alone = make(boundary={"kind": "inference-only", "timed": "submit to wait", "not_timed": ""})
    other = make(environment={**make()["environment"], "cpu": {"name": "Another", "cores": 8}})
    text = read_page(html_report([make(), alone, other], "x")).text
    assert "not to be compared with the runs that are end to end" in text
    assert "not all runs were made in the same environment; what differs: cpu: name" in text


def test_several_scenarios_are_pointed_out_and_the_engine_alone_is_none(
    make: Make, read_page: Read
) -> None:
    alone = "single-stream-inference-only"
    for names, told in ((("single-stream", alone), False), (("offline", "camera"), True)):
        text = read_page(html_report([make(scenario=name) for name in names], "x")).text
        assert ("compare times and rates within a scenario" in text) == told


def test_a_clean_matrix_has_no_caveat(make: Make, read_page: Read) -> None:
    text = read_page(html_report([make(), make(seed=1)], "x")).text
    assert "Nothing was found that speaks against these numbers" in text


def test_percentile_that_may_not_be_quoted_has_no_column_and_no_mark(make: Make) -> None:
    assert make(100)["latency_ms"]["p99"] is None
    enough, too_few = html_report([make(700)], "x"), html_report([make(100)], "x")
    for shown in (">p99, ms</button>", ">p99</text>"):
        assert shown in enough
        assert shown not in too_few


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("accuracy", "No bundle says how accurate these variants are"),
        ("floor", "There is no floor"),
        ("energy", "Power was not read"),
        ("stages_ms", "No record has stages"),
        ("timeline", "were not sampled in this run"),
        ("environment", "No record says on which machine it was made"),
        ("boundary", "No record says what was timed"),
    ],
)
def test_what_is_missing_is_said_and_not_drawn(
    key: str, sentence: str, make: Make, read_page: Read
) -> None:
    whole, without = html_report([make()], "x"), html_report([make(**{key: None})], "x")
    assert sentence in read_page(without).text
    assert sentence not in read_page(whole).text
    assert without.count("<svg") < whole.count("<svg") or key not in DRAWN


def test_why_there_is_no_energy_and_no_floor_is_told(make: Make, read_page: Read) -> None:
    record = make(
        energy={"joules": None, "reason": "permission denied: energy_uj"},
        floor={"floor_ms": None, "measured_over_floor": None, "reason": "not measured yet"},
    )
    text = read_page(html_report([record], "x")).text
    assert "Power was not read: permission denied: energy_uj." in text
    assert "There is no floor: not measured yet." in text
    assert re.search(r"Not read: 1 sensor, and why\s+gpu_percent\s+no NVIDIA driver", text)


def test_no_records_at_all_is_a_page_too(read_page: Read) -> None:
    assert "There are no records to report on" in read_page(html_report([], "x")).text


def test_record_of_an_older_version_is_shown(record: Record, read_page: Read) -> None:
    newer = ("status", "begins_ns", "timeline", "energy", "flags", "floor", "instance", "accuracy")
    old = {key: value for key, value in record.to_json().items() if key not in newer}
    read = read_page(html_report([old], "x"))
    assert "number of the query" in read.text
    assert "1 valid" in read.text


def test_record_as_it_is_written_today_is_shown(record: Record, read_page: Read) -> None:
    text = read_page(html_report([json.loads(json.dumps(record.to_json()))], "x")).text
    assert "tiny" in text
    assert "140 in" in text


def hostile(value: Any) -> Any:
    """Every text and every name in a record, replaced."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()} | {HOSTILE: HOSTILE}
    if isinstance(value, list):
        return [hostile(item) for item in value] if len(value) < 5 else value
    return HOSTILE if isinstance(value, str) else value


def test_foreign_text_is_shown_as_text(make: Make, read_page: Read) -> None:
    record = hostile(make(valid=False, invalid_reason="x", flags=[{"kind": "a", "text": "b"}]))
    record["timeline"]["series"][f"temperature_c.{HOSTILE}"] = {
        "unit": HOSTILE,
        "values": [1.0] * 60,
    }
    read = read_page(html_report([record, hostile(failed())], HOSTILE))
    assert len(read.found["script"]) == 1
    assert "img" not in read.found
    assert HOSTILE in read.text


def test_policy_allows_this_style_and_this_script_only(make: Make, read_page: Read) -> None:
    meta = read_page(html_report([make()], "x")).found["meta"]
    policy = next(m["content"] for m in meta if m.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\u202e", "\ud800", "\u2028", "\ufffe"])
def test_characters_that_do_harm_are_replaced(character: str, make: Make, read_page: Read) -> None:
    name = f"a{character}b"
    page = html_report([make(variant=name, options={name: name})], name)
    read_page(page)
    page.encode("utf-8")
    assert character not in page or character == "\ufffe"


def test_names_of_any_length_are_cut(make: Make, read_page: Read) -> None:
    long = "x" * 5_000_000
    reasons = make(valid=False, invalid_reason=long, variant=long, bundle={"name": long})
    reasons["environment"] = {long: {long: long}, "cpu": {f"k{n}": "v" for n in range(5000)}}
    reasons["flags"] = [{"kind": long, "text": long}] * 1000
    reasons["options"] = {f"{n}": long for n in range(100)}
    page = html_report([reasons, failed(error={"problem": long, "received": long})], long)
    read_page(page)
    assert len(page) < 300_000


def test_page_of_forty_records_of_100000_samples_is_below_a_megabyte(
    make: Make, read_page: Read
) -> None:
    full = make(100_000)
    noise = np.random.default_rng(1).integers(0, 1000, 10_000).astype(float).tolist()
    names = [f"temperature_c.zone{n}" for n in range(8)] + [f"power_w.rail{n}" for n in range(8)]
    names += ["clock_mhz", "gpu_clock_mhz", "cpu_percent", "process_cpu_percent", "gpu_percent"]
    names += ["steal_percent", "rss_mb", "pss_mb", "gpu_memory_mb", "swap_in_mb"]
    series = {name: {"unit": "unit", "values": noise} for name in names}
    series["throttled"] = {"unit": "causes", "values": [n % 2 for n in range(10_000)]}
    full["timeline"] |= {"t_s": [0.1 * n for n in range(10_000)], "series": series}
    records = [{**full, "variant": f"variant-{n}"} for n in range(40)]
    page = html_report(records, "large")
    assert len(page.encode()) <= 1_000_000
    read = read_page(page)
    assert len([d for d in read.found["details"] if d["class"] == "run"]) == 40
    assert "drawings have at most" in read.text


def test_of_very_many_runs_the_first_are_drawn_and_the_page_says_so(
    make: Make, read_page: Read
) -> None:
    one = make(70)
    read = read_page(html_report([one] * 600, "many"))
    assert len([d for d in read.found["details"] if d["class"] == "run"]) == 24
    assert "Only the first 24 of 600 runs are drawn" in read.text
    assert "the first 400 of 600 runs are shown" in read.text


@pytest.mark.parametrize("rows", [48, 100, 400])
def test_page_of_many_runs_is_below_a_megabyte(make: Make, rows: int) -> None:
    full = make(700)
    series = {name: {"unit": "x", "values": list(range(300))} for name in ("cpu_percent", "rss_mb")}
    full["timeline"] |= {"t_s": [0.1 * n for n in range(300)], "series": series}
    binned = {"results": [9, 3, 0] * 42, "dropped": [1, 7, 9] * 42}
    full["camera"] = {
        "fps": 30.0,
        "cameras": 16,
        "per_camera": [{"results": 9, "dropped": 1}] * 16,
        "over_time": {"begin_s": 0.0, "bin_s": 0.1, "per_camera": [binned] * 16},
    }
    records = [{**full, "variant": f"variant-{n}"} for n in range(rows)]
    assert len(html_report(records, "many").encode()) <= 1_000_000


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -1, 0, 1e300, float("nan"), HOSTILE])
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
KEYS = [
    "status",
    "error",
    "valid",
    "invalid_reason",
    "instance",
    "boundary",
    "bundle",
    "variant",
    "threads",
    "hint",
    "in_flight",
    "options",
    "source",
    "queries",
    "duration_s",
    "latency_ms",
    "stages_ms",
    "load_ms",
    "energy",
    "floor",
    "accuracy",
    "camera",
    "result",
    "flags",
    "environment",
    "timeline",
    "samples_ns",
    "begins_ns",
    "started_at",
    "peak_rss_mb",
    "throughput_fps",
    "scenario",
]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), queries=st.integers(1, 90))
def test_damaged_records_still_make_a_valid_page(
    damage: dict[str, Any], queries: int, make: Make, read_page: Read
) -> None:
    assert read_page(html_report([make(queries), {**make(queries), **damage}, damage], "x")).text


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    samples=st.lists(st.integers(0, 2**62), max_size=300),
    latency=st.dictionaries(st.sampled_from(["p50", "p90", "p99", "max"]), JSON),
    times=st.lists(st.floats(-1e3, 1e6) | st.none(), max_size=20),
    values=st.lists(st.floats() | st.none(), max_size=20),
)
def test_any_numbers_make_a_valid_page(
    samples: list[int],
    latency: Any,
    times: list[Any],
    values: list[Any],
    make: Make,
    read_page: Read,
) -> None:
    series = {
        name: {"unit": "x", "values": values} for name in ("clock_mhz", "throttled", "rss_mb")
    }
    found = SimpleNamespace(timeline={"t_s": times, "series": series}, latency_ms=latency)
    page = html_report([make(samples_ns=samples, begins_ns=samples, **vars(found))], "x")
    assert "nan" not in " ".join(re.findall(r'(?:[xy][12]?|d|width)="([^"]*)"', page))
    assert read_page(page)


def test_cameras_have_a_line_each_and_the_chart_is_of_ages(make: Make, read_page: Read) -> None:
    ages = {"mean": 4.0, "p50": 3.5, "p90": 9.0, "p95": None, "p99": None, "max": 21.0}
    one = {"results": 350, "age_ms": ages, "dropped": 1, "unread": 0, "drop_rate": 0.002849}
    two = {**one, "dropped": 40, "unread": 2, "drop_rate": 0.102564}
    both = {**one, "results": 700, "dropped": 41, "unread": 2, "drop_rate": 0.05533}
    camera = {"fps": 30.0, "cameras": 2, **both, "per_camera": [one, two]}
    text = " ".join(read_page(html_report([make(camera=camera)], "x")).text.split())
    assert "2 of 30 frames/s · 700 results · 41 frames dropped (5.5 %)" in text
    assert "350 results · 1 frame dropped (0.3 %) · age p50 3.500, p90 9.000, max 21.00 ms" in text
    assert "40 frames dropped (10.3 %), 2 frames of them not even read" in text
    assert "Age of results over the run" in text
    assert "Latency over the run" in read_page(html_report([make()], "x")).text
