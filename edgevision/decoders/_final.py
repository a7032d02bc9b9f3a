"""The last steps of decoders whose models need no suppression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["finish"]


def finish(
    boxes_xyxy: NDArray[np.floating[Any]],
    scores: NDArray[np.float32],
    class_ids: NDArray[np.integer[Any]],
    most: int,
    transform: Transform,
    labels: tuple[str, ...],
) -> Detections:
    """Boxes in tensor pixels → the best ``most``, in source pixels and within the frame.

    Boxes that are not finite, have no area, or whose score is not finite or not above 0 are dropped.
    Of equal scores the lower index comes first.
    """
    fine = np.isfinite(boxes_xyxy).all(axis=1) & (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    fine &= (scores > 0) & (scores < np.inf)
    chosen = np.flatnonzero(fine)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:most]]
    boxes = transform.boxes(boxes_xyxy[chosen])
    found = Detections(boxes, scores[chosen], class_ids[chosen].astype(np.int32), labels)
    # Clipping leaves nothing of a box that lies in the padding.
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return found if inside.all() else found.select(inside)
