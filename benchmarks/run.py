"""One benchmark: opens a model, runs a scenario, and puts the record together."""

from __future__ import annotations

import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2

from edgevision.benchmarks.environment import read_environment, read_state
from edgevision.benchmarks.memory import golden_source
from edgevision.benchmarks.record import Record
from edgevision.benchmarks.scenarios import (
    MakeSource,
    Measurement,
    Tell,
    inference_only,
    single_stream,
)
from edgevision.benchmarks.terms import Plan, StopSign
from edgevision.clock import STAGES
from edgevision.model import Model, open_model
from edgevision.sources import make_source
from edgevision.text import redacted

__all__ = ["benchmark", "measure", "peak_rss_mb"]

_STATUS = Path("/proc/self/status")
_END_TO_END = {
    "kind": "end-to-end",
    "timed": "from the start of reading a frame until its result is handed over: read, "
    "pre-processing, inference, decoding",
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
            return measure(model, lambda: golden, plan, stop, tell=tell, choices=choices)
        return measure(model, lambda: make_source(source), plan, stop, tell=tell, choices=choices)


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
    start = read_state()
    run = inference_only if plan.inference_only else single_stream
    measured = run(model, frames, plan, stop, tell)
    if model.backend == "fake" and measured.invalid_reason is None:
        measured = replace(measured, invalid_reason="the backend 'fake' computes nothing")
    peak_mb = peak_rss_mb()
    environment = {**read_environment(), "start": start, "end": read_state()}
    return _record(model, plan, measured, environment, peak_mb, choices or {})


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


def _record(
    model: Model,
    plan: Plan,
    measured: Measurement,
    environment: Mapping[str, Any],
    peak_mb: float,
    choices: Mapping[str, Any],
) -> Record:
    bundle, executed = model.bundle, model.executed
    first_ns = measured.first_inference_ns
    return Record(
        scenario=plan.scenario + ("-inference-only" if plan.inference_only else ""),
        valid=measured.invalid_reason is None,
        invalid_reason=measured.invalid_reason,
        boundary=_boundary(plan, measured),
        plan={
            key: value
            for key, value in asdict(plan).items()
            if key not in ("scenario", "inference_only")
        },
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
    return _END_TO_END | ({"timed": _END_TO_END["timed"] + _FROM_MEMORY} if in_memory else {})


def _source(measured: Measurement) -> dict[str, Any]:
    info = measured.info
    known = {} if info is None else asdict(info) | {"uri": redacted(info.uri)}
    return known | {"passes": measured.passes, "problems": list(measured.problems)}
