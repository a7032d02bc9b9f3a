"""The source seam: something that fills frames. `make_source` chooses one by the look of its URI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgevision import registry
from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.text import redacted

__all__ = ["IMAGE_SUFFIXES", "Frames", "Source", "SourceInfo", "make_source"]

#: What `cv2.imdecode` reads in every build of OpenCV.
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open.

    Attributes:
        uri: Where it comes from, credentials removed.
        width: Of the first frame, pixels.
        height: Likewise.
        fps: Nominal frames a second; 0 if it has none (a folder of pictures).
        frames: How many there are said to be; None if unknown or endless.
    """

    uri: str
    width: int
    height: int
    fps: float
    frames: int | None


class Frames(Protocol):
    """All that a pipeline asks of a source that somebody else has opened.

    Attributes:
        live: As `Source.live`.
    """

    live: bool

    def read(self, into: Frame) -> bool:
        """Fills a frame in place; False at the end, or once cancelled."""
        ...


class Source(Protocol):
    """Frames, one after another. A plug-in is one file with a class as ``plugin``, made with the URI.

    `open` and `close` are called by one thread and `read` by the same or by another, never two of them at a time: what
    is not live is read ahead while earlier frames are worked on.

    Attributes:
        live: Frames come at their own pace and are lost if nobody reads them, or show what is there as they are read.
        problems: What went wrong without ending the source, one line each: a picture that was skipped, an early end.
    """

    live: bool
    problems: list[str]

    def open(self) -> SourceInfo:
        """Finds out what it is.

        Raises:
            DataError: It cannot be read.
        """
        ...

    def read(self, into: Frame) -> bool:
        """Fills a frame in place; False at the end, or once cancelled."""
        ...

    def cancel(self) -> None:
        """Makes a blocked read return soon; from any thread."""
        ...

    def close(self) -> None:
        """Frees what it holds; may be called twice."""
        ...


def make_source(uri: str) -> Source:
    """The source for a URI: ``scheme://…`` by the scheme's name, a folder or picture, else a video file.

    Raises:
        UsageError: No source has that scheme.
        DataError: There is no such file.
    """
    scheme, separator, _ = uri.partition("://")
    source: Source
    if separator:
        source = registry.load("sources", scheme)(uri)
        return source
    path = Path(uri)
    if not uri or not path.exists():
        raise DataError(
            f"there is no {redacted(uri)}",
            expected="a video, a picture, a folder of pictures, or synthetic://noise",
            hint="check the path",
        )
    name = "images" if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES else "video"
    source = registry.load("sources", name)(uri)
    return source
