from __future__ import annotations

import json

import numpy as np

from edgevision.results import Classification, Detections

THREE = Detections(
    np.array([[0, 1, 2, 3], [10.126, 11, 12, 13], [5, 5, 9, 9]], np.float32),
    np.array([0.9, 0.5, 0.25], np.float32),
    np.array([1, 0, 7], np.int32),
    ("cat", "dog"),
)


def test_nothing_found():
    empty = Detections.empty(("cat",))
    assert len(empty) == 0
    assert empty.boxes_xyxy.shape == (0, 4)
    assert empty.to_dict() == {"detections": []}
    assert empty.labels == ("cat",)


def test_a_class_without_a_name_is_its_number():
    assert [THREE.label(i) for i in range(3)] == ["dog", "cat", "7"]


def test_detections_as_json():
    assert json.loads(json.dumps(THREE.to_dict()))["detections"][1] == {
        "box_xyxy": [10.13, 11, 12, 13],
        "score": 0.5,
        "class_id": 0,
        "label": "cat",
    }


def test_select_by_mask_and_by_index():
    assert THREE.select(THREE.scores > 0.4).class_ids.tolist() == [1, 0]
    assert THREE.select(np.array([2, 0], np.intp)).class_ids.tolist() == [7, 1]
    assert len(THREE.select(np.zeros(3, bool))) == 0


def test_classes_as_json():
    found = Classification(np.array([2, 0], np.int32), np.array([0.75, 0.25], np.float32), ("a",))
    assert len(found) == 2
    assert json.loads(json.dumps(found.to_dict())) == {
        "classes": [
            {"class_id": 2, "score": 0.75, "label": "2"},
            {"class_id": 0, "score": 0.25, "label": "a"},
        ]
    }
