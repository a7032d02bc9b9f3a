"""The verb estimate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgevision.benchmarks.estimate.machine import Machine

__all__ = ["estimate"]


@click.command(context_settings={"show_default": False})
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--target",
    default="this-machine",
    show_default=True,
    metavar="NAME",
    help="A device of 'edgevision targets', such as orin-nano-8gb, or this machine's processor, measured.",
)
@click.option("--variant", help="The bundle's variant with this id; fp32 if left out.")
@click.option(
    "--precision",
    help="Show the layers in this one: fp32, fp16, int8, …, as-written (the graph's).",
)
@click.option("--mode", help="Show the layers in this power mode; the fastest if left out.")
@click.option("--size", metavar="HxW", help="Size of the picture, where the model leaves it open.")
@click.option(
    "--batch", type=click.IntRange(1, 4096), metavar="N", help="Pictures in one inference."
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=DIMS",
    help="An input's whole shape: x=1x3x64x64.",
)
@click.option(
    "--dla",
    is_flag=True,
    help="Add the DLAs' rates to the GPU's: a bound of many pictures at once.",
)
@click.option(
    "--threads", type=click.IntRange(0, 256), default=0, help="Of this machine; 0 is every core."
)
@click.option("--measure", is_flag=True, help="Measure this machine again, also if that was done.")
@click.option(
    "--top", type=click.IntRange(0), default=10, show_default=True, help="How many layers to show."
)
@click.option("--json", "as_json", is_flag=True, help="All of it as JSON on stdout, every layer.")
def estimate(
    model: Path,
    target: str,
    variant: str | None,
    precision: str | None,
    mode: str | None,
    size: str | None,
    batch: int | None,
    shapes: tuple[str, ...],
    dla: bool,
    threads: int,
    measure: bool,
    top: int,
    as_json: bool,
) -> None:
    """Tell the least time and memory that MODEL (a bundle or an ONNX file) can take on a device.

    \b
    From its layers' operations and bytes, and what the device can do at best: a floor, no prediction.
    The device need not be there. This machine is measured once, which takes some seconds; let nothing
    else run meanwhile.
    """
    from edgevision.benchmarks.estimate import estimate as work
    from edgevision.benchmarks.estimate.shapes import input_shapes, parse_shape, parse_size
    from edgevision.benchmarks.estimate.subject import open_subject
    from edgevision.benchmarks.estimate.text import estimate_text
    from edgevision.onnx_header import read_header

    subject = open_subject(model, variant)
    sizes = input_shapes(
        read_header(subject.file).inputs,
        size=None if size is None else parse_size(size),
        batch=batch,
        named=dict(map(parse_shape, shapes)),
        spec=subject.spec,
    )
    machine = _machine(target, dla=dla, threads=threads, measure=measure, quiet=as_json)
    found = work.estimate(subject, sizes, machine, precision=precision, mode=mode)
    text = json.dumps(found.to_json(), indent=2) if as_json else estimate_text(found, top)
    click.echo(text)


def _machine(target: str, *, dla: bool, threads: int, measure: bool, quiet: bool) -> Machine:
    from edgevision.benchmarks.estimate.machine import THIS, machine_of_target
    from edgevision.errors import UsageError

    if target != THIS:
        if threads or measure:
            raise UsageError(
                f"--threads and --measure are of {THIS}", received=f"--target {target}"
            )
        return machine_of_target(target, dla=dla)
    if dla:
        raise UsageError("--dla is of a Jetson", received=f"--target {THIS}")
    return _measured(threads, measure=measure, quiet=quiet)


def _measured(threads: int, *, measure: bool, quiet: bool) -> Machine:
    from edgevision.benchmarks.estimate.probes import known_rates, machine_of_rates, measure_rates
    from edgevision.progress import Progress

    rates = None if measure else known_rates(threads)
    if rates is None:
        with Progress(quiet=quiet) as progress:
            rates = measure_rates(threads, tell=lambda what: progress(f"measuring {what}", 0, None))
    return machine_of_rates(rates)
