"""The verb convert."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgevision.converters.conversion import Conversion, Made

__all__ = ["convert"]


def _size(
    _ctx: click.Context, _option: click.Parameter, text: str | None
) -> tuple[int, int] | None:
    """``640x384`` (height × width), or ``640`` for both."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", text.lower())
    if match is None:
        raise click.BadParameter(f"{text!r} is no size; HEIGHTxWIDTH, such as 384x640, is one")
    return int(match[1]), int(match[2] or match[1])


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The bundle to write, DIR.evb.",
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
@click.option("--precision", default="", help="Besides fp32: int8, fp16.")
@click.option("--target", default="x86", show_default=True, help="INT8 schemes to write: x86, trt.")
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
    help="At most so many pictures of it.",
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
def convert(model: Path, output: Path, least: float, as_json: bool, **options: Any) -> int:
    """Turn MODEL (ONNX; .pt2, TorchScript, a state dict; .keras, .h5) into a bundle.

    \b
    The model is checked and cleaned, quantized on your data if asked, and every variant is
    compared with fp32 on pictures that had no part in making it. A variant that misses
    --min-agreement means exit status 3 and no bundle; the report is in DIR.evb.rejected.
    """
    import onnxruntime

    from edgevision.converters.bundle_writer import rejected_place
    from edgevision.converters.conversion import Order
    from edgevision.converters.convert import convert as run_convert
    from edgevision.converters.readers.child import Limits
    from edgevision.converters.report.json_file import report_json
    from edgevision.converters.settings import Overrides
    from edgevision.errors import GateError
    from edgevision.progress import Progress
    from edgevision.signals import unwind_on_sigterm

    onnxruntime.set_default_logger_severity(4)  # errors reach us as exceptions, in our words
    unwind_on_sigterm()
    names = ("preset", "config", "task", "decoder", "labels", "size", "batch")
    order = Order(
        model=model,
        output=Path(str(output).rstrip("/")),
        least=least,
        overrides=Overrides(**{name: options.pop(name) for name in names}),
        precisions=_words(options.pop("precision")),
        targets=_words(options.pop("target")),
        limits=Limits(options.pop("reader_seconds"), options.pop("reader_memory")),
        **options,
    )
    try:
        with Progress(quiet=as_json) as progress:
            conversion = run_convert(order, progress)
    except GateError as error:
        if as_json:  # a script gets the report of a rejected conversion too
            place = order.output if order.keep_passing else rejected_place(order.output)
            _print_json(json.loads((place / "report.json").read_bytes()))
        raise error
    if as_json:
        _print_json(report_json(conversion))
    else:
        click.echo(_text(conversion))
    return 0


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _print_json(report: dict[str, Any]) -> None:
    """In ASCII: names in a model may hold what a terminal would obey."""
    click.echo(json.dumps(report, indent=2, sort_keys=True))


def _text(conversion: Conversion) -> str:
    from edgevision.text import printable

    lines = [_line(made, conversion.timings[made.variant.id]) for made in conversion.made]
    output = printable(str(conversion.order.output), 1000)
    lines.append(f"written: {output} (read {output}/report.md)")
    slower = [
        m.variant.id
        for m in conversion.made
        if "x86" in m.variant.targets and conversion.timings[m.variant.id]["speedup"] < 1
    ]
    if slower:
        lines.append(
            f"note: {', '.join(slower)} is not faster than fp32 on this machine, so fp32 is what runs here by default"
        )
    return "\n".join(lines)


def _line(made: Made, timing: dict[str, Any]) -> str:
    from edgevision.converters.report.agreement import found_text
    from edgevision.text import size_text

    size, latency = size_text(made.variant.size_bytes), timing["latency_ms"]["p50"]
    line = f"{made.variant.id:<10} {size:>9}  {latency:8.2f} ms"
    if made.proof is None:
        return line if made.quantized is None else f"{line}  not proven: there is no --calibration"
    proof = f"{found_text(made.proof.agreement)}: {made.proof.verdict}"
    return f"{line}  {timing['speedup']:.2f}×  {proof}"
