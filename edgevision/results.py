"""What a task finds in a frame, in the pixels of the source; new arrays that the caller may keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Classification", "Detections", "Result"]


class Result(Protocol):
    """What every task's result can do."""

    def __len__(self) -> int:
        """How many things were found."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the task's own list under its stable key."""
        ...


def _label(labels: tuple[str, ...], class_id: int) -> str:
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


@dataclass(frozen=True, slots=True)
class Detections:
    """Boxes with a score and a class, best score first.

    Attributes:
        boxes_xyxy: float32 ``(N, 4)``: left, top, right, bottom, in source pixels, where a pixel at
            column ``x`` covers ``[x, x + 1)``.
        scores: float32 ``(N,)`` in 0…1.
        class_ids: int32 ``(N,)``.
        labels: All names of the model's classes, by class id; may be empty.
        landmarks: float32 ``(N, K, 2)``: K points x, y of each detection in source pixels, finite,
            which may lie outside the frame; None where the model gives none.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    labels: tuple[str, ...] = ()
    landmarks: NDArray[np.float32] | None = None

    @classmethod
    def empty(cls, labels: tuple[str, ...] = ()) -> Detections:
        """Nothing found."""
        return cls(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32), labels
        )

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, i: int) -> str:
        """The name of detection ``i``'s class, or the class id as text where there is no name."""
        return _label(self.labels, int(self.class_ids[i]))

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """The detections at a mask or at indices, in that order."""
        return Detections(
            self.boxes_xyxy[keep],
            self.scores[keep],
            self.class_ids[keep],
            self.labels,
            None if self.landmarks is None else self.landmarks[keep],
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; each detection has ``landmarks`` [[x, y], …] where the model gives them."""
        boxes, scores, ids = self.boxes_xyxy.tolist(), self.scores.tolist(), self.class_ids.tolist()
        found: list[dict[str, Any]] = [
            {
                "box_xyxy": [round(v, 2) for v in box],
                "score": round(score, 4),
                "class_id": class_id,
                "label": _label(self.labels, class_id),
            }
            for box, score, class_id in zip(boxes, scores, ids, strict=True)
        ]
        if self.landmarks is not None:
            for detection, points in zip(found, self.landmarks.tolist(), strict=True):
                detection["landmarks"] = [[round(x, 2), round(y, 2)] for x, y in points]
        return {"detections": found}


@dataclass(frozen=True, slots=True)
class Classification:
    """The best classes of a picture, best first.

    Attributes:
        class_ids: int32 ``(K,)``.
        scores: float32 ``(K,)``, probabilities.
        labels: All names of the model's classes, by class id; may be empty.
    """

    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def label(self, i: int) -> str:
        """The name of the ``i``-th best class, or its id as text where there is no name."""
        return _label(self.labels, int(self.class_ids[i]))

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": [
                {
                    "class_id": int(class_id),
                    "score": round(float(score), 4),
                    "label": _label(self.labels, int(class_id)),
                }
                for class_id, score in zip(self.class_ids, self.scores, strict=True)
            ]
        }
