"""The record: its keys, that it follows from its raw samples, and how it is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.record import Record, json_text, write_record
from edgevision.benchmarks.run import measure, peak_rss_mb
from edgevision.benchmarks.terms import Plan
from edgevision.bundle import hash_file
from edgevision.clock import STAGES
from edgevision.errors import OutputError
from edgevision.frame import Image
from edgevision.model import Model
from edgevision.percentiles import summary_ms

NUMBER = {"type": ["number", "null"], "minimum": 0}
SUMMARY = {
    "type": "object",
    "properties": dict.fromkeys(["mean", "p50", "p90", "p95", "p99", "max"], NUMBER),
    "required": ["mean", "p50", "p90", "p95", "p99", "max"],
    "additionalProperties": False,
}
NANOSECONDS = {"type": "array", "items": {"type": "integer", "minimum": 0}}
TEXT = {"type": "string", "minLength": 1}
SCHEMA = {
    "type": "object",
    "properties": {
        "schema": {"const": 1},
        "scenario": {"enum": ["single-stream", "single-stream-inference-only"]},
        "valid": {"type": "boolean"},
        "invalid_reason": {"type": ["string", "null"]},
        "variant": TEXT,
        "backend": TEXT,
        "compute": TEXT,
        "queries": {"type": "integer", "minimum": 0},
        "duration_s": {"type": "number", "minimum": 0},
        "throughput_fps": NUMBER,
        "latency_ms": SUMMARY,
        "stages_ms": {"type": "object", "additionalProperties": SUMMARY, "minProperties": 1},
        "samples_ns": NANOSECONDS,
        "stages_ns": {"type": "object", "additionalProperties": NANOSECONDS},
        "warmup_ns": NANOSECONDS,
        "load_ms": {"type": "number", "exclusiveMinimum": 0},
        "first_inference_ms": NUMBER,
        "peak_rss_mb": {"type": "number", "exclusiveMinimum": 0},
        "environment": {"type": "object", "required": ["os", "cpu", "libraries", "start", "end"]},
        "bundle": {
            "type": "object",
            "properties": {
                "name": TEXT,
                "identity": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            },
            "required": ["name", "identity"],
        },
        "boundary": {
            "type": "object",
            "properties": {"kind": {"enum": ["end-to-end", "inference-only"]}},
            "required": ["kind", "timed", "not_timed"],
        },
        "source": {"type": "object", "required": ["uri", "passes", "problems"]},
        "threads": {
            "type": "object",
            "required": ["engine", "opencv"],
            "additionalProperties": {"type": "integer", "minimum": 1},
        },
    },
    "if": {"properties": {"valid": {"const": True}}},
    "then": {"properties": {"invalid_reason": {"type": "null"}}},
    "else": {"properties": {"invalid_reason": {"type": "string"}}},
}
#: The keys that design.md promises to scripts.
PROMISED = (
    "schema scenario valid invalid_reason variant backend compute queries duration_s "
    "throughput_fps latency_ms stages_ms samples_ns load_ms first_inference_ms peak_rss_mb environment bundle"
)


def validate(data: Any) -> None:
    jsonschema.validate(
        data, {**SCHEMA, "required": sorted({*SCHEMA["properties"], *PROMISED.split()})}
    )


def test_record_has_every_promised_key(record: Record) -> None:
    validate(record.to_json())


def test_record_of_the_engine_alone_says_so(
    open_fake: Callable[..., Model], pictures: list[Image], sign: SimpleNamespace
) -> None:
    plan = Plan(inference_only=True, duration_s=0)
    data = measure(open_fake(), lambda: MemorySource(pictures), plan, sign).to_json()
    validate(data)
    assert data["scenario"] == "single-stream-inference-only"
    assert data["boundary"]["kind"] == "inference-only"
    assert list(data["stages_ms"]) == list(data["stages_ns"]) == ["compute"]


def test_record_of_a_run_without_a_query_validates(record: Record) -> None:
    nothing = np.empty(0, np.int64)
    empty = replace(
        record,
        valid=False,
        invalid_reason="interrupted",
        samples_ns=nothing,
        stages_ns=dict.fromkeys(STAGES, nothing),
        ran_ns=0,
        first_inference_ms=None,
    )
    validate(empty.to_json())
    assert empty.to_json()["throughput_fps"] is None


def test_summary_follows_from_the_raw_samples_in_the_file(record: Record, tmp_path: Path) -> None:
    write_record(record, tmp_path / "record.json")
    data = json.loads((tmp_path / "record.json").read_text())
    assert data["latency_ms"] == summary_ms(np.array(data["samples_ns"]))
    assert data["stages_ms"] == {s: summary_ms(np.array(v)) for s, v in data["stages_ns"].items()}
    assert data["queries"] == len(data["samples_ns"]) == 140
    assert data["warmup_queries"] == len(data["warmup_ns"]) == 3
    assert data["throughput_fps"] == pytest.approx(140 / data["duration_s"], rel=1e-3)


def test_stages_are_all_of_the_pipeline_s_and_none_outlasts_the_whole(record: Record) -> None:
    data = record.to_json()
    assert tuple(data["stages_ns"]) == STAGES
    assert (
        sum(np.array(v) for v in data["stages_ns"].values()) <= np.array(data["samples_ns"])
    ).all()


def test_percentiles_that_the_samples_cannot_carry_are_null(record: Record) -> None:
    latency = record.to_json()["latency_ms"]
    assert latency["p95"] is not None  # 140 samples; it takes 130
    assert latency["p99"] is None  # it takes 662


def test_single_file_is_identified_by_its_own_hash(record: Record, model_file: Path) -> None:
    assert record.to_json()["bundle"] == {"name": "tiny", "identity": hash_file(model_file)}


def test_credentials_in_a_source_are_not_recorded(
    open_fake: Callable[..., Model], pictures: list[Image], sign: SimpleNamespace
) -> None:
    source = MemorySource(pictures, "rtsp://admin:hunter2@camera/1?token=abc")
    record = measure(open_fake(), lambda: source, Plan(duration_s=0, min_queries=64), sign)
    assert "hunter2" not in json_text(record)
    assert "abc" not in record.source["uri"]


def test_file_has_each_list_of_samples_on_one_line(record: Record) -> None:
    text = json_text(record)
    assert json.loads(text) == record.to_json()
    assert len(text.splitlines()) < 250
    assert text.endswith("}\n")


def test_existing_record_is_kept_unless_forced(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        write_record(record, path)
    assert path.read_text() == "mine"
    write_record(record, path, force=True)
    assert json.loads(path.read_text())["schema"] == 1


def test_folder_or_missing_folder_is_no_place_for_a_record(record: Record, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: Is a directory"):
        write_record(record, tmp_path, force=True)
    with pytest.raises(OutputError, match="no folder"):
        write_record(record, tmp_path / "absent" / "record.json")


def test_a_link_stays_a_link(record: Record, tmp_path: Path) -> None:
    (tmp_path / "record.json").symlink_to(tmp_path / "real.json")
    write_record(record, tmp_path / "record.json", force=True)
    assert (tmp_path / "record.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema"] == 1


def test_a_pipe_is_written_to_and_stays_one(record: Record, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_record(record, pipe, force=True)
    assert os.read(reader, 1) == b"{"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize(("place", "call"), [(os, "fsync"), (Path, "replace")])
def test_failed_write_leaves_the_old_record_and_no_draft(
    place: object, call: str, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    path = tmp_path / "record.json"
    path.write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(place, call, full)
        with pytest.raises(OutputError, match="No space left"):
            write_record(record, path, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]
    assert path.read_text() == "mine"


def test_peak_memory_rises_with_what_is_held() -> None:
    before = peak_rss_mb()
    held = np.ones(int(before + 50) * 125_000)  # float64: as many MB of 10^6 bytes
    assert peak_rss_mb() >= held.nbytes / 1e6
    assert peak_rss_mb() >= before


def test_peak_memory_is_read_without_proc_too(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = peak_rss_mb()
    monkeypatch.setattr("edgevision.benchmarks.run._STATUS", Path("/nowhere"))
    assert peak_rss_mb() >= exact * 0.9


def test_throughput_counts_pictures_not_queries(record: Record) -> None:
    samples = np.full(10, 1_000_000, np.int64)
    batched = replace(record, samples_ns=samples, ran_ns=2_000_000_000, samples_per_query=4)
    assert batched.throughput_fps == 20.0


def test_engine_that_fails_on_the_way_leaves_what_was_measured_and_the_error(
    open_fake: Callable[..., Model], pictures: list[Image], sign: SimpleNamespace
) -> None:
    plan = Plan(duration_s=0, min_queries=100, warmup=3)
    record = measure(open_fake(fail_at=50), lambda: MemorySource(pictures), plan, sign)
    data = record.to_json()
    validate(data)
    assert (data["status"], data["valid"]) == ("failed", False)
    assert data["error"]["kind"] == "BackendError"
    assert "run 50" in data["error"]["problem"]
    assert 40 < data["queries"] < 50
