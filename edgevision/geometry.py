"""Affine maps between a frame, a region of it, and the tensor that a model sees; each with its exact inverse.

Coordinates are continuous: a pixel in column ``x`` covers ``[x, x + 1)``, so a box around the whole of a
1920×1080 frame is ``(0, 0, 1920, 1080)``. That is the convention of `cv2.resize`, which maps pixel centres
``(x + ½)`` by the ratio of the sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "Transform"]


@dataclass(frozen=True, slots=True)
class Affine:
    """A region of a frame: ``width × height`` pixels of its own, placed in the frame by a 2×3 matrix.

    Attributes:
        matrix: float64 ``(2, 3)``: region pixels → frame pixels.
        width: Of the region, in its own pixels.
        height: Likewise.
    """

    matrix: NDArray[np.float64]
    width: int
    height: int

    @classmethod
    def crop(cls, x: int, y: int, width: int, height: int) -> Affine:
        """An upright rectangle at 1:1."""
        return cls(np.array([[1.0, 0.0, x], [0.0, 1.0, y]]), width, height)

    def rectangle(self) -> tuple[int, int] | None:
        """``(x, y)`` when the region is an upright 1:1 crop at whole pixels, else None."""
        (a, b, x), (c, d, y) = self.matrix.tolist()
        upright = (a, b, c, d) == (1.0, 0.0, 0.0, 1.0) and x.is_integer() and y.is_integer()
        return (int(x), int(y)) if upright else None


@dataclass(frozen=True, slots=True)
class Transform:
    """How tensor pixels map to source pixels, and back.

    Attributes:
        to_source: float64 ``(2, 3)``, tensor pixels → source pixels.
        width: Of the source, in pixels; results are clipped to it.
        height: Likewise.
        tensor_hw: Height and width of the tensor.
    """

    to_source: NDArray[np.float64]
    width: int
    height: int
    tensor_hw: tuple[int, int]

    @classmethod
    def identity(cls, height: int, width: int) -> Transform:
        """Tensor and source are the same picture."""
        return cls(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), width, height, (height, width))

    @property
    def to_tensor(self) -> NDArray[np.float64]:
        """float64 ``(2, 3)``, source pixels → tensor pixels: the inverse of ``to_source``."""
        (a, b, x), (c, d, y) = self.to_source.tolist()
        det = a * d - b * c
        inverse = np.array([[d, -b], [-c, a]]) / det
        return np.column_stack([inverse, -inverse @ (x, y)])

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Tensor points ``(…, 2)`` → source points, float32, a new array."""
        mapped: NDArray[np.float64] = points @ self.to_source[:, :2].T + self.to_source[:, 2]
        return mapped.astype(np.float32)

    def boxes(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Tensor boxes ``(N, 4)`` xyxy → upright source boxes within the frame, float32, a new array."""
        (a, b, x), (c, d, y) = self.to_source.tolist()
        # One plane a coordinate: numpy allocates copies and buffers where a result interleaves with
        # what it is made of, or has another dtype.
        planes = np.empty((4, len(boxes)), np.float64)
        if b == 0 and c == 0 and a > 0 and d > 0:
            np.copyto(planes, boxes.T)
            for plane, gain, offset in zip(planes, (a, d, a, d), (x, y, x, y), strict=True):
                plane *= gain
                plane += offset
        else:
            corners = self.points(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
            planes[:2], planes[2:] = corners.min(1).T, corners.max(1).T
        for plane, most in zip(planes, (self.width, self.height) * 2, strict=True):
            np.maximum(plane, 0.0, out=plane)
            np.minimum(plane, float(most), out=plane)
        out: NDArray[np.float32] = planes.T.astype(np.float32, order="C")
        return out
