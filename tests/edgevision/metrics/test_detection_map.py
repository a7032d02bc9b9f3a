from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from edgevision.errors import DependencyError
from edgevision.metrics.detection_map import DetectionMap
from edgevision.metrics.truth import DetectionTruth
from edgevision.results import Detections

LABELS = ("cat", "dog", "owl")
EMPTY = Detections.empty(LABELS)
pytest.importorskip("pycocotools")


def found(*rows):
    """Detections from (left, top, right, bottom, score, class)."""
    values = np.array(rows, np.float64).reshape(-1, 6)
    boxes, scores, ids = values[:, :4], values[:, 4], values[:, 5]
    return Detections(
        boxes.astype(np.float32), scores.astype(np.float32), ids.astype(np.int32), LABELS
    )


def real(*rows, ignore=None):
    """Truth from (left, top, right, bottom, class)."""
    values = np.array(rows, np.float64).reshape(-1, 5)
    return DetectionTruth.of(values[:, :4], values[:, 4], ignore)


def measured(*pictures):
    added = DetectionMap(LABELS)
    for truth, result in pictures:
        added.add(truth, result)
    return added


CAT = (0, 0, 10, 10)
FAR = (100, 100, 120, 120)


def test_finding_everything_exactly_is_1():
    added = measured(
        (real((*CAT, 0), (*FAR, 1)), found((*CAT, 0.9, 0), (*FAR, 0.3, 1))), (real(), EMPTY)
    )
    said = added.to_dict()
    assert (said["map50"], said["map50_95"]) == (pytest.approx(1), pytest.approx(1))
    assert (said["images"], said["objects"], said["metric"]) == (2, 2, "map50_95")
    assert said["value"] == said["map50_95"] == added.value
    assert said["per_class"]["dog"] == {
        "ap50": pytest.approx(1),
        "ap50_95": pytest.approx(1),
        "objects": 1,
    }
    assert set(said["per_class"]) == {"cat", "dog"}  # there is no owl to find
    assert json.loads(json.dumps(said)) == said


def test_a_false_detection_above_the_true_one_halves_the_precision():
    # Precision at every recall is 1/2.
    added = measured((real((*CAT, 0)), found((*FAR, 0.9, 0), (*CAT, 0.8, 0))))
    assert added.map50 == pytest.approx(0.5)


def test_a_false_detection_below_the_true_one_costs_nothing():
    added = measured((real((*CAT, 0)), found((*FAR, 0.7, 0), (*CAT, 0.8, 0))))
    assert added.map50 == pytest.approx(1)


def test_half_the_objects_are_51_of_the_101_recalls():
    # Precision 1 at the recalls 0, 0.01 … 0.50, then 0.
    added = measured((real((*CAT, 0), (*FAR, 0)), found((*CAT, 0.9, 0))))
    assert added.map50 == pytest.approx(51 / 101)


def test_an_iou_of_two_thirds_passes_four_of_the_ten_thresholds():
    # 10×10 against 10×15: 100 / 150; so 0.50, 0.55, 0.60 and 0.65.
    added = measured((real((*CAT, 0)), found((0, 0, 10, 15, 0.9, 0))))
    assert added.map50 == pytest.approx(1)
    assert added.map50_95 == pytest.approx(0.4)


def test_an_iou_of_exactly_one_half_is_a_match():
    added = measured((real((*CAT, 0)), found((0, 0, 10, 20, 0.9, 0))))
    assert added.map50_95 == pytest.approx(0.1)


def test_a_second_detection_of_one_object_is_false():
    pictures = [(real((*CAT, 0)), found((*CAT, 0.9, 0), (*CAT, 0.8, 0)))]
    assert measured(*pictures).map50 == pytest.approx(1)
    # … and stands above the other picture's true one: 1 up to recall 0.5, then 2/3.
    pictures.append((real((*CAT, 0)), found((*CAT, 0.7, 0))))
    assert measured(*pictures).map50 == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_the_mean_is_over_classes_with_objects():
    added = measured((real((*CAT, 0), (*FAR, 1)), found((*CAT, 0.9, 0), (*FAR, 0.9, 2))))
    assert added.map50 == pytest.approx(
        0.5
    )  # cat 1, dog 0; the owl that was found has no class to count in
    assert set(added.to_dict()["per_class"]) == {"cat", "dog"}


def test_an_ignored_object_need_not_be_found_and_what_is_in_it_counts_for_nothing():
    crowd = real((*CAT, 0), (100, 100, 200, 200, 0), ignore=[False, True])
    assert measured((crowd, found((*CAT, 0.5, 0)))).map50 == pytest.approx(1)
    inside = found((*FAR, 0.9, 0), (130, 130, 150, 150, 0.9, 0), (*CAT, 0.5, 0))
    added = measured((crowd, inside))
    assert added.map50 == pytest.approx(1)
    assert added.samples == 1


def test_only_the_best_hundred_of_a_picture_and_class_count():
    noise = [(*FAR, 0.9, 0)] * 100
    assert measured((real((*CAT, 0)), found(*noise, (*CAT, 0.8, 0)))).map50 == 0
    assert measured((real((*CAT, 0)), found(*noise[1:], (*CAT, 0.8, 0)))).map50 > 0


@pytest.mark.parametrize(
    "pictures",
    [
        [],
        [(real(), EMPTY)],
        [(real(), found((*CAT, 0.9, 0)))],
        [(real((*CAT, 0), ignore=[True]), found((*CAT, 0.9, 0)))],
    ],
)
def test_without_objects_there_is_no_number(pictures):
    added = measured(*pictures)
    assert math.isnan(added.value)
    assert math.isnan(added.map50)
    said = added.to_dict()
    assert (said["value"], said["map50"], said["samples"], said["per_class"]) == (None, None, 0, {})
    assert said["images"] == len(pictures)


def test_nothing_found_is_0():
    assert measured((real((*CAT, 0)), EMPTY)).value == 0


@pytest.mark.parametrize("bad", [(np.nan, 0, 10, 10), (0, 0, np.inf, 10), (10, 10, 0, 0)])
def test_a_detection_without_a_sound_box_is_a_false_one(bad):
    added = measured((real((*CAT, 0)), found((*bad, 0.9, 0), (*CAT, 0.8, 0))))
    assert added.map50 == pytest.approx(0.5)


def test_numbers_change_when_more_is_added():
    added = measured((real((*CAT, 0)), found((*CAT, 0.9, 0))))
    assert added.value == pytest.approx(1)
    added.add(real((*CAT, 0)), EMPTY)
    assert added.map50 == pytest.approx(51 / 101)


def test_nothing_is_printed(capfd):
    measured((real((*CAT, 0)), found((*CAT, 0.9, 0)))).to_dict()
    assert capfd.readouterr() == ("", "")


def test_a_missing_pycocotools_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(DependencyError, match=r"edgevision\[convert\]"):
        DetectionMap()


# The definition once more, slowly and without pycocotools: cocodataset.org, "Detection Evaluation".


def overlap(box, other, crowd):
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    common = max(width, 0) * max(height, 0)
    area, area_2 = ((b[2] - b[0]) * (b[3] - b[1]) for b in (box, other))
    return common / (area if crowd else area + area_2 - common)


def judged(truth, result, class_id, threshold):
    """Of one picture and class: (score, right) of each detection that counts."""
    objects = [
        (b, bool(g))
        for b, c, g in zip(truth.boxes_xyxy.tolist(), truth.class_ids, truth.ignore, strict=True)
        if c == class_id
    ]
    order = sorted(
        (i for i in range(len(result)) if result.class_ids[i] == class_id),
        key=lambda i: -result.scores[i],
    )[:100]
    taken, rows = set(), []
    for i in order:
        box = result.boxes_xyxy[i].tolist()
        reaches = [
            (overlap(box, other, crowd), n)
            for n, (other, crowd) in enumerate(objects)
            if n not in taken and overlap(box, other, crowd) >= threshold
        ]
        proper = [r for r in reaches if not objects[r[1]][1]]
        if proper:
            taken.add(max(proper)[1])
            rows.append((float(result.scores[i]), True))
        elif not reaches:
            rows.append((float(result.scores[i]), False))
    return rows


def average_precision(pictures, class_id, threshold):
    rows = [row for t, r in pictures for row in judged(t, r, class_id, threshold)]
    rows.sort(key=lambda row: -row[0])
    total = sum(int(((t.class_ids == class_id) & ~t.ignore).sum()) for t, _ in pictures)
    if total == 0:
        return None
    curve, right = [], 0
    for n, (_, is_right) in enumerate(rows, 1):
        right += is_right
        curve.append((right / total, right / n))
    # COCO's tools compare in floating point with these numbers, of which some lie a last bit above n/100.
    recalls = np.linspace(0, 1, 101).tolist()
    reached = [max((p for r, p in curve if r >= recall), default=0.0) for recall in recalls]
    return sum(reached) / 101


def random_pictures(seed):
    rng = np.random.default_rng(seed)
    pictures = []
    for _ in range(int(rng.integers(1, 9))):
        n = int(rng.integers(0, 7))
        corner = rng.uniform(0, 60, (n, 2))
        boxes = np.hstack([corner, corner + rng.uniform(8, 40, (n, 2))])
        ids = rng.integers(0, 3, n)
        truth = DetectionTruth.of(boxes, ids, rng.random(n) < 0.15)
        moved = np.repeat(boxes, 2, axis=0) + rng.normal(0, 2.5, (2 * n, 4))
        moved = moved[rng.random(2 * n) < 0.7]
        kept = np.repeat(ids, 2)[: len(moved)]
        noise = rng.uniform(0, 60, (4, 2))
        moved = np.vstack([moved, np.hstack([noise, noise + rng.uniform(5, 30, (4, 2))])])
        classes = np.concatenate([kept, rng.integers(0, 3, 4)]).astype(np.int32)
        scores = rng.permutation(len(moved)) / len(moved) + rng.uniform(0, 1e-3)
        pictures.append(
            (
                truth,
                Detections(moved.astype(np.float32), scores.astype(np.float32), classes, LABELS),
            )
        )
    return pictures


@pytest.mark.parametrize("seed", range(25))
def test_it_agrees_with_the_definition_worked_out_slowly(seed):
    pictures = random_pictures(seed)
    said = measured(*pictures).to_dict()
    expected = {}
    for class_id, label in enumerate(LABELS):
        values = [average_precision(pictures, class_id, t / 100) for t in range(50, 100, 5)]
        if values[0] is not None:
            expected[label] = values
    assert set(said["per_class"]) == set(expected)
    for label, values in expected.items():
        assert said["per_class"][label]["ap50"] == pytest.approx(values[0], abs=1e-9)
        assert said["per_class"][label]["ap50_95"] == pytest.approx(np.mean(values), abs=1e-9)
    if expected:
        assert said["map50"] == pytest.approx(np.mean([v[0] for v in expected.values()]), abs=1e-9)
        assert said["value"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
