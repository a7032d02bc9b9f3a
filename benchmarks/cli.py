"""The verb of measuring: bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevision.benchmarks.compare.options import VS, bench_in_turns, vs_asked, vs_options
from edgevision.benchmarks.options import AXES, matrix_options, plans_of, scenario_options
from edgevision.commands import result_options, split_classes

if TYPE_CHECKING:
    from edgevision.benchmarks.plan import Plan
    from edgevision.progress import Progress

__all__ = ["bench"]

#: The run was made, and its numbers must not be quoted.
_INVALID = 3
#: Of one configuration; more than that is a mistyped number.
_MOST_RUNS = 1000
#: Parameters that `edgevision.benchmarks.plan.Plan` takes, by its names.
_PLAN = (
    "min_queries",
    "warmup",
    "cooldown",
    "samples_per_query",
    "target_qps",
    "latency_bound_ms",
    "seed",
    "fps",
    "cameras",
)


def _show_schema(ctx: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked:
        from edgevision.benchmarks.schema import schema_text

        click.echo(schema_text(), nl=False)
        ctx.exit()


@click.command(context_settings={"show_default": False})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@scenario_options
@matrix_options
@result_options
@vs_options
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=300.0,
    show_default=True,
    metavar="S",
    help="Give up on one of several configurations that shows no sign of life for so long.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, _MOST_RUNS),
    default=1,
    metavar="N",
    help="Measure each configuration so often, each time in a process of its own: from 5 on compare knows how much "
    "runs vary.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Write the record (of several configurations or runs: all of them) here.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Add each record to DIR/records.jsonl, and write report.html, report.md and records.csv.",
)
@click.option(
    "--resume", is_flag=True, help="What DIR/records.jsonl holds of this call is not run again."
)
@click.option("--force", is_flag=True, help="Overwrite an output that exists.")
@click.option(
    "--json", "as_json", is_flag=True, help="The record as JSON on stdout, in place of the table."
)
@click.option(
    "--schema",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_schema,
    help="Show the JSON schema of records and exit.",
)
def bench(
    model: Path,
    source: str | None,
    scenario: tuple[str, ...],
    inference_only: bool,
    duration: float,
    timeout: float,
    runs: int,
    output: Path | None,
    report: Path | None,
    resume: bool,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Measure MODEL (a bundle or an ONNX file) on SOURCE, end to end, on this machine.

    \b
    SOURCE  clip.mp4 · photos/ · photo.jpg · synthetic://shapes?size=1280x720
            left out: the bundle's golden frames, from memory

    Several values of --precision, --variant, --backend, --compute, --batch, --size, --threads, --hint or
    --scenario, joined by commas, are measured in all combinations, each in a process of its own. With --runs 5 each
    of them is measured five times, in rounds; the tables show the run in the middle, and edgevision compare takes all.

    A source that ends is opened again. A percentile that takes more frames is not shown.
    Ctrl-C ends the run; its record is marked INVALID.

    Exit status: 0 valid, 1 failed, 2 usage, 3 a run is INVALID or --max-regression was exceeded,
    130/143 interrupted.
    """
    from edgevision.sinks import claim

    options["classes"] = split_classes(options["classes"])
    given = {"duration_s": duration, **{name: options.pop(name) for name in _PLAN}}
    plans = plans_of(scenario, inference_only, given)
    axes = {name: options.pop(name) for name in AXES}
    if resume and report is None:
        raise click.UsageError("--resume goes on with what a --report DIR holds: name it")
    vs = {name: options.pop(name) for name in VS}
    if vs_asked(vs):
        if resume:
            raise click.UsageError("--vs cannot go on with an earlier run: leave --resume out")
        if runs > 1:
            raise click.UsageError(
                "--runs is for runs apart from each other; --vs lets two take turns within one run, so that what runs "
                "differ by hits both: leave --runs out, and give it a longer --duration"
            )
        return bench_in_turns(
            model, source, plans, axes, options, vs, (output, report), force=force, as_json=as_json
        )
    if output is not None:
        claim(output, force=force)
    several = len(plans) > 1 or any(len(values or ()) > 1 for values in axes.values())
    if report is None and not several and runs == 1:
        single = {name: values[0] if values else None for name, values in axes.items()}
        return _bench_here(model, source, plans[0], {**single, **options}, output, force, as_json)
    from edgevision.benchmarks.matrix.call import Call, bench_matrix

    call = Call(model, source, plans, axes, options, timeout, output, report, resume, force, runs)
    return bench_matrix(call, as_json=as_json)


def _bench_here(
    model: Path,
    source: str | None,
    plan: Plan,
    options: dict[str, Any],
    output: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """One configuration, in this process: it is as fresh as a child would be."""
    from edgevision.benchmarks.record import json_text, write_record
    from edgevision.benchmarks.report.text import report_text
    from edgevision.benchmarks.run import benchmark
    from edgevision.benchmarks.show import show
    from edgevision.preprocess import one_thread
    from edgevision.progress import Progress
    from edgevision.signals import Stop

    one_thread()
    with Stop() as stop, Progress(quiet=as_json) as progress:
        record = benchmark(
            model, source, plan, stop, tell=lambda part: _tell(progress, part), **options
        )
    try:
        # Shown first: a record that cannot be written must not take the numbers with it …
        show(json_text(record) if as_json else report_text(record), end=not as_json)
    finally:  # … nor a stdout that cannot be written the record.
        if output is not None:
            write_record(record, output, force=force)
    if output is not None:
        show(f"\nwritten: {output}", err=as_json)
    return stop.exit_code or (0 if record.valid else _INVALID)


def _tell(progress: Progress, part: float) -> None:
    progress("measuring, percent", int(100 * part), 100)
