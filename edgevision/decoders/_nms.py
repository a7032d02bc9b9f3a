"""Class-aware non-maximum suppression on arrays, and the last steps that all box decoders share."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["MAX_CANDIDATES", "Suppression", "nms"]

#: Boxes that enter the suppression at most, best scores first. Its cost grows with their square
#: (1,000: 0.6 ms, 8,400: 43 ms on one x86 core), and a frame with more above a sensible threshold
#: is noise: without a cap, a wrong preset or a threshold near 0 would turn a camera pipeline into a
#: slide show.
MAX_CANDIDATES = 1000

#: Coordinates beyond this are no pixels (and would swallow the offsets that keep classes apart).
_FARTHEST = 1e7


def nms(
    boxes_xyxy: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    class_ids: NDArray[np.integer[Any]],
    *,
    iou: float,
    max_detections: int = 300,
    max_candidates: int = MAX_CANDIDATES,
    class_agnostic: bool = False,
    scratch: Scratch | None = None,
) -> NDArray[np.intp]:
    """Which boxes to keep: greedy suppression by OpenCV, no loop over boxes in Python.

    Boxes that are not finite, have no area, or whose score is not finite or not above 0 are
    dropped.

    Args:
        boxes_xyxy: ``(N, 4)``, in any unit; may lie partly or fully outside a picture.
        scores: ``(N,)``.
        class_ids: ``(N,)``, 0 or more.
        iou: A box goes when its overlap with a kept one of its class is *more* than this.
        max_detections: How many are kept at most.
        max_candidates: How many best-scoring boxes are looked at.
        class_agnostic: Boxes of different classes suppress each other too.
        scratch: Buffers to use again; by default new ones.

    Returns:
        intp ``(K,)``: indices into the input, best score first; of equal scores the lower index
        first.
    """
    scratch = scratch or Scratch()
    chosen = None
    if not scratch.fill(boxes_xyxy, scores) or len(scores) > max_candidates:
        chosen = _usable(boxes_xyxy, scores)
        if len(chosen) > max_candidates:
            chosen = chosen[_best(scores[chosen], max_candidates)]
        boxes_xyxy, scores, class_ids = boxes_xyxy[chosen], scores[chosen], class_ids[chosen]
        scratch.fill(boxes_xyxy, scores)
    if len(scores) == 0:
        return np.empty(0, np.intp)
    rects = scratch.rects(None if class_agnostic else class_ids)
    # Its type stub asks for lists, which would cost a Python object a number.
    found = cv2.dnn.NMSBoxes(rects, scores, 0.0, iou)  # type: ignore[arg-type]
    # An empty answer is a tuple.
    kept = np.asarray(found[:max_detections], np.intp)
    return kept if chosen is None else chosen[kept]


class Scratch:
    """The rectangles that OpenCV suppresses, in buffers that only grow.

    `cv2.dnn.NMSBoxesBatched` would keep classes apart by itself, but it copies all rectangles once
    more (64 instead of 29 KB for 480), and its offsets let classes meet where a coordinate is
    negative.

    Numbers are kept in planes, one after the other, and in one dtype: numpy allocates copies when
    it writes to an array that interleaves with one it reads, and buffers to mix dtypes.
    """

    def __init__(self) -> None:
        self._count = 0
        self._numbers = np.empty(0, np.float64)  # OpenCV converts anything else slowly inside

    def fill(
        self, boxes_xyxy: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
    ) -> bool:
        """Takes boxes ``(N, 4)``; false when some must not be used, which is rare."""
        n = self._count = len(boxes_xyxy)
        if n == 0:
            return True
        if len(self._numbers) < 9 * n:
            self._numbers = np.empty(9 * n, np.float64)
        planes = self._planes
        np.copyto(planes, boxes_xyxy.T)
        # Any comparison with NaN is false.
        if not (planes.min() > -_FARTHEST and planes.max() < _FARTHEST):
            return False
        planes[2:] -= planes[:2]
        return bool(planes[2:].min() > 0 and scores.min() > 0 and scores.max() < np.inf)

    def rects(self, class_ids: NDArray[np.integer[Any]] | None) -> NDArray[np.float64]:
        """Left, top, width, height ``(N, 4)``, each class beside the one before.

        Valid until the next `fill`.
        """
        n, planes = self._count, self._planes
        if class_ids is not None:
            offsets = self._numbers[4 * n : 5 * n]
            np.add(planes[0], planes[2], out=offsets)
            width = offsets.max() - planes[0].min() + 1
            np.copyto(offsets, class_ids)
            offsets *= width
            planes[0] += offsets
        rects = self._numbers[5 * n : 9 * n].reshape(n, 4)
        np.copyto(rects, planes.T)
        return rects

    @property
    def _planes(self) -> NDArray[np.float64]:
        return self._numbers[: 4 * self._count].reshape(4, self._count)


class Suppression:
    """The suppression's parameters, applied to the candidates of one picture at a time.

    Args:
        iou: See `nms`.
        max_detections: See `nms`.
        class_agnostic: See `nms`.
    """

    def __init__(self, iou: float, max_detections: int, class_agnostic: bool) -> None:
        self._iou = iou
        self._max_detections = max_detections
        self._class_agnostic = class_agnostic
        self._scratch = Scratch()

    def __call__(
        self,
        boxes_xyxy: NDArray[np.floating[Any]],
        scores: NDArray[np.floating[Any]],
        class_ids: NDArray[np.integer[Any]],
        transform: Transform,
        labels: tuple[str, ...],
    ) -> Detections:
        """Candidates in tensor pixels → what is kept, in source pixels and within the frame."""
        keep = nms(
            boxes_xyxy,
            scores,
            class_ids,
            iou=self._iou,
            max_detections=self._max_detections,
            class_agnostic=self._class_agnostic,
            scratch=self._scratch,
        )
        boxes = transform.boxes(boxes_xyxy[keep])
        found = Detections(
            boxes,
            scores[keep].astype(np.float32, copy=False),
            class_ids[keep].astype(np.int32, copy=False),
            labels,
        )
        # Clipping leaves nothing of a box that lies in the padding.
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return found if inside.all() else found.select(inside)


def _usable(
    boxes: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
) -> NDArray[np.intp]:
    """Indices of boxes with an area and a score."""
    fine = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    fine &= (boxes[:, :2] > -_FARTHEST).all(axis=1) & (boxes[:, 2:] < _FARTHEST).all(axis=1)
    fine &= (scores > 0) & (scores < np.inf)
    return np.flatnonzero(fine)


def _best(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` best scores, ascending; of equal scores the lower indices."""
    last = scores[np.argpartition(scores, -count)[-count]]
    above = np.flatnonzero(scores > last)
    level = np.flatnonzero(scores == last)[: count - len(above)]
    return np.sort(np.concatenate([above, level]))
