from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.metrics.accuracy import accuracy_for
from edgevision.metrics.truth import ClassTruth, DetectionTruth
from edgevision.results import Classification, Detections

A, B = (0, 0, 10, 10), (50, 50, 60, 60)


def test_detections_are_judged_by_map_with_precision_and_recall_beside_it():
    pytest.importorskip("pycocotools")
    accuracy = accuracy_for("detect", ("cat", "dog", "owl"), classes={0, 1})
    boxes = np.array([A, B, B], np.float32)
    result = Detections(boxes, np.array([0.9, 0.2, 0.9], np.float32), np.array([0, 0, 2], np.int32))
    accuracy.add(DetectionTruth.of([A, B], [0, 0]), result)
    said = accuracy.to_dict()
    # The second cat was found at 0.2: mAP ranks it, precision and recall at 0.35 do not see it.
    assert (said["metric"], said["value"], said["samples"]) == ("map50_95", pytest.approx(1), 2)
    assert (said["precision"], said["recall"], said["score"]) == (1, 0.5, 0.35)
    assert said["per_class"]["cat"].keys() >= {"ap50", "ap50_95", "recall", "objects"}
    assert accuracy.value == said["value"]
    assert accuracy.images == said["images"] == 1


def test_a_class_that_was_only_invented_is_listed_without_a_precision_curve():
    pytest.importorskip("pycocotools")
    accuracy = accuracy_for("detect", ("cat", "dog"))
    result = Detections(
        np.array([B], np.float32), np.array([0.9], np.float32), np.array([1], np.int32)
    )
    accuracy.add(DetectionTruth.of([A], [0]), result)
    said = accuracy.to_dict()["per_class"]
    assert "ap50" not in said["dog"]
    assert said["dog"]["precision"] == 0
    assert said["cat"]["ap50"] == 0


def test_classes_are_judged_by_top_1():
    accuracy = accuracy_for("classify", ("cat", "dog"))
    accuracy.add(ClassTruth(1), Classification(np.array([1], np.int32), np.ones(1, np.float32)))
    assert (accuracy.metric, accuracy.value, accuracy.samples) == ("top1", 1, 1)


def test_another_task_has_no_metric():
    with pytest.raises(UsageError, match="'segment'"):
        accuracy_for("segment")
