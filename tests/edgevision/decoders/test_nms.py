from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.decoders._nms import nms


def plain_nms(boxes, scores, ids, iou):
    """The textbook loop: greedy by score, of equal scores the lower index first."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(ids[i] != ids[k] or plain_iou(boxes[i], boxes[k]) <= iou for k in kept):
            kept.append(i)
    return kept


def plain_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def crowd(count, seed=0, low=-300):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(low, 600, (max(1, count // 6), 2)).repeat(6, 0)[:count]
    corner = corner + rng.normal(0, 6, corner.shape)
    boxes = np.concatenate([corner, corner + rng.uniform(30, 50, corner.shape)], 1)
    scores = rng.uniform(0.3, 1, len(boxes)).astype(np.float32)
    return boxes, scores, rng.integers(0, 3, len(boxes)).astype(np.int32)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("iou", [0.3, 0.7])
def test_keeps_what_the_textbook_loop_keeps(seed, iou):
    boxes, scores, ids = crowd(180, seed)
    kept = nms(boxes, scores, ids, iou=iou)
    assert kept.tolist() == plain_nms(boxes, scores, ids, iou)


@pytest.mark.parametrize("classes", [1, 3, 20, 400])
@pytest.mark.parametrize("count", [190, 420])
def test_many_boxes_are_suppressed_as_few_are(count, classes):
    boxes, scores, _ = crowd(count, seed=classes)
    boxes, scores = boxes.round(-1), scores.round(1)  # so that many are equal, and IoUs as well
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    boxes, scores = boxes[keep], scores[keep]
    ids = np.random.default_rng(count).integers(0, classes, len(boxes))
    for iou in (0.5, 0.7):
        kept = nms(boxes, scores, ids, iou=iou, max_detections=1000)
        assert kept.tolist() == plain_nms(boxes, scores, ids, iou)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_takes_boxes_and_scores_of_any_float_dtype(dtype):
    boxes, scores, ids = crowd(30, low=0)
    boxes, scores = boxes.astype(dtype), scores.astype(dtype)
    expected = plain_nms(boxes.astype(float).tolist(), scores.tolist(), ids, 0.5)
    assert nms(boxes, scores, ids, iou=0.5).tolist() == expected


def test_agrees_with_opencvs_own_batched_suppression_where_that_is_right():
    boxes, scores, ids = crowd(120, low=0)
    rects = boxes.copy()
    rects[:, 2:] -= rects[:, :2]
    expected = cv2.dnn.NMSBoxesBatched(rects, scores, ids, 0.0, 0.5)
    assert nms(boxes, scores, ids, iou=0.5).tolist() == list(expected)


def test_classes_do_not_suppress_each_other():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.0]])
    assert nms(boxes, np.array([0.5, 0.9]), np.array([0, 1]), iou=0.5).tolist() == [1, 0]


def test_classes_suppress_each_other_when_agnostic():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.0]])
    kept = nms(boxes, np.array([0.5, 0.9]), np.array([0, 1]), iou=0.5, class_agnostic=True)
    assert kept.tolist() == [1]


def test_classes_stay_apart_where_coordinates_are_negative():
    # Shifted by the largest coordinate + 1 = 101, class 1 would land exactly on class 0.
    boxes = np.array([[0, 0, 100, 100], [-101, -101, -1, -1.0]])
    kept = nms(boxes, np.array([0.9, 0.8]), np.array([0, 1]), iou=0.5)
    assert kept.tolist() == [0, 1]


def test_equal_scores_come_in_the_order_of_their_indices():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [50, 0, 60, 10], [90, 0, 99, 9.0]])
    scores = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
    assert nms(boxes, scores, np.zeros(4, int), iou=0.5).tolist() == [0, 2, 3]


def test_an_overlap_of_exactly_the_threshold_is_kept():
    # 10×10 and 5×10 inside it: IoU is 50 / 100.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10.0]])
    assert len(nms(boxes, np.array([0.9, 0.8]), np.zeros(2, int), iou=0.5)) == 2
    assert len(nms(boxes, np.array([0.9, 0.8]), np.zeros(2, int), iou=0.49)) == 1


def test_nothing_in_nothing_out():
    kept = nms(np.empty((0, 4)), np.empty(0), np.empty(0, int), iou=0.5)
    assert kept.shape == (0,)
    assert kept.dtype == np.intp


def test_one_box_is_kept():
    assert nms(np.array([[0, 0, 1, 1.0]]), np.array([0.1]), np.array([7]), iou=0.5).tolist() == [0]


BAD = {
    "nan": [np.nan, 0, 5, 5],
    "infinite": [0, 0, np.inf, 5],
    "negative infinite": [-np.inf, 0, 5, 5],
    "no width": [5, 0, 5, 5],
    "no height": [0, 5, 5, 5],
    "turned around": [5, 5, 0, 0],
    "beyond all pictures": [0, 0, 1e30, 5],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_unusable_boxes_are_dropped_and_do_not_disturb_others(bad):
    good = [[0, 0, 10, 10], [40, 40, 50, 50]]
    boxes = np.array([bad, *good], np.float32)
    kept = nms(boxes, np.array([0.99, 0.5, 0.6]), np.array([0, 1, 2]), iou=0.5)
    assert kept.tolist() == [2, 1]


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, 0.0, -0.5])
def test_boxes_with_unusable_scores_are_dropped(score):
    boxes = np.array([[0, 0, 10, 10], [40, 40, 50, 50.0]])
    assert nms(boxes, np.array([score, 0.5]), np.zeros(2, int), iou=0.5).tolist() == [1]


def test_only_unusable_boxes_leave_nothing():
    assert nms(np.full((3, 4), np.nan), np.ones(3), np.zeros(3, int), iou=0.5).shape == (0,)


def test_the_best_detections_are_kept_up_to_the_maximum():
    boxes = np.arange(10)[:, None] * 20 + np.array([[0, 0, 10, 10.0]])
    scores = np.linspace(0.1, 0.9, 10)
    kept = nms(boxes, scores, np.zeros(10, int), iou=0.5, max_detections=3)
    assert kept.tolist() == [9, 8, 7]


def test_only_the_best_candidates_enter_when_there_are_thousands():
    boxes = np.arange(5000)[:, None] * 20 + np.array([[0, 0, 10, 10.0]])
    scores = np.random.default_rng(0).permutation(5000) / 5000 + 0.0001
    kept = nms(boxes, scores, np.zeros(5000, int), iou=0.5, max_detections=9999, max_candidates=100)
    assert kept.tolist() == np.argsort(-scores)[:100].tolist()


def test_the_cap_takes_the_lower_indices_of_equal_scores():
    boxes = np.arange(2000)[:, None] * 20 + np.array([[0, 0, 10, 10.0]])
    scores = np.full(2000, 0.5)
    scores[1500] = 0.9
    kept = nms(boxes, scores, np.zeros(2000, int), iou=0.5, max_candidates=5)
    assert kept.tolist() == [1500, 0, 1, 2, 3]


def test_the_input_is_not_changed():
    boxes, scores, ids = crowd(60)
    before = boxes.copy(), scores.copy(), ids.copy()
    nms(boxes, scores, ids, iou=0.5)
    for now, then in zip((boxes, scores, ids), before, strict=True):
        np.testing.assert_array_equal(now, then)
