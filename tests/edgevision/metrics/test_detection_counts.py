from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.metrics.detection_counts import DetectionCounts
from edgevision.metrics.truth import DetectionTruth, class_names
from edgevision.results import Detections

LABELS = ("cat", "dog", "owl")
A, B, C = (0, 0, 10, 10), (50, 50, 60, 60), (80, 80, 90, 90)


def found(*rows):
    """Detections from (box, score, class)."""
    return Detections(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
        np.array([r[1] for r in rows], np.float32),
        np.array([r[2] for r in rows], np.int32),
        LABELS,
    )


def real(*rows, ignore=None):
    """Truth from (box, class)."""
    return DetectionTruth.of([r[0] for r in rows], [r[1] for r in rows], ignore)


def counted(truth, result, **options):
    counts = DetectionCounts(LABELS, **options)
    counts.add(truth, result)
    return counts.to_dict()


def test_hand_worked_numbers_over_all_and_by_class():
    # Cats: two objects, one found, nothing else. Dogs: one object, found, and one invented.
    truth = real((A, 0), (B, 0), (C, 1))
    said = counted(truth, found((A, 0.9, 0), (C, 0.8, 1), (A, 0.7, 1)))
    assert (said["precision"], said["recall"]) == (2 / 3, 2 / 3)
    assert said["value"] == said["f1"] == pytest.approx(2 / 3)
    cat, dog = said["per_class"]["cat"], said["per_class"]["dog"]
    assert (cat["precision"], cat["recall"], cat["f1"]) == (1, 0.5, pytest.approx(2 / 3))
    assert (dog["precision"], dog["recall"], dog["f1"]) == (0.5, 1, pytest.approx(2 / 3))
    assert (dog["matched"], dog["objects"], dog["detections"]) == (1, 1, 2)
    assert (said["samples"], said["images"], said["metric"]) == (3, 1, "f1")
    assert json.loads(json.dumps(said)) == said


@pytest.mark.parametrize(("score", "matched"), [(0.35, 1), (0.36, 0), (0.2, 1)])
def test_a_score_of_exactly_the_threshold_counts(score, matched):
    assert counted(real((A, 0)), found((A, 0.35, 0)), score=score)["matched"] == matched


@pytest.mark.parametrize(("bottom", "matched"), [(20, 1), (20.1, 0)])
def test_an_overlap_of_exactly_one_half_matches(bottom, matched):
    assert counted(real((A, 0)), found(((0, 0, 10, bottom), 0.9, 0)))["matched"] == matched


def test_one_object_is_found_once():
    said = counted(real((A, 0)), found((A, 0.9, 0), (A, 0.8, 0)))
    assert (said["matched"], said["detections"], said["precision"]) == (1, 2, 0.5)


def test_the_right_place_with_the_wrong_class_is_both_missed_and_invented():
    said = counted(real((A, 0)), found((A, 0.9, 1)))
    assert (said["matched"], said["precision"], said["recall"], said["f1"]) == (0, 0, 0, 0)


def test_ignored_regions_count_neither_for_nor_against():
    crowd = real((A, 0), ((40, 40, 100, 100), 0), ignore=[False, True])
    said = counted(crowd, found((A, 0.9, 0), (B, 0.9, 0), (C, 0.9, 0)))
    assert (said["matched"], said["objects"], said["detections"]) == (1, 1, 1)
    # … of their own class only, and only where at least half of the detection lies in them.
    assert counted(crowd, found((B, 0.9, 1)))["detections"] == 1
    assert counted(crowd, found(((0, 40, 100, 100), 0.9, 0)))["detections"] == 0
    assert counted(crowd, found(((0, 0, 100, 100), 0.9, 0)))["detections"] == 1


def test_classes_that_the_data_does_not_label_are_left_out():
    said = counted(real((A, 0)), found((A, 0.9, 0), (B, 0.9, 2)), classes={0, 1})
    assert (said["precision"], set(said["per_class"])) == (1, {"cat"})
    assert counted(real((A, 0)), found((A, 0.9, 0), (B, 0.9, 2)))["precision"] == 0.5


def test_without_objects_and_detections_there_is_no_number():
    counts = DetectionCounts(LABELS)
    counts.add(real(), Detections.empty(LABELS))
    assert math.isnan(counts.value)
    said = counts.to_dict()
    assert (said["value"], said["samples"], said["images"], said["per_class"]) == (None, 0, 1, {})


def test_a_box_without_area_is_a_false_one():
    said = counted(
        real((A, 0), (B, 0), ignore=[False, True]),
        found(((5, 5, 5, 5), 0.9, 0), ((np.nan, 0, 5, 5), 0.8, 0)),
    )
    assert (said["matched"], said["detections"]) == (0, 2)


BOX = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.integers(1, 30)).map(
    lambda v: (v[0], v[1], v[0] + v[2], v[1] + v[3])
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(BOX, st.integers(0, 2)), max_size=6),
    st.lists(st.tuples(BOX, st.floats(0, 1, width=32), st.integers(0, 2)), max_size=8),
)
def test_classes_add_up_to_the_total_and_nothing_is_matched_twice(objects, detections):
    said = counted(real(*objects), found(*detections))
    for what in ("matched", "objects", "detections"):
        assert sum(c[what] for c in said["per_class"].values()) == said[what]
    assert said["matched"] <= min(said["objects"], said["detections"])
    assert said["objects"] == len(objects)


@pytest.mark.parametrize(
    ("boxes", "ids", "ignore"),
    [
        ([A], [0, 1], None),
        ([A], [0], [True, False]),
        ([(0, 0, 0, 5)], [0], None),
        ([(0, 0, math.nan, 5)], [0], None),
    ],
)
def test_a_truth_that_cannot_be_is_refused(boxes, ids, ignore):
    with pytest.raises(ValueError, match=r"box|classes"):
        DetectionTruth.of(boxes, ids, ignore)


def test_a_truth_without_objects():
    truth = DetectionTruth.of([], [])
    assert (len(truth), truth.boxes_xyxy.shape, truth.ignore.dtype) == (0, (0, 4), np.bool_)


def test_class_names_are_different_keys():
    assert class_names([0, 1, 2, 7], ("cat", "dog", "cat")) == {
        0: "cat (0)",
        1: "dog",
        2: "cat (2)",
        7: "7",
    }
