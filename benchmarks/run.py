"""One benchmark: opens a model, runs a scenario, and puts the record together."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2

from edgevision.benchmarks.accuracy import accuracy_of
from edgevision.benchmarks.environment import read_environment, read_state
from edgevision.benchmarks.estimate.floor import floor_of_run
from edgevision.benchmarks.instance import of_model, plan_data, request_id
from edgevision.benchmarks.matrix.failure import error_data, status_of
from edgevision.benchmarks.memory import golden_source
from edgevision.benchmarks.observed import observed
from edgevision.benchmarks.record import Record
from edgevision.benchmarks.sampling.sampler import Sampler, interval_for
from edgevision.benchmarks.scenarios import SCENARIOS, MakeSource, Measurement, Tell
from edgevision.benchmarks.terms import Plan, StopSign
from edgevision.clock import STAGES
from edgevision.model import Model, open_model
from edgevision.sources import make_source
from edgevision.text import redacted

__all__ = ["benchmark", "ending", "measure", "peak_rss_mb", "record_of"]

_STATUS = Path("/proc/self/status")
_END_TO_END = {
    "kind": "end-to-end",
    "not_timed": "loading the model, warm-up, opening the source (again, when it has ended), sinks "
    "(none is attached)",
}
_INFERENCE_ONLY = {
    "kind": "inference-only",
    "timed": "submit until wait returns: the engine alone, the same loaded frame each time",
    "not_timed": "reading, pre-processing, decoding, sinks, loading the model, warm-up",
}
#: What is no choice of the user's, or has a place of its own in the record.
_DEFAULTS = {"backend": "auto", "threads": 0, "hint": "latency"}
_FROM_READ = "from the start of reading a frame until its result is handed over"
#: The same for scenarios whose queries begin somewhere else.
_FROM = {
    "multi-stream": "from the start of reading a query's first frame until its last result is "
    "handed over",
    "server": "from when a frame was due, waiting included, until its result is handed over",
    "camera": "from when a frame was due at its camera, waiting included, until its result is "
    "handed over",
}
_FROM_MEMORY = "; frames come from memory, so reading costs nothing"


def benchmark(
    path: Path,
    source: str | None,
    plan: Plan,
    stop: StopSign,
    *,
    tell: Tell | None = None,
    **choices: Any,
) -> Record:
    """Opens a bundle or an ONNX file and measures it.

    Args:
        path: The bundle's folder or the ONNX file.
        source: URI of the frames; None is the bundle's golden frames, from memory.
        plan: What to run.
        stop: Ends the run early; the record is then invalid.
        tell: Called between queries with the part that is done, 0…1.
        choices: What `edgevision.model.open_model` takes.

    Raises:
        EdgevisionError: Something does not fit, or failed before the first query.
    """
    with open_model(path, **choices) as model:
        if source is None:
            golden = golden_source(model.bundle)
            record = measure(model, lambda: golden, plan, stop, tell=tell, choices=choices)
        else:
            record = measure(
                model, lambda: make_source(source), plan, stop, tell=tell, choices=choices
            )
        asked = request_id(record.instance, plan, source, model.bundle.identity, choices)
        return replace(record, request_id=asked)


def measure(
    model: Model,
    frames: MakeSource,
    plan: Plan,
    stop: StopSign,
    *,
    tell: Tell | None = None,
    choices: Mapping[str, Any] | None = None,
) -> Record:
    """Runs a plan on an open model; ``frames`` makes the source anew each time it is opened."""
    started_at, start = datetime.now(timezone.utc), read_state()
    with Sampler(interval_s=interval_for(plan.duration_s)) as sampler:
        measured = SCENARIOS[plan.scenario].run(model, frames, plan, stop, tell)
    if model.backend == "fake" and measured.invalid_reason is None:
        measured = replace(measured, invalid_reason="the backend 'fake' computes nothing")
    peak_mb = peak_rss_mb()
    environment = {**read_environment(), "start": start, "end": read_state()}
    facts = sampler.facts
    environment["gpu"] = {**facts.get("devfreq", {}), **facts.get("nvml", {})} or None
    record = record_of(model, plan, measured, environment, peak_mb, choices or {})
    seen = observed(sampler, measured, environment)
    record = replace(record, started_at=started_at.isoformat(timespec="seconds"), **seen)
    record = replace(record, **ending(measured, stop))
    return replace(record, floor=floor_of_run(record, model.variant, model.pipeline.open_rows))


def ending(measured: Measurement, stop: StopSign) -> dict[str, Any]:
    """The record's ``status`` and ``error``: what ended the run."""
    if measured.failure is not None:
        error = error_data(measured.failure)
        return {"status": status_of(error), "error": error}
    early = stop.number and measured.invalid_reason is not None
    return {"status": "interrupted" if early else "ok", "error": None}


def peak_rss_mb() -> float:
    """Most physical memory this process ever held, in MB of 10^6 bytes.

    On Linux this is ``VmHWM`` of ``/proc/self/status``, not ``ru_maxrss``: that begins, through
    exec too, with the peak of the process that started this one. Elsewhere it is ``ru_maxrss``, in
    kibibytes, on macOS in bytes.
    """
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError, IndexError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def record_of(
    model: Model,
    plan: Plan,
    measured: Measurement,
    environment: Mapping[str, Any],
    peak_mb: float,
    choices: Mapping[str, Any],
) -> Record:
    """Puts together what was measured, by whichever way, and what it was measured on."""
    bundle, executed = model.bundle, model.executed
    first_ns = measured.first_inference_ns
    return Record(
        scenario=plan.scenario + ("-inference-only" if plan.inference_only else ""),
        valid=measured.invalid_reason is None,
        instance=of_model(model, plan, choices).to_json(),
        invalid_reason=measured.invalid_reason,
        boundary=_boundary(plan, measured),
        plan=plan_data(plan),
        variant=model.variant.id,
        precision=model.variant.precision,
        backend=model.backend,
        compute=executed.compute,
        engine={
            "library": executed.library,
            "version": executed.version,
            "device": executed.device,
        },
        hint=choices.get("hint", "latency"),
        threads={"engine": executed.threads, "opencv": cv2.getNumThreads()},
        in_flight=model.session.slots,
        options={k: v for k, v in choices.items() if v is not None and v != _DEFAULTS.get(k)},
        source=_source(measured),
        samples_per_query=measured.samples_per_query,
        samples_ns=measured.total_ns,
        begins_ns=measured.begins_ns,
        result=measured.result,
        scenario_options=measured.scenario_options,
        camera=measured.camera,
        accuracy=accuracy_of(bundle, model.variant.id, model.backend, executed.compute),
        flags=measured.flags,
        stages_ns={
            stage: measured.stages_ns[:, column]
            for column, stage in enumerate(STAGES)
            if stage == "compute" or not plan.inference_only
        },
        warmup_ns=measured.warmup_ns,
        ran_ns=measured.ran_ns,
        load_ms=model.load_ms,
        first_inference_ms=None if first_ns is None else first_ns / 1e6,
        peak_rss_mb=peak_mb,
        environment=environment,
        bundle={"name": bundle.name, "identity": bundle.identity},
    )


def _boundary(plan: Plan, measured: Measurement) -> dict[str, str]:
    if plan.inference_only:
        return dict(_INFERENCE_ONLY)
    in_memory = measured.info is not None and measured.info.uri.startswith("memory://")
    timed = f"{_FROM.get(plan.scenario, _FROM_READ)}: read, pre-processing, inference, decoding"
    return _END_TO_END | {"timed": timed + (_FROM_MEMORY if in_memory else "")}


def _source(measured: Measurement) -> dict[str, Any]:
    info = measured.info
    known = {} if info is None else asdict(info) | {"uri": redacted(info.uri)}
    return known | {"passes": measured.passes, "problems": list(measured.problems)}
