"""``bench A --vs B``: both models open in one process, their blocks in turns, two records and what they say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from edgevision.benchmarks.compare.comparison import Report
from edgevision.benchmarks.compare.markdown import report_markdown
from edgevision.benchmarks.compare.report_json import report_json
from edgevision.benchmarks.compare.sides import compare_sides
from edgevision.benchmarks.compare.text import report_text
from edgevision.benchmarks.compare.turns import take_turns
from edgevision.benchmarks.environment import read_environment, read_state
from edgevision.benchmarks.estimate.floor import floor_of_run
from edgevision.benchmarks.instance import request_id
from edgevision.benchmarks.memory import golden_source
from edgevision.benchmarks.observed import observed
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.record import Record, json_text, write_text
from edgevision.benchmarks.run import ending, peak_rss_mb, record_of
from edgevision.benchmarks.sampling.sampler import Sampler, interval_for
from edgevision.benchmarks.scenarios.measurement import MakeSource, Measurement, Tell
from edgevision.benchmarks.show import show
from edgevision.benchmarks.terms import StopSign
from edgevision.errors import OutputError, UsageError
from edgevision.model import Model, open_model
from edgevision.preprocess import one_thread
from edgevision.progress import Progress
from edgevision.signals import Stop
from edgevision.sinks import claim
from edgevision.sources import make_source

__all__ = ["Duel", "bench_vs", "measure_in_turns"]

_INVALID = 3
_FILES = ("base.json", "new.json", "compare.json", "compare.md")
_NOT_ALONE = "two models took turns in one process"


@dataclass(frozen=True, slots=True)
class Duel:
    """What was asked on the command line.

    Attributes:
        base: The bundle or ONNX file that the other is compared with.
        new: The other; may be the same.
        source: URI of the frames; None is the base's golden frames.
        plan: What to run, for both together.
        choices: What `edgevision.model.open_model` takes, for the base.
        new_choices: Those that differ for the new one.
        limits: Metric → by how much it may get worse.
        output: Where the comparison's JSON goes.
        report: Folder of both records and the comparison.
        force: Whether files that exist may be overwritten.
    """

    base: Path
    new: Path
    source: str | None
    plan: Plan
    choices: Mapping[str, Any]
    new_choices: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    output: Path | None = None
    report: Path | None = None
    force: bool = False


def bench_vs(duel: Duel, *, as_json: bool = False) -> int:
    """Runs it, shows it and writes it; returns the exit status.

    Raises:
        EdgevisionError: Something does not fit, or failed before there was anything to compare.
    """
    if duel.plan.scenario != "single-stream":
        raise UsageError(
            f"{duel.plan.scenario} cannot take turns", expected="--vs with --scenario single-stream"
        )
    _claim(duel)
    one_thread()
    with Stop() as stop, Progress(quiet=as_json) as progress:
        records = measure_in_turns(
            duel, stop, tell=lambda part: progress("measuring, percent", int(100 * part), 100)
        )
    texts = [json_text(record) for record in records]
    if stop.number and not all(record.queries for record in records):
        click.echo("interrupted before there was anything to compare", err=True)
        return stop.exit_code
    # Two records that lie before the user are compared as they are, INVALID or not: the text says so.
    report = compare_sides(
        *([json.loads(text)] for text in texts),
        names=_names(duel),
        limits=duel.limits,
        allow_different=True,
    )
    comparison = (
        json.dumps(report_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    try:
        # Shown first: a file that cannot be written must not take the numbers with it …
        show(comparison if as_json else report_text(report), end=not as_json)
    finally:  # … nor a stdout that cannot be written the files.
        places = _write(duel, [*texts, comparison, report_markdown(report)])
    for place in places:
        show(f"written: {place}", err=as_json)
    return stop.exit_code or _status(records, report)


def measure_in_turns(duel: Duel, stop: StopSign, *, tell: Tell | None = None) -> list[Record]:
    """The records of both, whose ``interleaved`` says that they belong together.

    Raises:
        EdgevisionError: Something does not fit, or failed before the first counted query.
    """
    with ExitStack() as stack:
        choices = [dict(duel.choices), {**duel.choices, **duel.new_choices}]
        paths = (duel.base, duel.new)
        models = [
            stack.enter_context(open_model(path, **given))
            for path, given in zip(paths, choices, strict=True)
        ]
        sources = [_frames(duel.source, models[0]) for _ in models]
        begun, start = datetime.now(timezone.utc), read_state()
        with Sampler(interval_s=interval_for(duel.plan.duration_s)) as sampler:
            measured, turns = take_turns(
                models, sources, duel.plan, stop, seed=_seed(begun), tell=tell
            )
        environment = {**read_environment(), "start": start, "end": read_state()}
        facts = sampler.facts
        environment["gpu"] = {**facts.get("devfreq", {}), **facts.get("nvml", {})} or None
        run, peak_mb = _run_id(begun, models), peak_rss_mb()
        records = []
        for model, one, given, side in zip(models, measured, choices, "AB", strict=True):
            record = record_of(model, duel.plan, _honest(model, one), environment, peak_mb, given)
            asked = request_id(
                record.instance, duel.plan, duel.source, model.bundle.identity, given
            )
            record = replace(
                record,
                started_at=begun.isoformat(timespec="seconds"),
                request_id=asked,
                interleaved={"run": run, "side": side, **turns.to_json()},
                **_seen(sampler, one, environment),
            )
            record = replace(record, **ending(one, stop))
            floor = floor_of_run(record, model.variant, model.pipeline.open_rows)
            records.append(replace(record, floor=floor))
        return records


def _names(duel: Duel) -> tuple[str, str]:
    names = (duel.base.name, duel.new.name)
    return names if names[0] != names[1] else ("base", "new")


def _frames(source: str | None, model: Model) -> MakeSource:
    """The same frames for both, from a source of each one's own."""
    if source is None:
        return lambda: golden_source(model.bundle)
    return lambda: make_source(source)


def _honest(model: Model, measured: Measurement) -> Measurement:
    if model.backend != "fake" or measured.invalid_reason is not None:
        return measured
    return replace(measured, invalid_reason="the backend 'fake' computes nothing")


def _seen(
    sampler: Sampler, measured: Measurement, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What was sampled; joules and busy cores are of both models together."""
    seen = observed(sampler, measured, environment)
    return {**seen, "energy": {"joules": None, "reason": _NOT_ALONE}}


def _seed(begun: datetime) -> int:
    return int(begun.timestamp() * 1e6) % 2**32


def _run_id(begun: datetime, models: Sequence[Model]) -> str:
    """The same in both records, and in no other."""
    told = " ".join([begun.isoformat(), *(model.bundle.identity for model in models)])
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _claim(duel: Duel) -> None:
    if duel.output is not None:
        claim(duel.output, force=duel.force)
    if duel.report is None:
        return
    try:
        duel.report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{duel.report} cannot be made: {error.strerror}", hint="choose another folder"
        ) from error
    for name in _FILES:
        claim(duel.report / name, force=duel.force)


def _write(duel: Duel, texts: Sequence[str]) -> list[Path]:
    places = [] if duel.report is None else [duel.report / name for name in _FILES]
    for place, text in zip(places, texts, strict=False):
        write_text(text, place, force=duel.force)
    if duel.output is not None:
        write_text(texts[_FILES.index("compare.json")], duel.output, force=duel.force)
        places.append(duel.output)
    return places


def _status(records: Sequence[Record], report: Report) -> int:
    """3 also where the numbers must not be quoted."""
    return report.exit_status or (0 if all(record.valid for record in records) else _INVALID)
