"""What a task finds in a frame, in the pixels of the source; new arrays that the caller may keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgevision.geometry import Transform
from edgevision.runs import counts_of, expand, mask_of, runs_of
from edgevision.skeleton import Skeleton

__all__ = ["NOTHING", "Classification", "Detections", "Keypoints", "Result", "Segmentation"]

#: The class of a pixel that shows none.
NOTHING = 255
#: Of a mask that is read from a file, 8192×8192: what claims more would only take memory.
_MOST_PIXELS = 2**26


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


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Named points of people or other things, best score first.

    Attributes:
        points: float32 ``(N, K, 2)``: x, y in source pixels, finite; they may lie outside the frame.
        point_scores: float32 ``(N, K)`` in 0…1. A point that is not seen has a low one, and lies anywhere.
        scores: float32 ``(N,)`` in 0…1, of the whole person.
        skeleton: What the K points are called.
        boxes_xyxy: float32 ``(N, 4)`` in source pixels; None where the model gives none.
    """

    points: NDArray[np.float32]
    point_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    skeleton: Skeleton
    boxes_xyxy: NDArray[np.float32] | None = None

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Keypoints:
        """Nobody found."""
        count = len(skeleton)
        points, scores = np.empty((0, count, 2), np.float32), np.empty((0, count), np.float32)
        return cls(points, scores, np.empty(0, np.float32), skeleton)

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: each person's ``score`` and ``points`` {name → [x, y, score]}, with a ``box_xyxy`` if given."""
        located = np.concatenate([self.points, self.point_scores[..., None]], axis=2).tolist()
        people: list[dict[str, Any]] = [
            {
                "score": round(float(score), 4),
                "points": {
                    name: [round(x, 2), round(y, 2), round(certain, 4)]
                    for name, (x, y, certain) in zip(self.skeleton.names, points, strict=True)
                },
            }
            for score, points in zip(self.scores, located, strict=True)
        ]
        if self.boxes_xyxy is not None:
            for person, box in zip(people, self.boxes_xyxy.tolist(), strict=True):
                person["box_xyxy"] = [round(v, 2) for v in box]
        return {"keypoints": people}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], skeleton: Skeleton) -> Keypoints:
        """The inverse of `to_dict`; points are found by their names, since JSON may have sorted them."""
        people = data["keypoints"]
        located = np.array([[p["points"][n] for n in skeleton.names] for p in people], np.float32)
        located = located.reshape(len(people), len(skeleton), 3)
        boxes = [p["box_xyxy"] for p in people if "box_xyxy" in p]
        return cls(
            located[..., :2],
            located[..., 2],
            np.array([p["score"] for p in people], np.float32),
            skeleton,
            np.array(boxes, np.float32) if boxes else None,
        )


@dataclass(frozen=True, slots=True)
class Segmentation:
    """Which class each place of the picture shows, at the resolution of the model's mask.

    Kept as runs: a few KB where the mask as an array would be 64 KiB for 256×256. `class_map` and `mask`
    make arrays when they are asked for.

    Attributes:
        starts: int32 ``(R,)``: where each run of equal classes begins in the mask, counted from 0 down its
            columns, from left to right.
        class_ids: uint8 ``(R,)``: the class of each run, or `NOTHING`.
        transform: The way from mask pixels to source pixels; its ``tensor_hw`` is the mask's size.
        labels: All names of the model's classes, by class id; may be empty.
    """

    starts: NDArray[np.int32]
    class_ids: NDArray[np.uint8]
    transform: Transform
    labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.found)

    @property
    def found(self) -> list[int]:
        """The classes that are seen, ascending."""
        return [i for i in np.unique(self.class_ids).tolist() if i != NOTHING]

    def label(self, class_id: int) -> str:
        """The name of a class, or its id as text where there is no name."""
        return _label(self.labels, class_id)

    def class_map(self) -> NDArray[np.uint8]:
        """The mask: uint8 ``(h, w)``, class ids and `NOTHING`; a new array in mask pixels."""
        return expand(self.starts, self.class_ids, self.transform.tensor_hw)

    def share(self, class_id: int) -> float:
        """How much of the source picture a class covers, 0…1."""
        ends = np.append(self.starts[1:], self.transform.tensor_hw[0] * self.transform.tensor_hw[1])
        pixels = int((ends - self.starts)[self.class_ids == class_id].sum())
        (a, b, _), (c, d, _) = self.transform.to_source.tolist()
        whole = self.transform.width * self.transform.height
        return min(1.0, float(pixels * abs(a * d - b * c) / whole))

    def mask(self, class_id: int = 0) -> NDArray[np.bool_]:
        """Where the source picture shows a class: bool ``(height, width)``, a new array in source pixels.

        The mask is enlarged with linear interpolation, so its edge is smooth.
        """
        shown = np.where(self.class_map() == class_id, np.uint8(255), np.uint8(0))
        return _enlarged(shown, self.transform) > 127

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: each class's ``share`` of the picture and its mask as COCO's uncompressed RLE."""
        height, width = self.transform.tensor_hw
        segments = [
            {
                "class_id": i,
                "label": self.label(i),
                "share": round(self.share(i), 4),
                "rle": {
                    "size": [height, width],
                    "counts": counts_of(self.starts, self.class_ids == i, height * width),
                },
            }
            for i in self.found
        ]
        to_source = [[float(f"{v:.8g}") for v in row] for row in self.transform.to_source.tolist()]
        source = [self.transform.height, self.transform.width]
        place = {"size": [height, width], "to_source": to_source, "source_size": source}
        return {"segments": segments, "mask": place}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], labels: tuple[str, ...] = ()) -> Segmentation:
        """The inverse of `to_dict`.

        Raises:
            ValueError: The size is none of a mask, or the counts are not for it.
        """
        place = data["mask"]
        size, (height, width) = tuple(place["size"]), place["source_size"]
        if not 0 < size[0] * size[1] <= _MOST_PIXELS:
            raise ValueError(f"there is no mask of {size[0]}×{size[1]}")
        picture = np.full(size, NOTHING, np.uint8)
        for segment in data["segments"]:
            picture[mask_of(segment["rle"]["counts"], size)] = segment["class_id"]
        to_source = np.array(place["to_source"], np.float64).reshape(2, 3)
        return cls(*runs_of(picture), Transform(to_source, width, height, size), labels)


def _enlarged(picture: NDArray[np.uint8], way: Transform) -> NDArray[np.uint8]:
    """A picture of the size of a mask at that of its source, interpolated linearly; 0 beside it."""
    import cv2  # results are read where there is no OpenCV too

    (height, width), size = picture.shape, (way.width, way.height)
    whole = [[size[0] / width, 0.0, 0.0], [0.0, size[1] / height, 0.0]]
    if np.allclose(way.to_source, whole, rtol=1e-6, atol=1e-6):
        large: NDArray[np.uint8] = cv2.resize(picture, size)  # twenty times as fast
        return large
    # OpenCV maps pixel centres; the half pixels make that of the continuous map.
    matrix = way.to_source.copy()
    matrix[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    large = cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(picture), matrix, size, flags=cv2.INTER_NEAREST)
    large[inside == 0] = 0
    return large
