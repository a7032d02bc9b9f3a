"""The verb convert."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgevision.converters.conversion import Conversion, Made, Order
    from edgevision.converters.orders import Job

__all__ = ["convert"]


def _size(
    _ctx: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """``640x384`` (height × width), or ``640`` for both."""
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,4})(?:[x×]([1-9]\d{0,4}))?", text.lower())
    if match is None:
        raise click.BadParameter(f"{text!r} is no size; HEIGHTxWIDTH, such as 384x640, is one")
    return int(match[1]), int(match[2] or match[1])


@click.command()
@click.argument("models", metavar="MODEL...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The bundle to write, DIR.evb; with several models, the folder for one bundle each.",
)
@click.option(
    "--list",
    "list_file",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="In place of MODEL: models with their own options each (docs/convert.md).",
)
@click.option(
    "--preset", help="How the model is run: yolov8, nanodet, imagenet … (docs/presets.md)."
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="The same as a TOML file of your own."
)
@click.option(
    "--task", help="Task, in place of the preset's: detect, classify, keypoints, segment."
)
@click.option("--decoder", help="Decoder, in place of the preset's.")
@click.option("--labels", type=click.Path(path_type=Path), help="Class names, one a line.")
@click.option("--size", callback=_size, metavar="HxW", help="Input size, HEIGHTxWIDTH.")
@click.option("--batch", type=click.IntRange(1, 1024), help="Rows of the input.")
@click.option(
    "--opset",
    type=click.IntRange(13, 21),
    default=17,
    show_default=True,
    help="Least opset of what is written.",
)
@click.option(
    "--bake",
    default="",
    metavar="WORDS",
    help="What the graph is to do by itself: input (uint8 BGR pictures), nms, or input,nms.",
)
@click.option("--precision", default="", help="Besides fp32: int8, fp16.")
@click.option(
    "--target",
    default="x86",
    show_default=True,
    help="INT8 schemes to write: x86, x86-avx2, arm, trt.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="A video, or a folder of pictures, like what the camera will see.",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 100_000),
    default=200,
    show_default=True,
    help="At most so many pictures of each part of the data.",
)
@click.option(
    "--random-calibration",
    is_flag=True,
    help="Calibrate on noise, where there are no pictures: what comes of it is not proven.",
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Labelled pictures (COCO .json, YOLO, a folder for each class): the task's own metric decides.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=0.01,
    show_default=True,
    help="With --validation: what a variant may lose of that metric against fp32.",
)
@click.option(
    "--min-agreement",
    "least",
    type=click.FloatRange(0, 1),
    default=0.95,
    show_default=True,
    help="Agreement with fp32 that passes; for key points 1 less the error in heights.",
)
@click.option(
    "--golden",
    default="synthetic",
    show_default=True,
    metavar="DATA|synthetic|none",
    help="Golden frames to store in the bundle.",
)
@click.option(
    "--keep-passing", is_flag=True, help="Write the variants that passed although others did not."
)
@click.option("--force", is_flag=True, help="Replace a bundle that exists.")
@click.option(
    "--no-cache",
    is_flag=True,
    help="Calibrate anew, and keep nothing in the user's cache folder.",
)
@click.option(
    "--factory",
    metavar="MODULE:FUNCTION",
    help="What makes the network, where MODEL is a PyTorch state dict.",
)
@click.option(
    "--reader-seconds",
    type=click.FloatRange(1),
    default=600,
    show_default=True,
    help="Time that reading a model of PyTorch or Keras may take.",
)
@click.option(
    "--reader-memory",
    type=click.FloatRange(0.5),
    default=8,
    show_default=True,
    metavar="GIB",
    help="Memory that it may take.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON on stdout.")
def convert(
    models: tuple[Path, ...], output: Path, list_file: Path | None, as_json: bool, **options: Any
) -> int:
    """Turn MODEL (ONNX; .pt2, TorchScript, a state dict; .keras, .h5) into a bundle.

    \b
    The model is checked and cleaned, quantized on your data if asked, and every variant is
    compared with fp32 on pictures that had no part in making it. A variant that misses
    --min-agreement, or with --validation --max-drop, means exit status 3 and no bundle; the
    report is in DIR.evb.rejected.

    \b
    With several models each becomes a bundle in the folder DIR, with summary.json and
    summary.md beside them; one that fails stops no other. Exit status: 1 if any failed, else
    3 if any missed its gate.
    """
    from edgevision.converters.list_file import read_list
    from edgevision.converters.orders import job_for, jobs_for, order_for
    from edgevision.errors import UsageError
    from edgevision.signals import unwind_on_sigterm

    unwind_on_sigterm()
    place = Path(str(output).rstrip("/"))
    if bool(models) == (list_file is not None):
        raise UsageError(
            "there is no model to convert" if not models else "MODEL and --list both name models",
            expected="edgevision convert MODEL… -o DIR, or --list FILE.toml in place of MODEL",
        )
    if len(models) == 1:
        return _convert_one(order_for(models[0], place, options), as_json=as_json)
    if list_file is None:
        jobs = [job_for(model, place, options) for model in models]
    else:
        jobs = read_list(list_file, place, convert.params, options)
    return _convert_many(jobs_for(jobs, place), place, as_json=as_json)


def _convert_one(order: Order, *, as_json: bool) -> int:
    import onnxruntime

    from edgevision.converters.bundle_writer import rejected_place
    from edgevision.converters.convert import convert as run_convert
    from edgevision.converters.report.json_file import report_json
    from edgevision.errors import GateError
    from edgevision.progress import Progress

    onnxruntime.set_default_logger_severity(4)  # errors reach us as exceptions, in our words
    try:
        with Progress(quiet=as_json) as progress:
            conversion = run_convert(order, progress)
    except GateError:
        if as_json:  # a script gets the report of a rejected conversion too
            place = order.output if order.keep_passing else rejected_place(order.output)
            _print_json(json.loads((place / "report.json").read_bytes()))
        raise
    if as_json:
        _print_json(report_json(conversion))
    else:
        click.echo(_text(conversion))
    return 0


def _convert_many(jobs: Sequence[Job], folder: Path, *, as_json: bool) -> int:
    from edgevision.converters.many import convert_many
    from edgevision.converters.report.summary import summary_text
    from edgevision.progress import Progress

    with Progress(quiet=as_json) as progress:
        summary = convert_many(jobs, folder, progress, quiet=as_json)
    if as_json:
        _print_json(summary)
    else:
        click.echo(summary_text(summary, folder))
    return int(summary["exit_status"])


def _print_json(report: dict[str, Any]) -> None:
    """In ASCII: names in a model may hold what a terminal would obey."""
    click.echo(json.dumps(report, indent=2, sort_keys=True))


def _text(conversion: Conversion) -> str:
    from edgevision.converters.report.data import noise_warning
    from edgevision.converters.report.speed import original_notes, speed_notes
    from edgevision.text import printable

    lines = [_line(made, conversion.timings[made.variant.id]) for made in conversion.made]
    output = printable(str(conversion.order.output), 1000)
    lines += original_notes(conversion)
    lines.append(f"written: {output} (read {output}/report.md)")
    lines += [f"note: {note}" for note in speed_notes(conversion)]
    warning = noise_warning(conversion)
    return "\n".join([*lines, f"note: {warning}"] if warning else lines)


def _line(made: Made, timing: dict[str, Any]) -> str:
    from edgevision.converters.report.decided import proof_text
    from edgevision.text import size_text

    size, latency = size_text(made.variant.size_bytes), timing["latency_ms"]["p50"]
    line = f"{made.variant.id:<10} {size:>9}  {latency:8.2f} ms"
    if made.proof is None:
        return line if made.quantized is None else f"{line}  not proven: there is no --calibration"
    return f"{line}  {timing['speedup']:.2f}×  {proof_text(made.proof)}: {made.verdict}"
