"""A few pictures of a source, evenly spread over it."""

from __future__ import annotations

from edgevision.frame import Frame, Image
from edgevision.sources import make_source

__all__ = ["spread"]


def spread(uri: str, count: int) -> list[Image]:
    """At most ``count`` pictures, uint8 ``(H, W, 3)`` BGR, the caller's own.

    Raises:
        EdgevisionError: The source cannot be read.
    """
    source = make_source(uri)
    info, frame = source.open(), Frame()
    step = max(1, (info.frames or count) // count)
    images: list[Image] = []
    try:
        while len(images) < count and source.read(frame):
            if frame.index % step == 0:
                images.append(frame.image.copy())
    finally:
        source.close()
    return images
