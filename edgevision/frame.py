"""A camera frame: pixels in a buffer that is allocated once, with where and when they come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Image", "picture_digest"]

#: Pixels: uint8 ``(height, width, 3)``, blue-green-red, any strides with contiguous pixels.
Image = NDArray[np.uint8]


def _nothing() -> Image:
    return np.empty((0, 0, 3), np.uint8)


@dataclass(slots=True)
class Frame:
    """One picture of a source.

    A source writes into ``image`` in place and reallocates it only when the size changes. What a pipeline
    hands out is valid until its next iteration; ``copy()`` keeps it.

    Attributes:
        image: uint8 ``(H, W, 3)`` for ``bgr``, ``(H, W)`` for ``gray``, ``(H * 3 / 2, W)`` for ``nv12``,
            ``(H, W, 2)`` for ``yuyv``.
        format: ``bgr``, ``gray``, ``nv12`` (a plane of Y, below it rows of U and V in turn for each 2×2 pixels) or
            ``yuyv`` (Y, U, Y, V for each two pixels of a row).
        index: Position in the source, from 0; counts frames that were dropped.
        pts_s: Presentation time in seconds since the start of the source.
        captured_ns: Monotonic time at which the frame arrived, nanoseconds.
        source: Id of the source, for several at once.
    """

    image: Image = field(default_factory=_nothing)
    format: str = "bgr"
    index: int = 0
    pts_s: float = 0.0
    captured_ns: int = 0
    source: str = ""

    @property
    def height(self) -> int:
        rows = int(self.image.shape[0])
        return rows * 2 // 3 if self.format == "nv12" else rows

    @property
    def width(self) -> int:
        return int(self.image.shape[1])

    def copy(self) -> Frame:
        """A frame with pixels of its own."""
        return Frame(
            self.image.copy(), self.format, self.index, self.pts_s, self.captured_ns, self.source
        )


def picture_digest(image: Image) -> bytes:
    """SHA-256 of a picture's shape and pixels: what tells whether two are the same, whatever file they came in."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
