"""Precision, recall and F1 of detections from one score on, against labelled objects."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.metrics.agreement import Counts, match
from edgevision.metrics.truth import DetectionTruth, class_names
from edgevision.results import Detections

__all__ = ["DetectionCounts"]


class DetectionCounts:
    """Counts what was found, missed and invented, per class and over all (micro).

    Detections, in the order of their scores, take the best free object of their class with an IoU of at
    least ``iou``, one each. One that takes none but lies at least so much (share of its own area, COCO's
    rule for crowds) in an ignored region of its class counts for nothing.

    Args:
        labels: Names of the model's classes.
        classes: Class ids that the data labels; None for all. Detections of others count for nothing:
            nobody looked for such objects.
        score: From which detections count.
        iou: Least overlap of a match.

    Attributes:
        images: Pictures added.
        total: Over all classes.
    """

    metric = "f1"

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        classes: Collection[int] | None = None,
        score: float = 0.35,
        iou: float = 0.5,
    ) -> None:
        self.images = 0
        self.total = Counts()
        self._labels, self._score, self._iou = tuple(labels), score, iou
        self._classes = None if classes is None else np.array(sorted(classes), np.int32)
        self._by_class: dict[int, Counts] = {}

    @property
    def value(self) -> float:
        """Micro-F1; NaN when there was neither an object nor a detection."""
        return self.total.f1 if self.total.reference + self.total.candidate else math.nan

    @property
    def samples(self) -> int:
        """Labelled objects that count."""
        return self.total.reference

    def add(self, truth: DetectionTruth, result: Detections) -> None:
        """Adds one picture."""
        self.images += 1
        found = result.select(self._counting(result))
        objects = _as_detections(truth, ~truth.ignore)
        pairs = match(objects, found, iou=self._iou)
        free = np.ones(len(found), np.bool_)
        free[[theirs for _, theirs in pairs]] = False
        nothing = free & self._in_ignored(truth, found)
        self._count("reference", objects.class_ids)
        self._count("candidate", found.class_ids[~nothing])
        self._count("matched", found.class_ids[~free])

    def to_dict(self) -> dict[str, Any]:
        """``precision``, ``recall``, ``f1`` (micro), at which ``score`` and ``iou``, and ``per_class``."""
        names = class_names(sorted(self._by_class), self._labels)
        value = self.value
        return {
            "metric": self.metric,
            "value": None if math.isnan(value) else value,
            "samples": self.samples,
            "images": self.images,
            **_numbers(self.total),
            "score": self._score,
            "iou": self._iou,
            "per_class": {name: _numbers(self._by_class[i]) for i, name in names.items()},
        }

    def _counting(self, result: Detections) -> NDArray[np.bool_]:
        # float32 scores are compared as float32, so that 0.35 counts as 0.35.
        counting: NDArray[np.bool_] = result.scores >= np.float32(self._score)
        if self._classes is not None:
            counting = counting & np.isin(result.class_ids, self._classes)
        return counting

    def _in_ignored(self, truth: DetectionTruth, found: Detections) -> NDArray[np.bool_]:
        """bool ``(N,)``: which detections lie in an ignored region of their class."""
        inside = _covered(found.boxes_xyxy, truth.boxes_xyxy[truth.ignore])
        same = found.class_ids[:, None] == truth.class_ids[truth.ignore][None, :]
        covered: NDArray[np.bool_] = ((inside >= self._iou) & same).any(axis=1)
        return covered

    def _count(self, what: str, class_ids: NDArray[np.int32]) -> None:
        for class_id in class_ids.tolist():
            for counts in (self.total, self._by_class.setdefault(class_id, Counts())):
                setattr(counts, what, getattr(counts, what) + 1)


def _as_detections(truth: DetectionTruth, keep: NDArray[np.bool_]) -> Detections:
    boxes = truth.boxes_xyxy[keep]
    return Detections(boxes, np.ones(len(boxes), np.float32), truth.class_ids[keep])


def _covered(
    boxes_xyxy: NDArray[np.float32], regions_xyxy: NDArray[np.float32]
) -> NDArray[np.float64]:
    """float64 ``(N, M)``: which share of each box lies in each region; 0 for a box without area."""
    a, b = boxes_xyxy.astype(np.float64)[:, None], regions_xyxy.astype(np.float64)[None]
    common = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inside = np.clip(common, 0, None).prod(axis=-1)
    area = np.broadcast_to((a[..., 2:] - a[..., :2]).prod(axis=-1), inside.shape)
    share: NDArray[np.float64] = np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
    return share


def _numbers(counts: Counts) -> dict[str, Any]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "matched": counts.matched,
        "objects": counts.reference,
        "detections": counts.candidate,
    }
