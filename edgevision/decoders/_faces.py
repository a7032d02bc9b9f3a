"""The last steps that decoders of boxes with landmarks share: suppress, blend, map to the source."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._final import without_flat
from edgevision.decoders._greedy import FARTHEST, Greedy
from edgevision.decoders._nms import nms
from edgevision.decoders._params import fraction, limit
from edgevision.geometry import Transform
from edgevision.metrics.boxes import iou_matrix
from edgevision.results import Detections

__all__ = ["FaceSuppression"]


class FaceSuppression:
    """Suppression of one class of boxes that carry landmarks.

    Args:
        iou: A box goes when its overlap with a better one is *more* than this.
        max_detections: How many are kept at most.
        weighted: What is kept becomes the mean of all it suppresses, weighted by score, its own
            score unchanged: ``WeightedNonMaxSuppression`` in MediaPipe's
            ``non_max_suppression_calculator.cc``.
    """

    def __init__(self, iou: float, max_detections: int, *, weighted: bool = False) -> None:
        self._iou, self._most = fraction("iou", iou), limit(max_detections)
        self._weighted = weighted
        self._scratch = Greedy()

    def __call__(
        self,
        boxes_xyxy: NDArray[np.float64],
        points: NDArray[np.float64],
        scores: NDArray[np.float32],
        transform: Transform,
        labels: tuple[str, ...],
    ) -> Detections:
        """Candidates ``(N, 4)``, ``(N, K, 2)``, ``(N,)`` in tensor pixels → faces in source pixels.

        Boxes are clipped to the frame; landmarks are not, since a clipped one would be elsewhere.
        """
        fine = _usable(boxes_xyxy, points)
        if not fine.all():
            boxes_xyxy, points, scores = boxes_xyxy[fine], points[fine], scores[fine]
        ids = np.zeros(len(scores), np.int32)
        keep = nms(
            boxes_xyxy,
            scores,
            ids,
            iou=self._iou,
            max_detections=self._most,
            class_agnostic=True,
            scratch=self._scratch,
        )
        if self._weighted and len(keep):
            kept_boxes, kept_points = self._blend(boxes_xyxy, points, scores, keep)
        else:
            kept_boxes, kept_points = boxes_xyxy[keep], points[keep]
        boxes, landmarks = transform.boxes(kept_boxes), transform.points(kept_points)
        return without_flat(Detections(boxes, scores[keep], ids[keep], labels, landmarks))

    def _blend(
        self,
        boxes: NDArray[np.float64],
        points: NDArray[np.float64],
        scores: NDArray[np.float32],
        keep: NDArray[np.intp],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means of what each kept box stands for: each candidate counts for the first it overlaps."""
        overlaps = iou_matrix(boxes[keep], boxes) > self._iou
        first = overlaps & (np.cumsum(overlaps, axis=0) == 1)
        # Each kept box stands for itself at least: suppression rounds otherwise, and may keep a box that
        # overlaps an earlier one by a hair more than the limit.
        first[:, keep] = np.eye(len(keep), dtype=np.bool_)
        weights = first * scores.astype(np.float64)
        weights /= weights.sum(axis=1, keepdims=True)
        blended_points = weights @ points.reshape(len(points), -1)
        return weights @ boxes, blended_points.reshape(len(keep), *points.shape[1:])


def _usable(boxes: NDArray[Any], points: NDArray[Any]) -> NDArray[np.bool_]:
    """Which candidates have a box with an area, and landmarks that are numbers."""
    # Any comparison with NaN is false.
    near = (np.abs(boxes) < FARTHEST).all(axis=1) & (np.abs(points) < FARTHEST).all(axis=(1, 2))
    fine: NDArray[np.bool_] = near & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return fine
