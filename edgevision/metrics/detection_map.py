"""Mean average precision of detections by COCO's rules, computed by pycocotools.

The rules (cocodataset.org, "Detection Evaluation"): for each class, detections of all pictures by falling
score, at most 100 a picture and class; each takes the best free object of its class; precision is made
monotonic and read at 101 recalls; the mean over ten IoUs from 0.50 to 0.95, then over classes. Ignored
objects are COCO's crowds: they need not be found, and what lies in them counts for nothing. Classes
without a counting object have no precision and are left out of the mean.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import DependencyError
from edgevision.metrics.truth import DetectionTruth, class_names
from edgevision.results import Detections

__all__ = ["DetectionMap"]

_MOST_DETECTIONS = 100
_ANY_AREA = (0.0, 1e10)
_CLASS = 1


class DetectionMap:
    """mAP@0.50 and mAP@0.50:0.95, streaming: `add` keeps boxes only, the numbers are computed when asked for.

    Results must have been decoded at a very low score (0.001 is usual): what the decoder cut off is missed.
    A detection whose box is not finite or has no area is a false one.

    Args:
        labels: Names of the model's classes.

    Raises:
        DependencyError: pycocotools is not installed.
    """

    metric = "map50_95"

    def __init__(self, labels: Sequence[str] = ()) -> None:
        _library()  # said before an hour of inference, not after it
        self.images = 0
        self._labels = tuple(labels)
        self._objects: Counter[int] = Counter()
        self._truth: list[DetectionTruth] = []
        self._found: list[Detections] = []
        self._known: dict[int, NDArray[np.float64]] | None = None

    @property
    def value(self) -> float:
        """`map50_95`."""
        return self.map50_95

    @property
    def samples(self) -> int:
        """Labelled objects, the ignored ones left out."""
        return self._objects.total()

    @property
    def map50(self) -> float:
        """Mean over classes of AP at IoU 0.50, 0…1; NaN when no object counts."""
        return self._mean(slice(0, 1))

    @property
    def map50_95(self) -> float:
        """Mean over classes of the mean AP at IoU 0.50, 0.55 … 0.95, 0…1; NaN when no object counts."""
        return self._mean(slice(None))

    def add(self, truth: DetectionTruth, result: Detections) -> None:
        """Adds one picture; a picture with neither objects nor detections counts as a picture."""
        self.images += 1
        self._known = None
        self._objects.update(truth.class_ids[~truth.ignore].tolist())
        self._truth.append(truth)
        self._found.append(result)

    def to_dict(self) -> dict[str, Any]:
        """``map50`` and ``map50_95`` (None where nothing counts), ``images``, ``objects``, and by class.

        ``per_class`` has ``ap50``, ``ap50_95`` and ``objects`` for each label with an object that counts.
        """
        precision = self._precision()
        names = class_names(sorted(precision), self._labels)
        return {
            "metric": self.metric,
            "value": _finite(self.value),
            "samples": self.samples,
            "images": self.images,
            "objects": self.samples,
            "map50": _finite(self.map50),
            "map50_95": _finite(self.map50_95),
            "per_class": {
                name: {
                    "ap50": float(precision[i][0]),
                    "ap50_95": float(precision[i].mean()),
                    "objects": self._objects[i],
                }
                for i, name in names.items()
            },
        }

    def _mean(self, ious: slice) -> float:
        rows = [values[ious].mean() for values in self._precision().values()]
        return float(np.mean(rows)) if rows else math.nan

    def _precision(self) -> dict[int, NDArray[np.float64]]:
        """Class id → average precision at each of the ten IoUs, for classes with an object that counts."""
        if self._known is None:
            self._known = self._evaluated() if self._objects else {}
        return self._known

    def _evaluated(self) -> dict[int, NDArray[np.float64]]:
        objects = _Table.of(self._truth, [t.ignore.astype(np.float64) for t in self._truth])
        found = _Table.of(self._found, [r.scores.astype(np.float64) for r in self._found])
        # One class at a time, because pycocotools turns every box into several Python objects.
        return {
            i: _average_precision(objects.only(i), found.only(i)) for i in sorted(self._objects)
        }


@dataclass(frozen=True, slots=True)
class _Table:
    """Boxes of all pictures, one a row, in the order of the pictures.

    Attributes:
        image: int ``(N,)``: number of the picture.
        class_id: int ``(N,)``.
        xyxy: float32 ``(N, 4)``.
        extra: float64 ``(N,)``: the score of a detection; 1 for an object to ignore, else 0.
    """

    image: NDArray[np.int64]
    class_id: NDArray[np.int32]
    xyxy: NDArray[np.float32]
    extra: NDArray[np.float64]

    @classmethod
    def of(
        cls, pictures: Sequence[DetectionTruth | Detections], extra: Sequence[NDArray[np.float64]]
    ) -> _Table:
        return cls(
            np.repeat(np.arange(len(pictures)), [len(p) for p in pictures]),
            np.concatenate([p.class_ids for p in pictures]),
            np.concatenate([p.boxes_xyxy for p in pictures]),
            np.concatenate(extra),
        )

    def only(self, class_id: int) -> _Table:
        """The rows of one class."""
        keep = self.class_id == class_id
        return _Table(self.image[keep], self.class_id[keep], self.xyxy[keep], self.extra[keep])

    def annotations(self, extra: str) -> list[dict[str, Any]]:
        """As COCO has them; ids from 1, because an id of 0 would read as "no match"."""
        rows = zip(self.image.tolist(), _xywh(self.xyxy), self.extra.tolist(), strict=True)
        # The true area plays no part where every area counts.
        same = {"category_id": _CLASS, "area": 1.0}
        return [
            {"id": number, "image_id": image, "bbox": box, extra: value, **same}
            for number, (image, box, value) in enumerate(rows, 1)
        ]


def _average_precision(objects: _Table, found: _Table) -> NDArray[np.float64]:
    """Of one class, at each of the ten IoUs."""
    coco, evaluation = _library()
    images = np.union1d(objects.image, found.image).tolist()
    # pycocotools reports on stdout, which may be carrying somebody's JSON.
    with contextlib.redirect_stdout(io.StringIO()):
        sets = [coco(), coco()]
        for dataset, rows in zip(
            sets, (objects.annotations("iscrowd"), found.annotations("score")), strict=True
        ):
            dataset.dataset = {
                "images": [{"id": image} for image in images],
                "categories": [{"id": _CLASS}],
                "annotations": rows,
            }
            dataset.createIndex()
        run = evaluation(*sets, "bbox")
        run.params.areaRng, run.params.areaRngLbl = [list(_ANY_AREA)], ["all"]
        run.params.maxDets = [_MOST_DETECTIONS]
        run.evaluate()
        run.accumulate()
    # (IoU, recall, class, area, most detections)
    precision: NDArray[np.float64] = run.eval["precision"][:, :, 0, 0, 0].mean(axis=1)
    return precision


def _xywh(boxes_xyxy: NDArray[np.float32]) -> list[list[float]]:
    """Left, top, width, height; all zero for a box that is not finite or has no area."""
    boxes = boxes_xyxy.astype(np.float64).reshape(-1, 4)
    with np.errstate(invalid="ignore"):
        boxes[:, 2:] -= boxes[:, :2]
    boxes[~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1))] = 0
    rows: list[list[float]] = boxes.tolist()
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _library() -> tuple[Any, Any]:
    """pycocotools' classes for a data set and for its evaluation."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise DependencyError(
            "mAP needs pycocotools, which is not installed",
            hint="pip install 'edgevision[convert]'",
        ) from error
    return COCO, COCOeval
