"""The standard streams where nobody is at the other end: closed from the start, or left while there is work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["discard", "open_closed", "tell", "telling"]


def open_closed() -> None:
    """Opens those that are closed, to nowhere.

    Python has None in their place, and the next file that anybody opens gets their number: what a library prints
    would go into a result.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - three at the most
            # The lowest number that is free is this one. Children have it open too.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: PTH123, SIM115 - until the end


def discard(stream: TextIO) -> None:
    """What is still buffered, and what comes later, goes nowhere: Python's own flush at the end cannot fail."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # it is no file
        return


@contextmanager
def telling() -> Iterator[None]:
    """Around what is told on stderr: that nobody can read it any more (``2>&1 | head``) does not end the work."""
    try:
        yield
    except OSError:
        discard(sys.stderr)


def tell(text: str = "", end: str = "\n") -> None:
    """Prints to stderr, at once."""
    with telling():
        print(text, end=end, file=sys.stderr, flush=True)
