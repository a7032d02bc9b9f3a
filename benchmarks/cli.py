"""The verb of measuring: bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgevision.commands import engine_options, split_classes

if TYPE_CHECKING:
    from edgevision.progress import Progress

__all__ = ["bench"]

#: The run was made, and its numbers must not be quoted.
_INVALID = 3


@click.command(context_settings={"show_default": False})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@click.option(
    "--scenario",
    type=click.Choice(["single-stream"]),
    default="single-stream",
    show_default=True,
    help="How work is sent: single-stream sends the next frame when one is done.",
)
@click.option("--inference-only", is_flag=True, help="Time only the engine, on one loaded frame.")
@click.option(
    "--duration",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Run for at least so many seconds …",
)
@click.option(
    "--min-queries",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="… and at least so many frames.",
)
@click.option(
    "--warmup",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Frames that come first and are not counted.",
)
@engine_options
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the record here."
)
@click.option("--force", is_flag=True, help="Overwrite an output that exists.")
@click.option(
    "--json", "as_json", is_flag=True, help="The record as JSON on stdout, in place of the table."
)
def bench(
    model: Path,
    source: str | None,
    scenario: str,
    inference_only: bool,
    duration: float,
    min_queries: int,
    warmup: int,
    output: Path | None,
    force: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Measure MODEL (a bundle or an ONNX file) on SOURCE, end to end, on this machine.

    \b
    SOURCE  clip.mp4 · photos/ · photo.jpg · synthetic://shapes?size=1280x720
            left out: the bundle's golden frames, from memory

    A source that ends is opened again. A percentile that takes more frames is not shown.
    Ctrl-C ends the run; its record is marked INVALID.

    Exit status: 0 valid, 1 failed, 2 usage, 3 the run is INVALID, 130/143 interrupted.
    """
    from edgevision.benchmarks.record import json_text, write_record
    from edgevision.benchmarks.report import report_text
    from edgevision.benchmarks.run import benchmark
    from edgevision.benchmarks.terms import Plan
    from edgevision.preprocess import one_thread
    from edgevision.progress import Progress
    from edgevision.signals import Stop
    from edgevision.sinks import claim

    one_thread()
    if output is not None:
        claim(output, force=force)
    plan = Plan(scenario, inference_only, duration, min_queries, warmup)
    options["classes"] = split_classes(options["classes"])
    with Stop() as stop, Progress(quiet=as_json) as progress:
        record = benchmark(
            model, source, plan, stop, tell=lambda part: _tell(progress, part), **options
        )
    # Shown first: a record that cannot be written must not take the numbers with it.
    click.echo(json_text(record) if as_json else report_text(record), nl=not as_json)
    if output is not None:
        write_record(record, output, force=force)
        click.echo(f"\nwritten: {output}", err=as_json)
    return stop.exit_code or (0 if record.valid else _INVALID)


def _tell(progress: Progress, part: float) -> None:
    progress("measuring, percent", int(100 * part), 100)
