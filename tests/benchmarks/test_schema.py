"""The published schema: complete, and strict enough to refuse what is no record."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgevision.benchmarks.record import STATUSES, Record, data_text, record_from_json
from edgevision.benchmarks.schema import schema_text

SCHEMA = json.loads(schema_text())


def problems(data: Any) -> list[str]:
    checker = jsonschema.Draft202012Validator(SCHEMA)
    return [error.message for error in checker.iter_errors(data)]


def test_schema_is_one_and_describes_every_key_of_a_record(record: Record) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    data = record.to_json()
    assert problems(data) == []
    assert set(SCHEMA["required"]) <= set(data) == set(SCHEMA["properties"])
    assert tuple(SCHEMA["properties"]["status"]["enum"]) == STATUSES


def test_every_key_of_a_record_is_documented() -> None:
    docs = Path(__file__).parents[2] / "docs" / "records.md"
    assert not set(SCHEMA["properties"]) - set(re.findall(r"`([a-z_]+)", docs.read_text("utf-8")))


def test_record_as_a_file_follows_it_too_and_comes_back(record: Record) -> None:
    data = json.loads(data_text(record.to_json()))
    assert problems(data) == []
    assert record_from_json(data).to_json() == record.to_json()


def test_reader_of_an_old_record_fills_in_what_came_later(record: Record) -> None:
    new = ("started_at", "status", "error", "instance", "request_id", "begins_ns", "result",
           "scenario_options", "camera", "timeline", "energy", "flags", "floor")  # fmt: skip
    old = {key: value for key, value in record.to_json().items() if key not in new}
    again = record_from_json(old)
    assert (again.status, again.flags, again.timeline) == ("ok", (), None)
    assert again.latency_ms == record.latency_ms


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"status": "lost"},
        {"valid": True, "invalid_reason": "because"},
        {"valid": False, "invalid_reason": None},
        {"valid": True, "status": "interrupted"},
        {"status": "crashed"},
        {"queries": 0},
        {"samples_ns": [1.5]},
        {"samples_ns": [-1]},
        {"bundle": {"name": "x", "identity": "short"}},
        {"instance": {}},
        {"latency_ms": {"mean": 1}},
        {"started_at": "yesterday"},
        {"energy": {"joules": None}},
        {"energy": {"joules": 3.0}},
        {"flags": ["busy"]},
        {"peak_rss_mb": None},
        {"threads": {"engine": 0, "opencv": 1}},
        {"error": {"kind": "X", "problem": "p", "received": "", "expected": "", "hint": ""}},
    ],
)
def test_what_contradicts_itself_is_refused(record: Record, change: dict[str, Any]) -> None:
    assert problems({**record.to_json(), **change})


def camera(**over_time: Any) -> dict[str, Any]:
    """What a run of cameras adds to a record."""
    ages = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"))
    one = {"results": 3, "age_ms": ages, "dropped": 1, "unread": 0, "drop_rate": 0.25}
    bins = {"begin_s": -0.01, "bin_s": 0.2} | over_time
    bins.setdefault("per_camera", [{"results": [3, 0], "dropped": [0, 1]}])
    return {"fps": 30.0, "cameras": 1, **one, "per_camera": [one], "over_time": bins}


def test_cameras_with_their_losses_follow_it_too(record: Record) -> None:
    data = replace(record, camera=camera()).to_json()
    assert problems(data) == []
    without = {key: value for key, value in camera().items() if key != "over_time"}
    assert problems({**data, "camera": without}) == []  # as older records are


@pytest.mark.parametrize(
    "change",
    [
        {"bin_s": 0},
        {"begin_s": None},
        {"per_camera": [{"results": [1]}]},
        {"per_camera": [{"results": [1.5], "dropped": [1]}]},
        {"per_camera": [{"results": [1], "dropped": [-1]}]},
        {"per_camera": [{"results": [0] * 129, "dropped": [0] * 129}]},
    ],
)
def test_losses_that_make_no_sense_are_refused(record: Record, change: dict[str, Any]) -> None:
    assert problems({**record.to_json(), "camera": camera(**change)})


def test_lists_of_numbers_take_a_line_each_and_texts_stay_as_they_are(record: Record) -> None:
    odd = "[\n 1,\n 2\n]"
    data = replace(record, camera=camera(), variant=odd).to_json()
    text = data_text(data)
    assert json.loads(text) == data
    assert '"results": [3,0],' in text


@pytest.mark.parametrize("key", sorted(SCHEMA["required"]))
def test_no_key_may_be_missing(record: Record, key: str) -> None:
    data = record.to_json()
    del data[key]
    assert problems(data)


def test_keys_that_come_later_are_allowed(record: Record) -> None:
    assert problems({**record.to_json(), "new_key": 1}) == []
