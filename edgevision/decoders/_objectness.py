"""Candidates of heads whose anchors hold a box, an objectness and class scores: YOLOv5, YOLOX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._buffers import Buffer

__all__ = ["Candidates", "ObjectnessScratch", "to_corners"]

_OBJECTNESS = 4
_FIXED = 5


@dataclass(frozen=True, slots=True)
class Candidates:
    """Anchors whose score reaches the threshold.

    Attributes:
        anchors: intp ``(N,)``, their positions.
        planes: float64 ``(4, N)``: the box's four values as the head gives them.
        scores: float32 ``(N,)``: objectness × best class.
        ids: intp ``(N,)``: the best class.
    """

    anchors: NDArray[np.intp]
    planes: NDArray[np.float64]
    scores: NDArray[np.float32]
    ids: NDArray[np.intp]


class ObjectnessScratch:
    """Buffers for one shape of output; they only grow.

    Objectness and class scores are in 0…1, so an anchor whose objectness is below the threshold
    cannot reach it: only the others are gathered.

    Args:
        classes: How many class scores an anchor has.
        anchors: How many anchors there are.
        first: The values are ``(5 + classes, anchors)``, else the other way round.
        dtype: Of the output.
        wanted: Classes to keep, or None for all.
    """

    def __init__(
        self,
        classes: int,
        anchors: int,
        first: bool,
        dtype: np.dtype[Any],
        wanted: tuple[int, ...] | None,
    ) -> None:
        self._first = first
        self._mask = np.empty(anchors, np.bool_)
        self._part, self._by_class = Buffer(dtype), Buffer(dtype)
        self._wanted = None if wanted is None else np.isin(np.arange(classes), wanted)

    def candidates(self, values: NDArray[Any], threshold: float) -> Candidates | None:
        """What reaches the threshold in one row's values; None for none."""
        objectness = values[_OBJECTNESS] if self._first else values[:, _OBJECTNESS]
        chosen = np.greater_equal(objectness, threshold, out=self._mask).nonzero()[0]
        if len(chosen) == 0:
            return None
        part = self._part.take(values, chosen, axis=1 if self._first else 0)
        part = part.T if self._first else part
        # `argmax` copies what is not contiguous, so that copy is made here, into a buffer.
        by_class = self._by_class.of(len(chosen), part.shape[1] - _FIXED)
        np.copyto(by_class, part[:, _FIXED:])
        ids = by_class.argmax(axis=1)
        scores = by_class[np.arange(len(ids)), ids].astype(np.float32)
        scores *= part[:, _OBJECTNESS]
        keep = scores >= threshold
        if self._wanted is not None:
            keep &= self._wanted[ids]
        kept = keep.nonzero()[0]
        if len(kept) == 0:
            return None
        planes = np.empty((4, len(kept)), np.float64)
        np.copyto(planes, part[kept, :4].T)
        return Candidates(chosen[kept], planes, scores[kept], ids[kept])


def to_corners(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre and size → left, top, right, bottom: ``(4, N)`` in place, returned as ``(N, 4)``."""
    corner, size = planes[:2], planes[2:]
    with np.errstate(invalid="ignore"):  # boxes that are not finite are dropped later
        size *= 0.5
        corner -= size
        size *= 2
        size += corner
    boxes: NDArray[np.float64] = planes.T
    return boxes
