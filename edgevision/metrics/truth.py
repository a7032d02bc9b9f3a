"""What is really in a picture, as someone labelled it; class ids are those of the model's labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassTruth", "DetectionTruth", "Truth", "class_names"]


@dataclass(frozen=True, slots=True)
class DetectionTruth:
    """The labelled objects of one picture.

    Attributes:
        boxes_xyxy: float32 ``(N, 4)``: left, top, right, bottom, in pixels of the picture as it is decoded
            (upright), where a pixel at column ``x`` covers ``[x, x + 1)``.
        class_ids: int32 ``(N,)``.
        ignore: bool ``(N,)``: regions that count neither for nor against the model, such as COCO's crowds.
    """

    boxes_xyxy: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    ignore: NDArray[np.bool_]

    @classmethod
    def of(cls, boxes_xyxy: Any, class_ids: Any, ignore: Any = None) -> DetectionTruth:
        """From anything array-like; without ``ignore`` every object counts.

        Raises:
            ValueError: The lengths differ, or a box is not finite or has no area.
        """
        boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
        ids = np.array(class_ids, np.int32).reshape(-1)
        left_out = np.zeros(len(ids), np.bool_) if ignore is None else np.array(ignore, np.bool_)
        if not len(boxes) == len(ids) == left_out.size:
            raise ValueError(f"{len(boxes)} boxes, {len(ids)} classes, {left_out.size} flags")
        if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
            raise ValueError("a labelled box is not finite or has no area")
        return cls(boxes, ids, left_out.reshape(-1))

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, slots=True)
class ClassTruth:
    """The class of a whole picture."""

    class_id: int


Truth = DetectionTruth | ClassTruth


def class_names(class_ids: Sequence[int], labels: Sequence[str]) -> dict[int, str]:
    """A different name for each class, to stand as a key in a report.

    The label; the number as text where there is none; both where two classes have the same label.
    """
    given = {i: labels[i] if 0 <= i < len(labels) else str(i) for i in class_ids}
    times = Counter(given.values())
    return {i: f"{name} ({i})" if times[name] > 1 else name for i, name in given.items()}
