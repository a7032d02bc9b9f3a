"""The last steps of decoders: those whose models need no suppression, and what all of them do at the end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["finish", "without_flat"]


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
    return without_flat(found)


def without_flat(found: Detections) -> Detections:
    """Without boxes that have no area: clipping leaves nothing of one that lies in the padding."""
    longer = found.boxes_xyxy[:, 2:] > found.boxes_xyxy[:, :2]
    if longer.all():
        return found
    return found.select(np.logical_and(longer[:, 0], longer[:, 1]))
