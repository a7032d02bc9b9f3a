"""The verbs of the runtime: run, inspect, verify, targets, doctor."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["doctor", "engine_options", "inspect", "result_options", "run", "targets", "verify"]


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose what runs and how."""
    options = [
        click.option("--precision", help="Only variants of this precision, such as fp32 or int8."),
        click.option("--variant", help="The variant with this id."),
        click.option("--backend", default="auto", show_default=True, help="Engine: auto, ort, …"),
        click.option(
            "--compute", help="Precision to really execute in, where the engine has a choice."
        ),
        click.option(
            "--hint",
            type=click.Choice(["latency", "throughput"]),
            default="latency",
            show_default=True,
            help="One inference on all threads, or several at once on one thread each.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(0, 256),
            default=0,
            help="CPU threads; 0 is every core.",
        ),
    ]
    command = result_options(command)
    for option in reversed(options):
        command = option(command)
    return command


def result_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of the decoder and of engines; run and bench share them."""
    options = [
        click.option(
            "--score", type=click.FloatRange(0, 1), help="Least score, in place of the bundle's."
        ),
        click.option(
            "--iou", type=click.FloatRange(0, 1), help="NMS overlap, in place of the bundle's."
        ),
        click.option("--classes", help="Only these classes: names or ids, joined by commas."),
        click.option(
            "--engine-dir",
            type=click.Path(),
            help="Folder of TensorRT engines, in place of the bundle's own.",
        ),
        click.option(
            "--trust-engines",
            is_flag=True,
            default=None,
            help="Load engines that were not built here; loading one runs its code.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def split_classes(text: str | None) -> list[str | int] | None:
    """``"person,2"`` → ``["person", 2]``."""
    if text is None:
        return None
    parts = [part for part in (p.strip() for p in text.split(",")) if part]
    if not parts:
        raise click.BadParameter("names no class", param_hint="--classes")
    return [int(part) if part.isascii() and part.isdecimal() else part for part in parts]


@click.command(context_settings={"show_default": False})
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("source")
@click.argument("sinks", nargs=-1, metavar="[SINK]...")
@engine_options
@click.option("--frames", type=click.IntRange(1), help="Stop after so many frames.")
@click.option(
    "--stats", type=click.Path(path_type=Path), help="Write the summary as JSON to this file."
)
@click.option("--force", is_flag=True, help="Overwrite outputs that exist.")
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on stdout.")
def run(model: Path, source: str, sinks: Sequence[str], **options: Any) -> int:
    """Run MODEL (a bundle or an ONNX file) on SOURCE and send the results to each SINK.

    \b
    SOURCE  clip.mp4 · photos/ · photo.jpg · synthetic://noise?size=1280x720
    SINK    out.jsonl · out.mp4 · folder/ · - (result lines on stdout)

    Without a SINK only the summary is shown. Ctrl-C finishes the frame in hand and closes the sinks.
    """
    from edgevision.running import run_model

    return run_model(model, source, sinks, classes=split_classes(options.pop("classes")), **options)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def inspect(path: Path, as_json: bool) -> None:
    """Show what PATH (a bundle or an ONNX file) holds: inputs, outputs, specs, precisions, sizes, ops."""
    from edgevision.inspection import inspect_path, inspection_text

    facts = inspect_path(path)
    click.echo(json.dumps(facts, indent=2) if as_json else inspection_text(facts))


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--backend", default="auto", show_default=True, help="Engine for the golden frames.")
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def verify(bundle: Path, backend: str, as_json: bool) -> int:
    """Check BUNDLE: every file against its hash, every variant on the golden frames, on this machine.

    Exit status 1 if the bundle is damaged, 3 if a variant's results are not those it was made with.
    """
    from edgevision.verification import verify_bundle

    return verify_bundle(bundle, backend=backend, as_json=as_json)


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout, with every source.")
def targets(name: str | None, as_json: bool) -> None:
    """Show what is known of devices, or of the one called NAME, with the sources of its figures."""
    from edgevision import targets as known

    chosen = known.names() if name is None else [name]
    if as_json:
        facts = {one: known.load(one).to_dict() for one in chosen}
        click.echo(json.dumps(facts if name is None else facts[name], indent=2))
    else:
        click.echo(known.targets_table() if name is None else known.target_text(known.load(name)))


@click.command()
@click.option(
    "--engine-dir", type=click.Path(path_type=Path), help="Also check the folder for engines."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON on stdout.")
def doctor(engine_dir: Path | None, as_json: bool) -> int:
    """Check this machine: device, driver, libraries, power mode, memory, disk, cameras.

    Each problem comes with the command that mends it. Nothing is changed. Exit status 3 if there is a problem.
    """
    from edgevision.doctor import checkup
    from edgevision.signals import unwind_on_sigterm

    unwind_on_sigterm()  # else the processes that ask libraries would go on
    facts = checkup.report(checkup.examine(checkup.this_machine(engine_dir)))
    click.echo(json.dumps(facts, indent=2) if as_json else checkup.report_text(facts))
    return 3 if facts["problems"] else 0
