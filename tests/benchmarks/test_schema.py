"""The published schema: complete, and strict enough to refuse what is no record."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("key", sorted(SCHEMA["required"]))
def test_no_key_may_be_missing(record: Record, key: str) -> None:
    data = record.to_json()
    del data[key]
    assert problems(data)


def test_keys_that_come_later_are_allowed(record: Record) -> None:
    assert problems({**record.to_json(), "new_key": 1}) == []
