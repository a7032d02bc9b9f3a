"""The accuracy seam: adds up, picture by picture, how right a model is; `accuracy_for` chooses by task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from edgevision.errors import UsageError
from edgevision.metrics.classification import ClassificationAccuracy
from edgevision.metrics.detection_counts import DetectionCounts
from edgevision.metrics.detection_map import DetectionMap
from edgevision.metrics.truth import DetectionTruth
from edgevision.results import Detections

__all__ = ["Accuracy", "DetectionAccuracy", "accuracy_for"]


class Accuracy(Protocol):
    """How right a model is on labelled pictures."""

    metric: str
    """Name of the number that decides: ``map50_95`` or ``top1``."""

    @property
    def images(self) -> int:
        """Pictures added."""
        ...

    @property
    def value(self) -> float:
        """The number that decides, 0…1; NaN when there was nothing to be right about."""
        ...

    @property
    def samples(self) -> int:
        """On how much the value rests: labelled objects, or pictures."""
        ...

    def add(self, truth: Any, result: Any) -> None:
        """Adds one picture: its truth and what the model made of it."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with ``metric``, ``value`` (None for NaN), ``samples`` and ``images``."""
        ...


class DetectionAccuracy:
    """mAP by COCO's rules, with precision, recall and F1 at one score beside it.

    Results must have been decoded at a score far below ``score`` (0.001 is usual): mAP ranks everything
    that a model finds, and what the decoder cut off lowers it.

    Args:
        labels: Names of the model's classes.
        classes: Class ids that the data labels; None for all. Detections of others are left out.
        score: From which detections count for precision, recall and F1.
    """

    metric = DetectionMap.metric

    def __init__(
        self,
        labels: Sequence[str] = (),
        *,
        classes: Collection[int] | None = None,
        score: float = 0.35,
    ) -> None:
        self.map = DetectionMap(labels)
        self.counts = DetectionCounts(labels, classes=classes, score=score)

    @property
    def images(self) -> int:
        return self.map.images

    @property
    def value(self) -> float:
        return self.map.value

    @property
    def samples(self) -> int:
        """Labelled objects that count."""
        return self.map.samples

    def add(self, truth: DetectionTruth, result: Detections) -> None:
        """Adds one picture."""
        self.map.add(truth, result)
        self.counts.add(truth, result)

    def to_dict(self) -> dict[str, Any]:
        """Keys of both; each class in ``per_class`` has the numbers of both too."""
        found, counted = self.map.to_dict(), self.counts.to_dict()
        classes = {
            name: {**found["per_class"].get(name, {}), **counted["per_class"].get(name, {})}
            for name in sorted({*found["per_class"], *counted["per_class"]})
        }
        decides = {"metric": self.metric, "value": found["value"], "samples": self.samples}
        return {**counted, **found, **decides, "per_class": classes}


def accuracy_for(
    task: str, labels: Sequence[str] = (), *, classes: Collection[int] | None = None
) -> Accuracy:
    """An empty tally for a task.

    Args:
        task: ``detect`` or ``classify``.
        labels: Names of the model's classes.
        classes: For ``detect``: class ids that the data labels; None for all.

    Raises:
        UsageError: There is no such metric.
        DependencyError: pycocotools is not installed, and the task needs it.
    """
    if task == "classify":
        return ClassificationAccuracy(labels)
    if task == "detect":
        return DetectionAccuracy(labels, classes=classes)
    raise UsageError(
        f"there is no accuracy metric for the task {task!r}", expected="detect or classify"
    )
