"""Labelled boxes in pixels, checked against the picture they are for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DataError
from edgevision.metrics.truth import DetectionTruth

__all__ = ["Boxes"]


@dataclass(frozen=True, slots=True)
class Boxes:
    """The labelled boxes of a picture whose size may not be known yet.

    Boxes may reach over the picture's edge, as many annotators let them, and are not clipped: COCO's tools
    do not clip them either.

    Attributes:
        boxes_xyxy: float64 ``(N, 4)``: left, top, right, bottom; finite.
        class_ids: int32 ``(N,)``, the model's.
        ignore: bool ``(N,)``.
        where: Names the place of box ``i``, for messages.
        relative: Coordinates are parts of the picture's width and height instead of pixels.
    """

    boxes_xyxy: NDArray[np.float64]
    class_ids: NDArray[np.int32]
    ignore: NDArray[np.bool_]
    where: Callable[[int], str]
    relative: bool = False

    def __call__(self, height: int, width: int) -> DetectionTruth:
        """The truth for a picture of this size, pixels.

        Raises:
            DataError: A box has no area, or no part of it is in the picture.
        """
        factor = (width, height, width, height) if self.relative else (1, 1, 1, 1)
        pixels = (self.boxes_xyxy.reshape(-1, 4) * factor).astype(np.float32)
        left, top, right, bottom = pixels.T
        area = (right > left) & (bottom > top)
        seen = (left < width) & (top < height) & (right > 0) & (bottom > 0)
        for i in np.flatnonzero(~(area & seen)).tolist():
            box = ", ".join(f"{v:g}" for v in pixels[i].tolist())
            raise DataError(
                f"{self.where(i)}: the box {'lies beside the picture' if area[i] else 'has no area'}",
                received=f"left, top, right, bottom = {box} in a picture of {width}×{height}",
                expected="a box of which some part is in the picture",
                hint="correct or remove that box",
            )
        return DetectionTruth(pixels, self.class_ids, self.ignore)
