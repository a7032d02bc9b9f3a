"""The verb build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgevision.converters.engine.order import Built

__all__ = ["build"]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--variant", help="The variant to build; int8-trt, else fp16, else fp32.")
@click.option(
    "--target",
    metavar="rtx-…",
    help="Build for another GPU, with TensorRT-RTX: rtx-sm89, rtx-4060, …; the default is this device.",
)
@click.option(
    "--engine-dir",
    type=click.Path(path_type=Path),
    help="Where to put the engine, in place of the bundle's own folder.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="NAME=LEAST..BEST..MOST",
    help="Range of an input with open dims, such as images=1x3x640x640..8x3x640x640.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Most rows of an input whose batch is open.",
)
@click.option(
    "--workspace",
    type=click.IntRange(1, 2**20),
    metavar="MIB",
    help="Scratch memory that kernels may use, MiB.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=3600,
    show_default=True,
    help="Time that the build may take.",
)
@click.option("--no-cache", is_flag=True, help="Measure every kernel anew, and keep no times.")
@click.option("--force", is_flag=True, help="Replace an engine that exists.")
@click.option("--json", "as_json", is_flag=True, help="What was built, as JSON on stdout.")
def build(bundle: Path, shapes: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Build a TensorRT engine of BUNDLE for this device; 'run' then takes it.

    \b
    An engine is valid on the kind of GPU it was built for, with the same TensorRT. Only TensorRT-RTX
    builds for another: --target rtx-sm89. Ctrl-C stops the build; nothing half-written is left.
    """
    from edgevision.converters.engine.build import build as run_build
    from edgevision.converters.engine.lint import LintError
    from edgevision.converters.engine.order import BuildOrder
    from edgevision.converters.engine.profiles import parse_shapes
    from edgevision.progress import Progress
    from edgevision.signals import unwind_on_sigterm

    unwind_on_sigterm()
    order = BuildOrder(
        bundle=bundle,
        variant=options["variant"],
        target=options["target"],
        engine_dir=options["engine_dir"],
        shapes=parse_shapes(shapes),
        batch=options["batch"],
        workspace_mib=options["workspace"],
        seconds=options["seconds"],
        timing_cache=not options["no_cache"],
        force=options["force"],
    )
    try:
        with Progress(quiet=as_json) as progress:
            built = run_build(order, progress)
    except LintError as refused:
        if as_json:  # every place of it, where the message has a few of each kind
            click.echo(json.dumps({"findings": [f.to_dict() for f in refused.findings]}, indent=2))
        raise
    click.echo(json.dumps(built.to_dict(), indent=2) if as_json else _text(built))
    return 0


def _text(built: Built) -> str:
    from edgevision.text import counted, printable, size_text

    facts, engine = built.facts, built.engine
    network, seconds = facts["network"], facts["seconds"]
    layers = ", ".join(f"{count} in {kind}" for kind, count in sorted(network["layers"].items()))
    opened = facts["engine"] is not None
    lines = [
        f"{engine.variant}: {engine.key}, {size_text(engine.size_bytes)}",
        f"parsed in {seconds['parse']:.1f} s, built in {seconds['build']:.1f} s"
        + (", with kernel times of an earlier build" if facts["timing_cache"] else ""),
        f"read back: {counted(sum(network['layers'].values()), 'layer')} ({layers}), "
        f"{network['int8_layers']} of them on int8; inputs and outputs as asked"
        + ("" if opened else "; not opened: that takes the GPU it is for"),
        f"written: {printable(str(engine.path), 1000)}",
    ]
    return "\n".join(lines)
