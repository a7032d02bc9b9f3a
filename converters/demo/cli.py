"""The verb demo."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["demo"]

_MISSED = 3


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="The folder to write.",
)
@click.option("--force", is_flag=True, help="Write into a folder that exists.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON on stdout.")
def demo(output: Path, force: bool, as_json: bool) -> int:
    """Convert, prove, run and measure a detector of garments on a belt.

    \b
    Nothing is downloaded: the detector comes with the package and the belt is rendered, so it is
    known exactly where each garment is. Written are the bundle, annotated.mp4, contact-sheet.png
    and report.md.

    Exit status 3 if INT8 loses more than 0.01 of mAP@0.5:0.95.
    """
    import onnxruntime

    from edgevision.converters.bundle_writer import write_text
    from edgevision.converters.demo.chain import run_demo
    from edgevision.converters.demo.report import demo_markdown, demo_text
    from edgevision.progress import Progress
    from edgevision.signals import unwind_on_sigterm

    onnxruntime.set_default_logger_severity(4)  # errors reach us as exceptions, in our words
    unwind_on_sigterm()
    with Progress(quiet=as_json) as progress:
        found = run_demo(output, progress, force=force)
    write_text(output / "report.md", demo_markdown(found))
    click.echo(json.dumps(found.to_json(), indent=2) if as_json else demo_text(found))
    return 0 if found.passed else _MISSED
