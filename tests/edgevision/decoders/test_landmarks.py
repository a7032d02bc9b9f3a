"""Landmarks of detections: kept, written and drawn where a model gives them, absent elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevision import draw
from edgevision.results import Detections


def faces(points, boxes=((10, 20, 110, 120), (150, 20, 190, 60))):
    count = len(points)
    return Detections(
        np.array(boxes[:count], np.float32),
        np.linspace(0.9, 0.5, count, dtype=np.float32),
        np.zeros(count, np.int32),
        ("face",),
        np.array(points, np.float32),
    )


TWO = faces([[[30, 50], [90.126, 50]], [[160, 30], [180, -4]]])


def test_landmarks_are_written_as_lists_of_points():
    written = json.loads(json.dumps(TWO.to_dict()))["detections"]
    assert [d["landmarks"] for d in written] == [[[30, 50], [90.13, 50]], [[160, 30], [180, -4]]]
    assert set(written[0]) == {"box_xyxy", "score", "class_id", "label", "landmarks"}


def test_detections_without_landmarks_are_written_as_before():
    plain = Detections(TWO.boxes_xyxy, TWO.scores, TWO.class_ids, TWO.labels)
    assert plain.landmarks is None
    assert set(plain.to_dict()["detections"][0]) == {"box_xyxy", "score", "class_id", "label"}
    assert plain.select(np.array([0])).landmarks is None
    assert Detections.empty().landmarks is None


@pytest.mark.parametrize("keep", [np.array([False, True]), np.array([1])], ids=["mask", "index"])
def test_a_selection_takes_its_landmarks_along(keep):
    np.testing.assert_array_equal(TWO.select(keep).landmarks, [[[160, 30], [180, -4]]])


def test_nothing_selected_keeps_the_number_of_points():
    assert TWO.select(np.zeros(2, bool)).landmarks.shape == (0, 2, 2)


def test_a_dot_is_drawn_on_each_point():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.detections(image, faces([[[30.4, 50.6], [90, 100]]]))
    for x, y in ((30, 50), (90, 100)):
        assert tuple(image[y, x].tolist()) == draw.colour(0)
    # And nothing else inside the box.
    inside = image[25:115, 15:105].any(axis=2)
    assert 10 < inside.sum() < 80


@pytest.mark.parametrize(
    "point", [(np.nan, 5), (np.inf, 5), (-1e30, 5), (5, 1e30), (320, 5), (5, -1)], ids=str
)
def test_points_outside_the_picture_are_left_out(point):
    image, without = np.zeros((2, 240, 320, 3), np.uint8)
    found = faces([[point]])
    draw.detections(image, found)
    draw.detections(
        without, Detections(found.boxes_xyxy, found.scores, found.class_ids, found.labels)
    )
    np.testing.assert_array_equal(image, without)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (1080, 1920)], ids=str)
def test_points_are_drawn_in_pictures_of_any_size(size):
    image = np.zeros((*size, 3), np.uint8)
    draw.detections(image, faces([[[0, 0], [size[1] - 1, size[0] - 1]]]))
    assert image.any()
