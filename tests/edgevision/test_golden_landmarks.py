"""The golden check of detections that carry landmarks."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from edgevision.golden import compare, golden_record
from edgevision.results import Detections

IMAGE = np.zeros((2, 2, 3), np.uint8)
LARGE, SMALL = (10, 10, 90, 110), (200, 20, 220, 36)  # longer sides 100 and 20


class Stub:
    """Stands in for a loaded model: gives the result that it was told."""

    labels = ("face",)
    executed = SimpleNamespace(compute="fp32")

    def __init__(self, result, precision="fp32"):
        self.variant = SimpleNamespace(precision=precision)
        examined = (result, {"out": np.ones(2, np.float32)})
        self.pipeline = SimpleNamespace(examine=lambda image: examined, least_score=0.25)


def faces(*found):
    """Faces of (box, how far the second of two landmarks is moved to the right)."""
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = np.stack([centres, centres], axis=1)
    points[:, 1, 0] += [moved for _, moved in found]
    scores, ids = np.full(len(found), 0.9, np.float32), np.zeros(len(found), np.int32)
    return Detections(boxes, scores, ids, Stub.labels, points)


def plain(result):
    return replace(result, landmarks=None)


def differences(then, now, precision="fp32"):
    record = json.loads(json.dumps(golden_record(Stub(then), IMAGE)))  # as bundles are written
    return compare(Stub(now, precision), IMAGE, record)


@pytest.mark.parametrize(
    ("box", "moved", "precision", "fine"),
    [
        (LARGE, 0, "fp32", True),
        (LARGE, 1.9, "fp32", True),  # 2 % of 100 pixels
        (LARGE, 2.1, "fp32", False),
        (LARGE, 4.9, "fp16", True),
        (LARGE, 5.1, "fp16", False),
        (LARGE, 9.9, "int8", True),
        (LARGE, -10.1, "int8", False),
        (SMALL, 0.9, "fp32", True),  # a pixel is allowed anyway
        (SMALL, 1.1, "fp32", False),
    ],
)
def test_landmarks_agree_within_the_tolerance_in_sides_of_their_box(box, moved, precision, fine):
    found = differences(faces((box, 0)), faces((box, moved)), precision)
    assert (found == []) is fine, found


def test_a_difference_says_which_face_how_far_and_how_far_it_may_be():
    then = faces((SMALL, 0), (LARGE, 0))
    assert differences(then, faces((LARGE, 12), (SMALL, 0))) == [
        "face 0.900 at (10, 10, 90, 110): a landmark 12.0 pixels away, at most 2.0 expected"
    ]


def test_missing_landmarks_are_a_difference():
    then = faces((LARGE, 0))
    fewer = replace(then, landmarks=then.landmarks[:, :1])
    for now in (plain(then), fewer):
        assert differences(then, now) == ["face 0.900 at (10, 10, 90, 110): landmarks missing"]


def test_a_record_without_landmarks_asks_for_none():
    now = faces((LARGE, 0))
    assert differences(plain(now), now) == []
    assert differences(faces(), faces()) == []


def test_a_face_that_only_one_side_has_is_told_once():
    assert differences(faces((LARGE, 0)), faces()) == ["face 0.900 at (10, 10, 90, 110): missing"]
