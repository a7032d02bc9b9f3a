"""Measures instances one after another, each in a process of its own; what becomes of each is a record.

Several runs of each are made in rounds: every configuration once, then every one again, so that what changes meanwhile
(the temperature, a neighbour) hits all of them, and shows in the runs of each. Every second round goes backwards: what
only rises then hits nobody more than others. A run has a process of its own anyway, so nothing is loaded more often
than if the runs of a configuration came one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.benchmarks.environment import read_environment, read_state
from edgevision.benchmarks.history import append_record, read_history
from edgevision.benchmarks.instance import Instance, plan_data, request_id
from edgevision.benchmarks.matrix.child import Ended, in_child
from edgevision.benchmarks.matrix.expand import Resolved, Wanted, in_order, resolve_all
from edgevision.benchmarks.matrix.failure import error_from, oom_kills, status_and_error
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.record import Record
from edgevision.benchmarks.repeated import latest_runs
from edgevision.benchmarks.terms import StopSign
from edgevision.progress import Progress
from edgevision.text import counted, redacted

__all__ = ["Job", "measure_here", "resolve", "rounds", "run_matrix"]


#: What `--resume` does not measure again.
_RESULTS = ("ok", "crashed", "out-of-memory", "timed-out")


@dataclass(frozen=True, slots=True)
class Job:
    """What all instances have in common.

    Attributes:
        path: The bundle's folder or the ONNX file.
        source: URI of the frames; None is the bundle's golden frames.
        choices: What `edgevision.model.open_model` takes besides an instance's choices.
        silence_s: A configuration that gives no sign of life for so long has timed out.
        journal: Where each record is added as soon as it is there; None is nowhere.
        resume: Whether what the journal holds is not measured again.
        runs: How often each configuration is measured.
    """

    path: Path
    source: str | None
    choices: Mapping[str, Any] = field(default_factory=dict)
    silence_s: float = 300.0
    journal: Path | None = None
    resume: bool = False
    runs: int = 1


def resolve(job: Job, wanted: Sequence[Wanted], stop: StopSign) -> Resolved:
    """Finds out, in a child, which combinations there are.

    Raises:
        EdgevisionError: The bundle cannot be opened, or asking about it failed.
    """
    arguments = (str(job.path), tuple(wanted), dict(job.choices))
    ended = in_child(resolve_all, arguments, stop, silence_s=job.silence_s)
    if ended.result is None:
        raise error_from(status_and_error(ended, oom_kills())[1])
    return in_order(wanted, ended.result)


def run_matrix(
    job: Job,
    resolved: Resolved,
    stop: StopSign,
    progress: Progress,
    told: Callable[[int, int, Mapping[str, Any], bool], None] | None = None,
) -> list[dict[str, Any]]:
    """One record a run, in the order of the runs; when it is stopped, those there are.

    A configuration that did not come to its end in one run is not run again: the same would most likely befall it, and
    nothing that is made of its runs would stand.

    Args:
        job: What they have in common.
        resolved: The instances, with their plans.
        stop: Ends it after the run in hand, whose record is then marked as interrupted.
        progress: Told how far the whole is.
        told: Called with each run's number, how many there are, its record, and whether it was there before.

    Raises:
        OutputError: The journal cannot be written.
    """
    there = _there_before(job)
    records: list[dict[str, Any]] = []
    turns = rounds(resolved.instances, job.runs)
    had = [there.get((_asked(job, resolved, pair), number)) for number, pair in turns]
    gauge = _Gauge(progress, len(resolved.instances), had.count(None))
    ended: set[str] = set()
    for place, ((number, pair), before) in enumerate(zip(turns, had, strict=True), 1):
        if before is None and stop.number:
            break
        if pair[0].instance_id in ended:
            gauge.next(1 if before is None else 0)
            continue
        record = _run(job, resolved, pair, number, stop, gauge) if before is None else before
        if record["status"] != "ok":
            ended.add(pair[0].instance_id)
        records.append(record)
        if told is not None:
            told(place, len(turns), record, before is not None)
    return records


def rounds(
    instances: Sequence[tuple[Instance, Plan]], runs: int
) -> list[tuple[int, tuple[Instance, Plan]]]:
    """Which run of which instance comes when: there and back, so often."""
    return [
        (number, pair)
        for number in range(1, runs + 1)
        for pair in (instances if number % 2 else reversed(instances))
    ]


def measure_here(
    path: str,
    source: str | None,
    plan: Plan,
    choices: Mapping[str, Any],
    stop: StopSign,
    tell: Callable[[float], None],
) -> dict[str, Any]:
    """One benchmark in this process: what a child does."""
    from edgevision.benchmarks.run import benchmark
    from edgevision.preprocess import one_thread

    one_thread()
    return benchmark(Path(path), source, plan, stop, tell=tell, **choices).to_json()


class _Gauge:
    """How far the whole is, in percent of one run each, so that the time left is that of all."""

    def __init__(self, progress: Progress, instances: int, runs: int) -> None:
        self._progress, self._runs, self._done = progress, runs, 0
        what = counted(instances if runs > instances else runs, "configuration")
        often = f" in {counted(runs, 'run')}" if runs > instances else ""
        self._stage = f"measuring {what}{often}, percent"

    def __call__(self, part: float) -> None:
        done = 100 * self._done + min(99, int(100 * part))
        self._progress(self._stage, done // self._runs, 100)

    def next(self, runs: int = 1) -> None:
        self._done += runs
        if self._done == self._runs:
            self._progress(self._stage, 100, 100)


def _run(
    job: Job,
    resolved: Resolved,
    pair: tuple[Instance, Plan],
    number: int,
    stop: StopSign,
    gauge: _Gauge,
) -> dict[str, Any]:
    """Measures it, and adds its record to the journal."""
    record = _measured(job, resolved, pair, stop, gauge)
    if job.runs > 1:
        record["repetition"] = {"number": number, "of": job.runs}
    gauge.next()
    if job.journal is not None:
        append_record(job.journal, record)
    return record


def _measured(
    job: Job,
    resolved: Resolved,
    pair: tuple[Instance, Plan],
    stop: StopSign,
    gauge: Callable[[float], None],
) -> dict[str, Any]:
    instance, plan = pair
    choices = {**job.choices, **_choices(instance)}
    started, start, kills = datetime.now(timezone.utc), read_state(), oom_kills()
    arguments = (str(job.path), job.source, plan, choices)
    ended = in_child(measure_here, arguments, stop, silence_s=job.silence_s, tell=gauge)
    if ended.result is not None:
        record = dict(ended.result)
    else:
        now = oom_kills()
        more = None if kills is None or now is None else now - kills
        record = _without_numbers(job, resolved, pair, ended, more).to_json()
        record["environment"] = {**read_environment(), "start": start, "end": read_state()}
        record["started_at"] = started.isoformat(timespec="seconds")
    asked = _asked(job, resolved, pair)
    return {**record, "instance": instance.to_json(), "request_id": asked}


def _without_numbers(
    job: Job, resolved: Resolved, pair: tuple[Instance, Plan], ended: Ended, kills: int | None
) -> Record:
    """The record of an instance that gave no numbers: all keys, no samples."""
    instance, plan = pair
    status, error = status_and_error(ended, kills)
    nothing = np.empty(0, np.int64)
    uri = {} if job.source is None else {"uri": redacted(job.source)}
    only = plan.inference_only
    return Record(
        scenario=plan.scenario + ("-inference-only" if only else ""),
        valid=False,
        invalid_reason=f"{status}: {error['problem']}",
        boundary={"kind": "inference-only" if only else "end-to-end"},
        plan=plan_data(plan),
        variant=instance.variant,
        precision=instance.precision,
        backend=instance.backend,
        compute=instance.compute,
        engine={},
        hint=instance.hint,
        in_flight=0,
        threads={},
        options={key: value for key, value in job.choices.items() if value is not None},
        source={**uri, "passes": 0, "problems": []},
        samples_per_query=1,
        samples_ns=nothing,
        stages_ns={},
        warmup_ns=nothing,
        ran_ns=0,
        load_ms=None,
        first_inference_ms=None,
        peak_rss_mb=None,
        environment={},
        bundle={"name": resolved.name, "identity": resolved.identity},
        status=status,
        error=error,
        scenario_options=plan.options(),
    )


def _choices(instance: Instance) -> dict[str, Any]:
    """What `edgevision.model.open_model` takes of an instance; nothing is left for it to choose."""
    return {
        "variant": instance.variant,
        "backend": instance.backend,
        "compute": instance.compute,
        "batch": instance.batch,
        "size": instance.size,
        "threads": instance.threads,
        "hint": instance.hint,
    }


def _asked(job: Job, resolved: Resolved, pair: tuple[Instance, Plan]) -> str:
    instance, plan = pair
    return request_id(instance.to_json(), plan, job.source, resolved.identity, job.choices)


def _there_before(job: Job) -> dict[tuple[str, int], dict[str, Any]]:
    """Records of the journal that answer what is asked, by its `request_id` and the number of the run.

    Of each they are the runs that were made last, as the reports take them, until the first that does not answer: not
    on this machine as it is, or not to its end. What refused or could not be found may be there by now, and costs
    little to be asked again.
    """
    if not job.resume or job.journal is None:
        return {}
    now = read_environment()
    asked: dict[str, list[dict[str, Any]]] = {}
    for record in read_history(job.journal).records:
        if record.get("request_id"):
            asked.setdefault(record["request_id"], []).append(record)
    return {
        (request, number): record
        for request, records in asked.items()
        for number, record in enumerate(
            takewhile(lambda one: _answers(one, now), latest_runs(records)), 1
        )
    }


def _answers(record: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return record.get("status") in _RESULTS and _same_machine(record["environment"], now)


def _same_machine(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether what both know of the machine is the same; a library that one of them did not see does not count."""
    for key in (before.keys() & now.keys()) - {"memory_mb"}:  # early records have MiB in it
        old, new = before[key], now[key]
        if key == "libraries":
            if any(
                old.get(name) not in (None, version) for name, version in new.items() if version
            ):
                return False
        elif old != new:
            return False
    return True
