"""Results on stdout, whose reader may leave before all is said (``| head``)."""

from __future__ import annotations

import sys

import click

from edgevision.streams import discard, tell

__all__ = ["show"]


def show(text: str, *, end: bool = True, err: bool = False) -> None:
    """Prints. A reader who has left takes neither the files that follow nor the exit status with them.

    Args:
        text: What to print.
        end: With a line's end behind it.
        err: To stderr.

    Raises:
        OSError: Stdout is a file, and the disk is full.
    """
    if err:
        tell(text, "\n" if end else "")
        return
    try:
        click.echo(text, nl=end)
    except BrokenPipeError:
        discard(sys.stdout)
