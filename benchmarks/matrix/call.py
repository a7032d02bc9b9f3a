"""The verb ``bench`` with several configurations, or with a report: from what was asked to tables and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgevision.benchmarks.history import by_configuration, read_history
from edgevision.benchmarks.matrix.expand import Resolved, combinations
from edgevision.benchmarks.matrix.failure import error_from
from edgevision.benchmarks.matrix.runs import Job, resolve, run_matrix
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.record import data_text, record_from_json, write_text
from edgevision.benchmarks.repeated import latest_runs, middle, number_text, told_of_runs
from edgevision.benchmarks.report.folder import JOURNAL, claim_folder, write_reports
from edgevision.benchmarks.report.rows import verdict
from edgevision.benchmarks.report.table import table_text
from edgevision.benchmarks.report.text import report_text
from edgevision.benchmarks.show import show
from edgevision.benchmarks.terminal import wrapped
from edgevision.errors import UsageError
from edgevision.progress import Progress
from edgevision.signals import Stop
from edgevision.text import printable

__all__ = ["MATRIX_SCHEMA", "Call", "bench_matrix"]

MATRIX_SCHEMA = 1
_FAILED, _INVALID = 1, 3


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked on the command line.

    Attributes:
        model: The bundle's folder or the ONNX file.
        source: URI of the frames; None is the bundle's golden frames.
        plans: One a scenario.
        axes: Option → its values; None or empty leaves the choice open.
        options: Further choices of `edgevision.model.open_model`.
        silence_s: How long a configuration may give no sign of life.
        output: Where the JSON goes; None is nowhere.
        report: Folder of the reports, likewise.
        resume: Whether what that folder holds of this call is not run again.
        force: Whether ``output`` may be overwritten.
        runs: How often each configuration is measured.
    """

    model: Path
    source: str | None
    plans: Sequence[Plan]
    axes: Mapping[str, Sequence[Any] | None]
    options: Mapping[str, Any]
    silence_s: float = 300.0
    output: Path | None = None
    report: Path | None = None
    resume: bool = False
    force: bool = False
    runs: int = 1


def bench_matrix(call: Call, *, as_json: bool = False) -> int:
    """Runs it, shows it and writes it; returns the exit status.

    Raises:
        EdgevisionError: Nothing can be run, or the only configuration there is failed.
    """
    journal = None if call.report is None else call.report / JOURNAL
    job = Job(
        call.model, call.source, call.options, call.silence_s, journal, call.resume, call.runs
    )
    wanted = combinations(call.axes, call.plans)
    with Stop() as stop, Progress(quiet=as_json) as progress:
        resolved = resolve(job, wanted, stop)
        _say_what_is_skipped(resolved, progress)
        if call.report is not None:  # only now: a model that is not there leaves no folder behind
            claim_folder(call.report)
        records = run_matrix(job, resolved, stop, progress, _teller(progress))
    skipped = [(str(one), error["problem"]) for one, error in resolved.skipped]
    if records:
        _show(call, resolved, records, skipped, as_json=as_json, several=len(wanted) > 1)
    if call.report is not None and stop.number:
        click.echo("interrupted: --resume goes on from here", err=True)
    if len(wanted) == 1 and records and records[0]["error"] and not stop.number:
        raise error_from(records[0]["error"])
    return stop.exit_code or _status(records)


def _say_what_is_skipped(resolved: Resolved, progress: Progress) -> None:
    """Raises where nothing is left: the one error that all have as it is, of several all of them."""
    if not resolved.instances:
        if len({error["problem"] for _, error in resolved.skipped}) == 1:
            raise error_from(resolved.skipped[0][1])
        told = "; ".join(f"{one}: {error['problem']}" for one, error in resolved.skipped)
        raise UsageError("none of these combinations can be measured", received=told)
    for one, error in resolved.skipped:
        progress.say(f"skipped: {one}: {error['problem']}")


def _teller(progress: Progress) -> Any:
    def tell(number: int, total: int, record: Mapping[str, Any], before: bool) -> None:
        if total == 1:
            return
        fps = record["throughput_fps"]
        told = f"{fps:,.1f} frames/s, " if fps is not None else ""
        where = " (was there)" if before else ""
        name = f"{_named(record)}{number_text(record)}"
        progress.say(f"{number}/{total} {name}: {told}{verdict(record)}{where}")

    return tell


def _named(record: Mapping[str, Any]) -> str:
    from edgevision.benchmarks.instance import Instance

    return printable(str(Instance.from_json(record["instance"])))


def _show(
    call: Call,
    resolved: Resolved,
    records: Sequence[dict[str, Any]],
    skipped: Sequence[tuple[str, str]],
    *,
    as_json: bool,
    several: bool,
) -> None:
    all_of_them = several or call.runs > 1
    text = _document(resolved, records) if all_of_them else data_text(records[0])
    try:
        # Shown first: files that cannot be written must not take the numbers with them …
        if as_json:
            show(text, end=False)
        elif several:
            show(table_text([middle(runs) for runs in by_configuration(records)], skipped))
        else:
            shown = middle(records)
            told = [line for words in told_of_runs(shown) for line in wrapped(words, hang=0)]
            show("\n".join([report_text(record_from_json(shown)), *told]))
    finally:  # … nor a stdout that cannot be written the files.
        if call.output is not None:
            write_text(text, call.output, force=call.force)
        places = [] if call.report is None else _write_reports(call.report, skipped)
    for place in ([] if call.output is None else [call.output]) + places:
        show(f"written: {place}", err=as_json)


def _write_reports(folder: Path, skipped: Sequence[tuple[str, str]]) -> list[Path]:
    """From the latest runs of each configuration in the folder's history."""
    history = read_history(folder / JOURNAL).records
    runs = [latest_runs(records) for records in by_configuration(history)]
    rows = [middle(records) for records in runs]
    models = ", ".join(dict.fromkeys(str(row["bundle"]["name"]) for row in rows))
    kept = {
        id(record): {**record, "runs": row.get("runs")}
        for row, records in zip(rows, runs, strict=True)
        for record in records
    }
    all_runs = [kept[id(record)] for record in history if id(record) in kept]
    return write_reports(folder, rows, f"Benchmark of {models}", skipped, all_runs)


def _document(resolved: Resolved, records: Sequence[dict[str, Any]]) -> str:
    """A matrix as JSON: what was left out, and the records."""
    skipped = [{"wanted": one.to_json(), "error": dict(error)} for one, error in resolved.skipped]
    texts = ",\n".join(data_text(record).rstrip("\n") for record in records)
    head = json.dumps(skipped, indent=2, ensure_ascii=False)
    return (
        f'{{\n"matrix_schema": {MATRIX_SCHEMA},\n"skipped": {head},\n"records": [\n{texts}\n]\n}}\n'
    )


def _status(records: Sequence[Mapping[str, Any]]) -> int:
    """0 where all may be quoted; 1 where nothing was measured at all."""
    if all(record["valid"] for record in records):
        return 0
    return _INVALID if any(record["status"] == "ok" for record in records) else _FAILED
