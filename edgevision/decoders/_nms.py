"""Class-aware non-maximum suppression on arrays, and the last steps that all box decoders share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._final import without_flat
from edgevision.decoders._greedy import FARTHEST, Greedy
from edgevision.decoders._params import flag, fraction, limit
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["MAX_CANDIDATES", "Suppression", "nms"]

#: Boxes that enter the suppression at most, best scores first. Its cost grows with their square
#: (1,000: 4 ms, 8,400: 0.4 s on one x86 core where nothing overlaps), and a frame with more above a
#: sensible threshold is noise: without a cap, a wrong preset or a threshold near 0 would turn a
#: camera pipeline into a slide show.
MAX_CANDIDATES = 1000


def nms(
    boxes_xyxy: NDArray[np.floating[Any]],
    scores: NDArray[np.floating[Any]],
    class_ids: NDArray[np.integer[Any]],
    *,
    iou: float,
    max_detections: int = 300,
    max_candidates: int = MAX_CANDIDATES,
    class_agnostic: bool = False,
    scratch: Greedy | None = None,
) -> NDArray[np.intp]:
    """Which boxes to keep: greedy suppression, no loop over boxes in Python.

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
    scratch = scratch or Greedy()
    chosen = None
    if not scratch.fill(boxes_xyxy, scores) or len(scores) > max_candidates:
        chosen = _usable(boxes_xyxy, scores)
        if len(chosen) > max_candidates:
            chosen = chosen[_best(scores[chosen], max_candidates)]
        boxes_xyxy, scores, class_ids = boxes_xyxy[chosen], scores[chosen], class_ids[chosen]
        scratch.fill(boxes_xyxy, scores)
    kept = scratch.keep(scores, None if class_agnostic else class_ids, iou)[:max_detections]
    return kept if chosen is None else chosen[kept]


class Suppression:
    """The suppression as a decoder's parameters have it, applied to one picture at a time.

    Args:
        iou: See `nms`.
        max_detections: See `nms`.
        class_agnostic: See `nms`.

    Raises:
        SpecError: One of them is out of range.
    """

    def __init__(self, iou: float, max_detections: int, class_agnostic: bool) -> None:
        self._iou = fraction("iou", iou)
        self._max_detections = limit(max_detections)
        self._class_agnostic = flag("class_agnostic", class_agnostic)
        self._scratch = Greedy()

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
        found = Detections(
            transform.boxes(boxes_xyxy[keep]),
            scores[keep].astype(np.float32, copy=False),
            class_ids[keep].astype(np.int32, copy=False),
            labels,
        )
        return without_flat(found)


def _usable(
    boxes: NDArray[np.floating[Any]], scores: NDArray[np.floating[Any]]
) -> NDArray[np.intp]:
    """Indices of boxes with an area and a score."""
    fine = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    fine &= (boxes[:, :2] > -FARTHEST).all(axis=1) & (boxes[:, 2:] < FARTHEST).all(axis=1)
    fine &= (scores > 0) & (scores < np.inf)
    return np.flatnonzero(fine)


def _best(scores: NDArray[np.floating[Any]], count: int) -> NDArray[np.intp]:
    """Indices of the ``count`` best scores, ascending; of equal scores the lower indices."""
    last = scores[np.argpartition(scores, -count)[-count]]
    above = np.flatnonzero(scores > last)
    level = np.flatnonzero(scores == last)[: count - len(above)]
    return np.sort(np.concatenate([above, level]))
