"""The sink seam: something that takes frames with their results. `make_sink` chooses one by the look of its URI."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edgevision import registry
from edgevision.errors import OutputError, UsageError
from edgevision.frame import Frame, Image
from edgevision.results import Result
from edgevision.sources import SourceInfo

__all__ = ["VIDEO_SUFFIXES", "Draw", "Sink", "claim", "make_sink"]

VIDEO_SUFFIXES = frozenset({".avi", ".mkv", ".mov", ".mp4"})

#: Draws a result into a picture, in place; what a task's ``draw`` does.
Draw = Callable[[Image, Any], None]


class Sink(Protocol):
    """Takes every frame in order.

    A plug-in is one file with a class as ``plugin``, made with the URI, a `Draw` and ``force``.
    """

    def open(self, info: SourceInfo) -> None:
        """Claims its place before the first frame is read.

        Raises:
            OutputError: The place cannot be written, or holds something and ``force`` is off.
        """
        ...

    def write(self, frame: Frame, result: Result) -> None:
        """Takes one frame; it does not keep or change it."""
        ...

    def close(self) -> None:
        """Finishes what it wrote, so that it can be used even after an early end; may be called twice."""
        ...


def make_sink(uri: str, draw: Draw, *, force: bool = False) -> Sink:
    """The sink for a URI: ``-`` or ``*.jsonl`` is result lines, a video's suffix a video, ``folder/`` pictures.

    Raises:
        UsageError: Nothing looks like that.
    """
    scheme, separator, _ = uri.partition("://")
    suffix = Path(uri).suffix.lower()
    if separator:
        name = scheme
    elif uri == "-" or suffix in (".jsonl", ".ndjson"):
        name = "jsonl"
    elif suffix in VIDEO_SUFFIXES:
        name = "video"
    elif uri.endswith("/") or (uri and Path(uri).is_dir()):
        name = "pictures"
    else:
        raise UsageError(
            f"no sink looks like {uri!r}",
            expected="out.jsonl, out.mp4, a folder ending in '/', or - for result lines on stdout",
        )
    sink: Sink = registry.load("sinks", name)(uri, draw, force)
    return sink


def claim(path: Path, *, force: bool) -> None:
    """Makes sure that a file can be written here, before any work is spent on its content.

    Nothing is left behind or changed: the file appears, or is overwritten, with what is first written to it.

    Raises:
        OutputError: It exists and ``force`` is off, its folder is missing, or it cannot be written.
    """
    if path.exists() and not force:
        raise OutputError(f"{path} exists", expected="a new file", hint="--force overwrites it")
    if not path.parent.is_dir():
        raise OutputError(
            f"{path} cannot be written: there is no folder {path.parent}",
            hint="make the folder first",
        )
    new = not path.exists()
    # Where a link points: the link itself stays. Of what is there, some has no other name (/dev/stdout for a pipe).
    place = path.resolve() if new else path
    try:
        place.open("ab").close()
        if new:
            place.unlink()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror}", hint="choose another place"
        ) from error
