"""Which differences forbid a comparison, and which are only told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from edgevision.benchmarks.compare.sameness import differences

MakeRecord = Callable[..., dict[str, Any]]


def changed(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    key, _, rest = path.partition(".")
    if not rest:
        return {**record, key: value}
    return {**record, key: changed(record.get(key) or {}, rest, value)}


@pytest.mark.parametrize(
    ("path", "value"),
    [("schema", 2), ("bundle.name", "other"), ("variant", "int8-x86"), ("backend", "openvino"),
     ("compute", "bf16"), ("hint", "throughput"), ("in_flight", 2), ("threads.engine", 4),
     ("threads.opencv", 2), ("samples_per_query", 8), ("scenario", "server"),
     ("scenario_options", {"target_qps": 30}), ("boundary.kind", "inference-only"),
     ("engine.device", "NVIDIA H100"), ("environment.cpu.name", "Cortex-A78AE"),
     ("environment.cpu.cores_usable", 4), ("environment.os.arch", "aarch64"),
     ("environment.cpu.governor", ["powersave"]), ("source.width", 1920)],
)  # fmt: skip
def test_another_thing_place_or_way_is_refused(
    path: str, value: Any, make_record: MakeRecord
) -> None:
    (found,) = differences(make_record([1]), changed(make_record([1]), path, value))
    assert found.refused
    assert path.startswith(found.key)


@pytest.mark.parametrize(
    ("path", "value"),
    [("bundle.identity", "b" * 64), ("environment.libraries.numpy", "2.1"),
     ("environment.os.kernel", "6.8"), ("engine.version", "1.21"), ("options", {"score": 0.5})],
)  # fmt: skip
def test_what_one_may_want_to_compare_is_told(
    path: str, value: Any, make_record: MakeRecord
) -> None:
    (found,) = differences(make_record([1]), changed(make_record([1]), path, value))
    assert not found.refused
    assert found.key == path


@pytest.mark.parametrize(
    ("base", "new", "told"),
    [
        (32_000, 32_000, 0),
        (7_772, 8_150, 0),  # the same machine: early records have MiB in it
        (8_150, 7_990, 0),  # another kernel keeps more for itself
        (7_772, 16_100, 1),
        (16_100, 7_772, 1),
        ("much", 7_772, 1),
    ],
)
def test_memory_differs_where_another_module_is_in_it(
    base: object, new: object, told: int, make_record: MakeRecord
) -> None:
    records = [changed(make_record([1]), "environment.memory_mb", memory) for memory in (base, new)]
    assert [d.key for d in differences(*records)] == ["environment.memory_mb"] * told


def test_power_mode_of_a_jetson_is_refused(make_record: MakeRecord) -> None:
    one, other = (
        changed(make_record([1]), "environment.jetson", {"power_mode": mode})
        for mode in ("0 MAXN", "1 15W")
    )
    (found,) = differences(one, other)
    assert str(found) == "environment.jetson.power_mode: 0 MAXN → 1 15W"
    assert found.refused


def test_what_a_server_run_found_out_is_no_difference(make_record: MakeRecord) -> None:
    told = {"target_qps": 30.0, "latency_bound_ms": 50.0, "seed": 1}
    one, other = (
        changed(make_record([1]), "scenario_options", told | found)
        for found in ({"overruns": 1, "searched": []}, {"overruns": 3, "searched": [{"a": 1}]})
    )
    assert differences(one, other) == []


def test_what_one_side_does_not_know_is_no_difference(make_record: MakeRecord) -> None:
    assert differences(make_record([1]), changed(make_record([1]), "environment", {})) == []


def test_a_choice_that_was_made_anyway_is_no_difference(make_record: MakeRecord) -> None:
    told = changed(make_record([1]), "options", {"variant": "fp32", "backend": "ort"})
    assert differences(make_record([1]), told) == []


def test_where_a_clip_lies_is_no_difference(make_record: MakeRecord) -> None:
    moved = changed(make_record([1]), "source.uri", "/other/runner/street.mp4")
    assert differences(make_record([1]), moved) == []
    (found,) = differences(make_record([1]), changed(make_record([1]), "source.uri", "b.mp4"))
    assert found.key == "source"


def test_golden_frames_of_two_builds_are_alike(make_record: MakeRecord) -> None:
    one, other = (
        changed(make_record([1]), "source.uri", f"memory://{name}/golden") for name in "ab"
    )
    assert differences(one, other) == []
