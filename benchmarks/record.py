"""The record of one run: raw samples and what is derived from them, as JSON with stable keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.percentiles import summary_ms
from edgevision.sinks import claim
from edgevision.whole_file import write_output

__all__ = [
    "SCHEMA",
    "STATUSES",
    "Record",
    "data_text",
    "json_text",
    "record_from_json",
    "write_record",
    "write_text",
]

SCHEMA = 1
#: What can become of a configuration. ``ok``: it was measured to the end, valid or not.
STATUSES = ("ok", "failed", "crashed", "out-of-memory", "timed-out", "interrupted")
#: Lists of samples, which are written on one line each.
_RAW = ("samples_ns", "begins_ns", "stages_ns", "warmup_ns", "timeline")
#: A list of numbers over several lines; no string of JSON has a line's end in it.
_NUMBERS = re.compile(r"\[\n[-+.\deE,\s]+\]")


@dataclass(frozen=True, slots=True)
class Record:
    """One run. Times are raw nanoseconds; `to_json` derives the rest.

    Attributes:
        scenario: ``single-stream``, or ``single-stream-inference-only``.
        valid: Whether the numbers may be quoted.
        invalid_reason: Why not; None if they may.
        boundary: What is timed: ``kind``, ``timed`` and ``not_timed`` in words.
        plan: What was asked: ``duration_s``, ``min_queries``, ``warmup``, ``percentile``.
        variant: Id of the variant.
        precision: Of the variant's graph.
        backend: Registry name.
        compute: Precision that the engine says it executes.
        engine: ``library``, ``version``, ``device``.
        hint: ``latency`` or ``throughput``.
        in_flight: Queries under way at a time; more than 1 only with the hint ``throughput``.
        threads: ``engine`` and ``opencv``: CPU threads they use.
        options: The user's other choices (score, classes, …) where they differ from the defaults.
        source: ``uri``, ``width``, ``height``, ``frames``, ``passes`` (how often it was opened for
            queries) and ``problems``.
        samples_per_query: Pictures that one query holds.
        samples_ns: int64 ``(queries,)``: end to end.
        stages_ns: Stage → int64 ``(queries,)``; only stages that this scenario times.
        warmup_ns: int64 ``(warm-up queries,)``: end to end; in no other figure.
        ran_ns: Time in which the counted queries ran.
        load_ms: Checking and loading the variant, milliseconds; None if that failed.
        first_inference_ms: The first frame, in which buffers are made, milliseconds; None if there
            was no frame.
        peak_rss_mb: Most memory the process ever held, 10^6 bytes; None if it ended before it could tell.
        environment: The machine; ``start`` and ``end`` are its state before and after.
        bundle: ``name`` and ``identity``.
        started_at: When it began, ISO 8601, UTC.
        status: What became of it, one of `STATUSES`; a measurement that came to its end is ``ok``,
            valid or not.
        error: ``kind``, ``problem``, ``received``, ``expected``, ``hint`` of what ended it; None.
        instance: The choices that were measured, with ``instance_id``.
        request_id: The same for two runs that were asked the same: instance, plan, source, bundle
            and options.
        begins_ns: int64 ``(queries,)``: when each query began (was due, where queries come by
            themselves), counted from the first one's begin.
        result: The scenario's own figure: ``metric``, ``value``, ``percentile``, ``estimate_ms``,
            ``queries_needed``.
        scenario_options: What else the scenario was told: seed, rate, …
        camera: Age of the results and dropped frames; None where no camera was played.
        timeline: What was sampled of the machine meanwhile; None if nothing was.
        energy: ``joules``, ``joules_per_frame``, ``mean_watts``, ``source``; or why there is none.
        flags: What to know before quoting it: ``kind`` and ``text``.
        interleaved: Of a run whose blocks took turns with another model's: ``run``, the same in both
            records, ``side`` and how they took turns; None for a run alone.
        repetition: Of one of several runs of the same thing: its ``number``, from 1, and how many it is ``of``; None
            for one that was asked for alone.
        floor: What this machine would need at the least; None if nobody worked it out.
        accuracy: What was proven of this variant, engine and precision when the bundle was made:
            ``metric``, ``value``, ``reference``, ``samples``, ``verdict``; None if nothing was.
    """

    scenario: str
    valid: bool
    invalid_reason: str | None
    boundary: Mapping[str, Any]
    plan: Mapping[str, Any]
    variant: str
    precision: str
    backend: str
    compute: str
    engine: Mapping[str, Any]
    hint: str
    in_flight: int
    threads: Mapping[str, int]
    options: Mapping[str, Any]
    source: Mapping[str, Any]
    samples_per_query: int
    samples_ns: NDArray[np.int64]
    stages_ns: Mapping[str, NDArray[np.int64]]
    warmup_ns: NDArray[np.int64]
    ran_ns: int
    load_ms: float | None
    first_inference_ms: float | None
    peak_rss_mb: float | None
    environment: Mapping[str, Any]
    bundle: Mapping[str, str] = field(default_factory=dict)
    started_at: str = ""
    status: str = "ok"
    error: Mapping[str, str] | None = None
    instance: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    begins_ns: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    result: Mapping[str, Any] | None = None
    scenario_options: Mapping[str, Any] = field(default_factory=dict)
    camera: Mapping[str, Any] | None = None
    timeline: Mapping[str, Any] | None = None
    energy: Mapping[str, Any] | None = None
    flags: Sequence[Mapping[str, str]] = ()
    floor: Mapping[str, Any] | None = None
    accuracy: Mapping[str, Any] | None = None
    interleaved: Mapping[str, Any] | None = None
    repetition: Mapping[str, int] | None = None

    @property
    def queries(self) -> int:
        return len(self.samples_ns)

    @property
    def duration_s(self) -> float:
        return self.ran_ns / 1e9

    @property
    def throughput_fps(self) -> float | None:
        """Pictures a second; None if none was completed."""
        if not self.queries or not self.ran_ns:
            return None
        return self.queries * self.samples_per_query / self.duration_s

    @property
    def latency_ms(self) -> dict[str, float | None]:
        return summary_ms(self.samples_ns)

    @property
    def stages_ms(self) -> dict[str, dict[str, float | None]]:
        return {stage: summary_ms(samples) for stage, samples in self.stages_ns.items()}

    def to_json(self) -> dict[str, Any]:
        """JSON-ready. Keys are only ever added. Milliseconds are rounded, samples are exact."""
        fps = self.throughput_fps
        return {
            "schema": SCHEMA,
            "started_at": self.started_at,
            "status": self.status,
            "error": None if self.error is None else dict(self.error),
            "instance": dict(self.instance),
            "request_id": self.request_id,
            "scenario": self.scenario,
            "scenario_options": dict(self.scenario_options),
            "valid": self.valid,
            "invalid_reason": self.invalid_reason,
            "boundary": dict(self.boundary),
            "plan": dict(self.plan),
            "bundle": dict(self.bundle),
            "variant": self.variant,
            "precision": self.precision,
            "backend": self.backend,
            "compute": self.compute,
            "engine": dict(self.engine),
            "hint": self.hint,
            "in_flight": self.in_flight,
            "threads": dict(self.threads),
            "options": dict(self.options),
            "source": dict(self.source),
            "queries": self.queries,
            "samples_per_query": self.samples_per_query,
            "warmup_queries": len(self.warmup_ns),
            "duration_s": round(self.duration_s, 9),
            "throughput_fps": None if fps is None else round(fps, 3),
            "result": _table(self.result),
            "latency_ms": self.latency_ms,
            "stages_ms": self.stages_ms,
            "load_ms": _rounded(self.load_ms),
            "first_inference_ms": _rounded(self.first_inference_ms),
            "peak_rss_mb": _rounded(self.peak_rss_mb, 1),
            "energy": _table(self.energy),
            "camera": _table(self.camera),
            "floor": _table(self.floor),
            "accuracy": _table(self.accuracy),
            "interleaved": _table(self.interleaved),
            "repetition": _table(self.repetition),
            "flags": [dict(flag) for flag in self.flags],
            "environment": dict(self.environment),
            "timeline": _table(self.timeline),
            "samples_ns": self.samples_ns.tolist(),
            "begins_ns": self.begins_ns.tolist(),
            "stages_ns": {stage: samples.tolist() for stage, samples in self.stages_ns.items()},
            "warmup_ns": self.warmup_ns.tolist(),
        }


def record_from_json(data: Mapping[str, Any]) -> Record:
    """The inverse of `Record.to_json`: what is derived is derived again.

    Args:
        data: A record that follows the schema; keys that came later may be missing.
    """
    given = {name: data[name] for name in _FIELDS if name in data}
    given["ran_ns"] = round(data["duration_s"] * 1e9)
    for name in ("samples_ns", "begins_ns", "warmup_ns"):
        given[name] = np.array(data.get(name, []), np.int64)
    given["stages_ns"] = {
        stage: np.array(samples, np.int64) for stage, samples in data["stages_ns"].items()
    }
    return Record(**given)


def json_text(record: Record) -> str:
    """The record as text: indented for people, each list of numbers on one line."""
    return data_text(record.to_json())


def data_text(data: Mapping[str, Any]) -> str:
    """As `json_text`, of a record that is JSON already."""
    lines = []
    for key, value in data.items():
        if key in _RAW:
            text = json.dumps(value, separators=(",", ":"))
        else:
            text = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
            text = _NUMBERS.sub(lambda found: "".join(found[0].split()), text)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_record(record: Record, path: Path, *, force: bool = False) -> None:
    """As `write_text`, of `json_text`."""
    write_text(json_text(record), path, force=force)


def write_text(text: str, path: Path, *, force: bool = False) -> None:
    """Claims the place, and writes as `edgevision.whole_file.write_output`.

    Raises:
        OutputError: As these two.
    """
    claim(path, force=force)
    write_output(path, text)


_FIELDS = [field.name for field in fields(Record)]


def _table(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
