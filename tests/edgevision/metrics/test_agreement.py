from __future__ import annotations

import json

import numpy as np
import pytest

from edgevision.metrics.agreement import (
    ClassificationAgreement,
    DetectionAgreement,
    match,
    same_result,
)
from edgevision.metrics.boxes import iou_matrix
from edgevision.results import Classification, Detections

EMPTY = Detections.empty()


def boxes(*found):
    """Detections from (left, top, right, bottom, score, class)."""
    values = np.array(found, np.float64).reshape(-1, 6)
    return Detections(
        values[:, :4].astype(np.float32),
        values[:, 4].astype(np.float32),
        values[:, 5].astype(np.int32),
        ("cat", "dog", "owl"),
    )


def classes(*found):
    """A classification from (class, score)."""
    ids, scores = zip(*found, strict=True) if found else ((), ())
    return Classification(np.array(ids, np.int32), np.array(scores, np.float32), ("a", "b", "c"))


CAT = (0, 0, 10, 10, 0.9, 0)
DOG = (50, 50, 60, 60, 0.8, 1)


def agreement(*pairs):
    added = DetectionAgreement()
    for reference, candidate in pairs:
        added.add(reference, candidate)
    return added


def test_iou_matrix_against_hand_worked_overlaps():
    a = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [5, 5, 5, 9]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, np.nan, 10]], np.float32)
    expected = [[1, 50 / 150, 0], [0, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(iou_matrix(a, b), expected)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_iou_matrix_of_nothing(shape):
    a, b = (np.ones((n, 4), np.float32) for n in shape)
    assert iou_matrix(a, b).shape == shape


def test_equal_results_agree_fully():
    added = agreement((boxes(CAT, DOG), boxes(CAT, DOG)))
    assert (added.value, added.f1, added.precision, added.recall) == (1, 1, 1, 1)
    assert (added.samples, added.frames) == (2, 1)


def test_counts_add_up_over_frames_before_they_become_f1():
    added = agreement(
        (boxes(CAT, DOG), boxes(CAT)),  # one of two found
        (boxes(CAT), boxes(CAT, DOG)),  # one too many
        (EMPTY, EMPTY),
        (EMPTY, boxes(DOG)),
    )
    # 2 matched, 3 in the reference, 4 in the candidate.
    assert added.precision == pytest.approx(2 / 4)
    assert added.recall == pytest.approx(2 / 3)
    assert added.f1 == pytest.approx(4 / 7)
    assert (added.samples, added.frames) == (3, 4)


def test_other_classes_do_not_match():
    assert agreement((boxes(CAT), boxes((0, 0, 10, 10, 0.9, 1)))).f1 == 0


@pytest.mark.parametrize(("right", "matched"), [(5, 1), (4.9, 0)])
def test_boxes_match_from_an_overlap_of_a_half(right, matched):
    added = agreement((boxes(CAT), boxes((0, 0, right, 10, 0.9, 0))))
    assert added.counts[0.35].matched == matched


def test_one_reference_matches_one_candidate_only():
    added = agreement((boxes(CAT), boxes(CAT, (1, 0, 11, 10, 0.8, 0))))
    assert (added.precision, added.recall) == (0.5, 1)


def test_the_candidate_with_the_best_score_chooses_first_and_takes_the_best_overlap():
    reference = boxes((0, 0, 10, 10, 0.9, 0), (3, 0, 13, 10, 0.8, 0))
    # The better-scored second candidate overlaps the second reference best; the first one then
    # still reaches the first reference.
    candidate = boxes((1, 0, 11, 10, 0.5, 0), (3, 0, 13, 10, 0.7, 0))
    assert match(reference, candidate) == [(1, 1), (0, 0)]


def test_scores_count_from_each_threshold_on_both_sides():
    sure, weak = (0, 0, 10, 10, 0.35, 0), (50, 50, 60, 60, 0.3, 1)
    added = agreement((boxes(sure, weak), boxes((0, 0, 10, 10, 0.34, 0), weak)))
    assert added.recall == 0
    assert added.samples == 1  # 0.35 itself counts, although float32 cannot hold it exactly
    assert added.counts[0.25].f1 == 1
    assert added.counts[0.5].f1 == 1  # nothing on either side


def test_nothing_at_all_is_full_agreement_on_no_samples():
    added = agreement((EMPTY, EMPTY))
    assert (added.value, added.samples) == (1, 0)
    assert DetectionAgreement().value == 1


def test_boxes_that_are_not_finite_match_nothing():
    odd = (np.nan, 0, 10, 10, 0.9, 0)
    assert agreement((boxes(odd), boxes(odd))).f1 == 0


def test_a_detection_agreement_can_be_written_as_json():
    data = json.loads(json.dumps(agreement((boxes(CAT, DOG), boxes(CAT))).to_dict()))
    assert data["metric"] == "f1"
    assert data["value"] == pytest.approx(2 / 3)
    assert data["samples"] == 2
    assert data["f1_at"] == pytest.approx({"0.25": 2 / 3, "0.35": 2 / 3, "0.5": 2 / 3})


def test_classifications_agree_by_their_best_class():
    added = ClassificationAgreement()
    assert added.value == 1
    added.add(classes((0, 0.9), (1, 0.1)), classes((0, 0.4), (2, 0.3)))
    added.add(classes((0, 0.9), (1, 0.1)), classes((1, 0.6), (0, 0.4)))
    added.add(classes((0, 0.9)), classes())
    added.add(classes(), classes())
    assert json.loads(json.dumps(added.to_dict())) == {
        "metric": "top1",
        "value": 0.5,
        "samples": 4,
        "frames": 4,
        "classes": 2,
        "commonest": "a",
        "commonest_frames": 3,
    }


def test_no_classification_at_all_has_no_commonest_class():
    found = ClassificationAgreement().to_dict()
    assert (found["classes"], found["commonest"], found["commonest_frames"]) == (0, "", 0)


def test_the_classes_counted_are_those_of_the_reference():
    added = ClassificationAgreement()
    for _ in range(3):
        added.add(classes(), classes((2, 0.9)))
    added.add(classes((7, 0.9)), classes())  # an id without a name
    found = added.to_dict()
    assert (found["classes"], found["commonest"], found["commonest_frames"]) == (2, "", 3)
    assert set(added.classes) == {"", "7"}


def same(reference, candidate, **options):
    return same_result(reference, candidate, 0.02, **options)


@pytest.mark.parametrize(
    "candidate",
    [
        boxes(CAT, DOG),
        boxes(DOG, CAT),
        boxes((0, 0, 10, 9.1, 0.9, 0), DOG),  # IoU 0.91
        boxes((0, 0, 10, 10, 0.88, 0), DOG),
        boxes(CAT, DOG, (80, 80, 90, 90, 0.27, 2)),  # within 0.02 of the threshold of 0.25
    ],
    ids=["equal", "other order", "close box", "close score", "one more near the threshold"],
)
def test_the_golden_check_passes(candidate):
    assert same(boxes(CAT, DOG), candidate, threshold=0.25) == []


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (boxes(CAT), ["dog 0.800 at (50, 50, 60, 60): missing"]),
        (
            boxes(CAT, DOG, (80, 80, 90, 90, 0.28, 2)),
            ["owl 0.280 at (80, 80, 90, 90): not expected"],
        ),
        (boxes((0, 0, 10, 10, 0.87, 0), DOG), ["cat 0.900 at (0, 0, 10, 10): score 0.870 now"]),
        (
            boxes((0, 0, 10, 8.9, 0.9, 0), DOG),
            ["cat 0.900 at (0, 0, 10, 10): missing", "cat 0.900 at (0, 0, 10, 9): not expected"],
        ),
    ],
    ids=["missing", "one more", "score", "box"],
)
def test_the_golden_check_says_what_differs(candidate, said):
    assert same(boxes(CAT, DOG), candidate, threshold=0.25) == said


def test_the_golden_check_fails_on_a_score_that_is_not_a_number():
    assert same(boxes(CAT), boxes((0, 0, 10, 10, np.nan, 0)))


def test_the_golden_check_passes_on_nothing_found():
    assert same(EMPTY, EMPTY) == []


@pytest.mark.parametrize(
    ("candidate", "fine"),
    [
        (classes((0, 0.9), (1, 0.06)), True),
        (classes((0, 0.89), (2, 0.05)), True),
        (classes((1, 0.9), (0, 0.06)), False),
        (classes((0, 0.8), (1, 0.06)), False),
        (classes((0, 0.9), (2, 0.01)), False),  # class 1 fell from 0.06 to 0.01 or less
        (classes(), False),
    ],
)
def test_the_golden_check_of_classes(candidate, fine):
    assert (same(classes((0, 0.9), (1, 0.06)), candidate) == []) == fine


def test_two_best_classes_that_nearly_tie_may_change_places():
    reference, candidate = classes((0, 0.46), (1, 0.45)), classes((1, 0.46), (0, 0.45))
    assert same(reference, candidate) == []


def test_results_of_different_tasks_are_not_the_same():
    assert same(EMPTY, classes((0, 1.0))) == ["a Classification where a Detections was expected"]
