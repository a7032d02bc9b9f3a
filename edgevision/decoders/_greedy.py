"""Greedy suppression by OpenCV, in buffers that only grow."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._buffers import Buffer

__all__ = ["FARTHEST", "Greedy"]

#: Coordinates beyond this are no pixels (and would swallow the offsets that keep classes apart).
FARTHEST = 1e7
#: With fewer boxes than this, or more of each class, OpenCV alone is faster.
_MANY, _MANY_OF_A_CLASS = 200, 32
#: What is closer to the threshold than this is left to OpenCV.
_SLACK = 1e-4


class Greedy:
    """The boxes of one picture at a time, and which of them to keep.

    Numbers are kept in planes, one after the other, and in one dtype: numpy allocates copies when
    it writes to an array that interleaves with one it reads, and buffers to mix dtypes.
    """

    def __init__(self) -> None:
        self._boxes, self._pairs = Buffer(np.float64), Buffer(np.float64)
        self._rivals = Buffer(np.intp)
        self._rects, self._rows = np.empty((0, 4), np.float64), [memoryview(b"")]
        self._planes = self._boxes.of(4, 0)

    def fill(
        self, boxes_xyxy: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
    ) -> bool:
        """Takes boxes ``(N, 4)``; false when some must not be used, which is rare."""
        planes = self._planes = self._boxes.of(4, len(boxes_xyxy))
        if len(boxes_xyxy) == 0:
            return True
        np.copyto(planes, boxes_xyxy.T)
        # Any comparison with NaN is false.
        near = planes.min() > -FARTHEST and planes.max() < FARTHEST
        solid = near and (planes[2:] > planes[:2]).all()
        return bool(solid and scores.min() > 0 and scores.max() < np.inf)

    def keep(
        self,
        scores: NDArray[np.floating[Any]],
        class_ids: NDArray[np.integer[Any]] | None,
        iou: float,
    ) -> NDArray[np.intp]:
        """Indices of the boxes to keep, best first; without ids all are of one class.

        To be called once after `fill`: the boxes are overwritten.
        """
        if class_ids is None or not _worth_settling(class_ids):
            return self._suppress(self._planes, scores, class_ids, iou)
        sure, left = self._settle(scores, class_ids, iou)
        planes, ids = self._planes.take(left, axis=1), class_ids[left]
        rest = left[self._suppress(planes, scores[left], ids, iou)]
        kept = np.concatenate([sure, rest])
        return kept[np.lexsort((kept, -scores[kept]))]

    def _settle(
        self, scores: NDArray[np.floating[Any]], ids: NDArray[np.integer[Any]], iou: float
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Each class's best box stays, whatever else there is, and what it overlaps goes.

        OpenCV would take box after box; this is done for all classes at once.

        Returns:
            Indices of the boxes that stay, and of those that are undecided.
        """
        best = np.zeros(ids.max() + 1, scores.dtype)
        np.maximum.at(best, ids, scores)
        level = (scores == best[ids]).nonzero()[0][::-1]
        first = np.empty(len(best), np.intp)
        first[ids[level]] = level  # of several the last to be written remains, the lowest
        rivals = self._rivals.take(first, ids)
        gone = self._overlap(rivals, iou)
        gone[rivals] = True
        sure = rivals[level] == level
        return level[sure], np.logical_not(gone, out=gone).nonzero()[0]

    def _overlap(self, rivals: NDArray[np.intp], iou: float) -> NDArray[np.bool_]:
        """Whether each box overlaps its rival, another of the boxes, by clearly more than ``iou``."""
        planes = self._planes
        numbers = self._pairs.of(7, len(rivals))
        common, sides, area = numbers[:4], numbers[4:6], numbers[6]
        np.subtract(planes[2:], planes[:2], out=sides)
        np.multiply(sides[0], sides[1], out=area)
        planes.take(rivals, axis=1, out=common, mode="clip")
        np.maximum(planes[:2], common[:2], out=common[:2])
        np.minimum(planes[2:], common[2:], out=common[2:])
        np.subtract(common[2:], common[:2], out=sides)
        np.maximum(sides, 0, out=sides)
        both = np.multiply(sides[0], sides[1], out=common[0])
        union = area.take(rivals, out=common[1], mode="clip")
        union += area
        union -= both
        union *= iou + _SLACK
        gone: NDArray[np.bool_] = both > union
        return gone

    def _suppress(
        self,
        planes: NDArray[np.float64],
        scores: NDArray[np.floating[Any]],
        ids: NDArray[np.integer[Any]] | None,
        iou: float,
    ) -> NDArray[np.intp]:
        """What OpenCV keeps of the boxes in planes ``(4, N)``, which are overwritten; best first.

        `cv2.dnn.NMSBoxesBatched` would keep classes apart by itself, but it copies all rectangles
        once more (64 instead of 29 KB for 480), and its offsets let classes meet where a coordinate
        is negative.
        """
        if len(scores) == 0:
            return np.empty(0, np.intp)
        rows = self._rectangles(planes, ids)
        kept = cv2.dnn.NMSBoxes(rows, scores, 0.0, iou)  # type: ignore[arg-type]
        return np.asarray(kept, np.intp)

    def _rectangles(
        self, planes: NDArray[np.float64], ids: NDArray[np.integer[Any]] | None
    ) -> list[memoryview]:
        """Left, top, width and height of each box, each class beside the one before.

        OpenCV reads rectangles one by one: from memoryviews, which are made once, it takes half as
        long as from the rows of an array, and no object is made for each number as in lists.
        """
        n = planes.shape[1]
        if len(self._rects) < n:
            self._rects = np.empty((n, 4), np.float64)
            numbers = self._rects.reshape(-1).data
            self._rows = [numbers[i : i + 4] for i in range(0, 4 * n, 4)]
        width = planes[2].max() - planes[0].min() + 1
        planes[2:] -= planes[:2]
        if ids is not None:
            offsets = self._pairs.of(n)
            np.copyto(offsets, ids)
            offsets *= width
            planes[0] += offsets
        np.copyto(self._rects[:n], planes.T)
        return self._rows[:n]


def _worth_settling(ids: NDArray[np.integer[Any]]) -> bool:
    """Whether there are many boxes, but not so many of a class that few go at a time."""
    count = len(ids)
    return count >= _MANY and bool(count < _MANY_OF_A_CLASS * np.count_nonzero(np.bincount(ids)))
