from __future__ import annotations

import numpy as np
import pytest

from edgevision import registry
from edgevision.errors import UsageError
from edgevision.frame import Frame
from edgevision.geometry import Transform
from edgevision.results import Classification, Detections, Keypoints, Segmentation
from edgevision.skeleton import Skeleton

FRAME = Frame(np.zeros((120, 160, 3), np.uint8))


def boxes(*found):
    values = np.array(found, np.float64).reshape(-1, 6)
    return Detections(
        values[:, :4].astype(np.float32),
        values[:, 4].astype(np.float32),
        values[:, 5].astype(np.int32),
        ("cat", "dog"),
    )


def person(score, box=None):
    """Two points, far apart."""
    points = np.array([[[20, 20], [100, 90]]], np.float32)
    scores, mean = np.full((1, 2), score, np.float32), np.array([score], np.float32)
    boxes = None if box is None else np.array([box], np.float32)
    return Keypoints(points, scores, mean, Skeleton(("tip", "root"), ((0, 1),)), boxes)


def covered():
    """A mask that covers all of the frame."""
    zero = np.zeros(1, np.int32)
    return Segmentation(zero, zero.astype(np.uint8), Transform.identity(120, 160), ("cat",))


@pytest.mark.parametrize("name", ["detect", "classify", "keypoints", "segment"])
def test_the_whole_frame_is_looked_at(name):
    assert list(registry.load("tasks", name)().regions(FRAME, None)) == [None]


def test_one_part_is_the_result_itself():
    detect, part = registry.load("tasks", "detect")(), boxes((0, 0, 9, 9, 0.5, 0))
    assert detect.merge([part], FRAME) is part


def test_detections_of_several_regions_are_merged_by_class():
    detect = registry.load("tasks", "detect")()
    left = boxes((0, 0, 10, 10, 0.5, 0), (40, 40, 50, 50, 0.9, 1))
    right = boxes((1, 0, 11, 10, 0.8, 0), (0, 0, 10, 10, 0.4, 1))
    merged = detect.merge([left, right], FRAME)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.8, 0.4])
    assert merged.class_ids.tolist() == [1, 0, 1]
    assert merged.label(0) == "dog"


def test_no_or_empty_parts_merge_to_nothing():
    detect = registry.load("tasks", "detect")()
    assert len(detect.merge([], FRAME)) == 0
    empty = Detections.empty(("cat", "dog"))
    assert detect.merge([empty, empty], FRAME).labels == ("cat", "dog")


def test_thousands_of_detections_apart_are_all_kept():
    grid = [(20 * i, 0, 20 * i + 10, 10, 0.5, 0) for i in range(1500)]
    merged = registry.load("tasks", "detect")().merge([boxes(*grid), boxes(*grid)], FRAME)
    assert len(merged) == 1500


def test_a_classification_has_one_part():
    classify = registry.load("tasks", "classify")()
    part = Classification(np.array([0], np.int32), np.array([1.0], np.float32))
    assert classify.merge([part], FRAME) is part
    for parts in ([], [part, part]):
        with pytest.raises(UsageError, match=f"{len(parts)} results"):
            classify.merge(parts, FRAME)


def test_people_of_several_regions_are_put_together_best_first():
    keypoints = registry.load("tasks", "keypoints")()
    one = person(0.5)
    assert keypoints.merge([one], FRAME) is one
    merged = keypoints.merge([one, Keypoints.empty(one.skeleton), person(0.75)], FRAME)
    assert merged.scores.tolist() == [0.75, 0.5]
    assert merged.points.shape == (2, 2, 2)
    assert merged.skeleton == one.skeleton
    assert merged.boxes_xyxy is None
    with pytest.raises(UsageError, match="no region"):
        keypoints.merge([], FRAME)


def test_boxes_of_people_are_kept_where_every_part_has_them():
    keypoints = registry.load("tasks", "keypoints")()
    boxed = [person(0.5, (0, 0, 1, 1)), person(0.75, (2, 2, 3, 3))]
    assert keypoints.merge(boxed, FRAME).boxes_xyxy.tolist() == [[2, 2, 3, 3], [0, 0, 1, 1]]
    assert keypoints.merge([*boxed, person(0.1)], FRAME).boxes_xyxy is None


def test_a_segmentation_has_one_part():
    segment, part = registry.load("tasks", "segment")(), covered()
    assert segment.merge([part], FRAME) is part
    for parts in ([], [part, part]):
        with pytest.raises(UsageError, match=f"{len(parts)} results"):
            segment.merge(parts, FRAME)


def test_results_are_drawn_in_place():
    for name, result in (
        ("detect", boxes((10, 30, 90, 90, 0.5, 0))),
        ("classify", Classification(np.array([0], np.int32), np.array([1.0], np.float32))),
        ("keypoints", person(0.9)),
        ("segment", covered()),
    ):
        image = np.zeros((120, 160, 3), np.uint8)
        registry.load("tasks", name)().draw(image, result)
        assert image.any()
