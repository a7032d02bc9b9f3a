"""The record of one run: raw samples and what is derived from them, as JSON with stable keys."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import OutputError
from edgevision.percentiles import summary_ms
from edgevision.sinks import claim

__all__ = ["SCHEMA", "Record", "json_text", "write_record"]

SCHEMA = 1
#: Lists of samples, which are written on one line each.
_RAW = ("samples_ns", "stages_ns", "warmup_ns")


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
        load_ms: Checking and loading the variant, milliseconds.
        first_inference_ms: The first frame, in which buffers are made, milliseconds; None if there
            was no frame.
        peak_rss_mb: Most memory the process ever held, 10^6 bytes.
        environment: The machine; ``start`` and ``end`` are its state before and after.
        bundle: ``name`` and ``identity``.
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
    load_ms: float
    first_inference_ms: float | None
    peak_rss_mb: float
    environment: Mapping[str, Any]
    bundle: Mapping[str, str] = field(default_factory=dict)

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
            "scenario": self.scenario,
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
            "duration_s": round(self.duration_s, 6),
            "throughput_fps": None if fps is None else round(fps, 3),
            "latency_ms": self.latency_ms,
            "stages_ms": self.stages_ms,
            "load_ms": round(self.load_ms, 3),
            "first_inference_ms": _rounded(self.first_inference_ms),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
            "environment": dict(self.environment),
            "samples_ns": self.samples_ns.tolist(),
            "stages_ns": {stage: samples.tolist() for stage, samples in self.stages_ns.items()},
            "warmup_ns": self.warmup_ns.tolist(),
        }


def json_text(record: Record) -> str:
    """The record as text: indented for people, each list of samples on one line."""
    lines = []
    for key, value in record.to_json().items():
        if key in _RAW:
            text = json.dumps(value, separators=(",", ":"))
        else:
            text = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n  ")
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_record(record: Record, path: Path, *, force: bool = False) -> None:
    """Writes the whole record or nothing: a file beside it takes its place when it is complete.

    A link is followed; what is no plain file (a pipe, a device) is written to as it stands.

    Raises:
        OutputError: As `edgevision.sinks.claim`, or the disk is full.
    """
    claim(path, force=force)
    place = path.resolve()
    plain = place.is_file() or not place.exists()
    draft = place.with_name(f".{place.name}.{os.getpid()}.tmp") if plain else place
    try:
        draft.write_text(json_text(record), encoding="utf-8")
        if plain:
            draft.replace(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            if plain:
                draft.unlink(missing_ok=True)
        raise OutputError(
            f"{path} could not be written: {error.strerror}",
            hint="make room, or choose another place",
        ) from error


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
