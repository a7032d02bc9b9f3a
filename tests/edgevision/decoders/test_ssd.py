from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest

from edgevision import presets
from edgevision.decoders.ssd import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(300, 300)

#: mobilenetv1_ssd_config.py of pytorch-ssd: cells a side, pixels a cell, smallest and next box.
SPECS = [(19, 16, 60, 105), (10, 32, 105, 150), (5, 64, 150, 195), (3, 100, 195, 240), (2, 150, 240, 285), (1, 300, 285, 330)]  # fmt: skip


def published_priors():
    """The generation of priors as published, in fractions of the picture, in plain loops."""
    priors = []
    for cells, shrinkage, low, high in SPECS:
        scale = 300 / shrinkage
        for j, i in itertools.product(range(cells), repeat=2):
            x, y = (i + 0.5) / scale, (j + 0.5) / scale
            priors.append((x, y, low / 300, low / 300))
            between = math.sqrt(high * low) / 300
            priors.append((x, y, between, between))
            for ratio in (2, 3):
                root = math.sqrt(ratio)
                priors.append((x, y, low / 300 * root, low / 300 / root))
                priors.append((x, y, low / 300 / root, low / 300 * root))
    return np.clip(np.array(priors), 0, 1)


def raw(seed=0, classes=21, loud=60):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (1, 3000, classes)).astype(np.float32)
    logits[0, :, 0] += 6
    at = rng.choice(3000, loud, replace=False)
    logits[0, at, rng.integers(1, classes, loud)] += 8
    return {"scores": logits, "boxes": rng.normal(0, 1, (1, 3000, 4)).astype(np.float32)}


def published(outputs, score, iou):
    """Corners in pixels by the published decoding; each class suppressed by itself, by OpenCV."""
    logits = outputs["scores"][0].astype(float)
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    found = []
    boxes = []
    for (px, py, pw, ph), (x, y, w, h) in zip(published_priors(), outputs["boxes"][0].astype(float), strict=True):  # fmt: skip
        cx, cy = x * 0.1 * pw + px, y * 0.1 * ph + py
        w, h = math.exp(w * 0.2) * pw, math.exp(h * 0.2) * ph
        boxes.append([300 * (cx - w / 2), 300 * (cy - h / 2), 300 * w, 300 * h])
    boxes = np.array(boxes)
    for class_id in range(1, logits.shape[1]):
        fine = np.flatnonzero(probabilities[:, class_id] >= score)
        scores = probabilities[fine, class_id]
        for k in cv2.dnn.NMSBoxes(boxes[fine].tolist(), scores.tolist(), 0.0, iou):
            x, y, w, h = boxes[fine[k]]
            found.append((scores[k], class_id - 1, np.clip([x, y, x + w, y + h], 0, 300)))
    return sorted(found, key=lambda f: -f[0])


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_published_priors_decoding_and_suppression(seed):
    outputs = raw(seed)
    expected = published(outputs, 0.4, 0.45)
    found = plugin().decode(outputs, 0, SAME)
    assert len(found) == len(expected) > 20
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-5)
    assert found.class_ids.tolist() == [e[1] for e in expected]
    np.testing.assert_allclose(found.boxes_xyxy, [e[2] for e in expected], atol=2e-3)


def test_the_presets_priors_are_those_of_the_decoder():
    params = presets.load("ssd-mobilenet-raw")["output"]["params"]
    outputs = raw()
    ours, theirs = (plugin(**p).decode(outputs, 0, SAME) for p in (params, {"score": 0.4}))
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)


def test_a_hand_worked_anchor():
    logits, boxes = np.zeros((1, 4, 2), np.float32), np.zeros((1, 4, 4), np.float32)
    logits[0, :, 0] = 20
    # Cell (row 1, column 0) of 2×2 in 64×64: centre (16, 48), prior 20×10.
    logits[0, 2] = 0, math.log(3)
    boxes[0, 2] = 1, -2, math.log(2) / 0.2, 0
    levels = [{"cells": 2, "boxes": [[20, 10]]}]
    found = plugin(levels=levels).decode({"s": logits, "b": boxes}, 0, Transform.identity(64, 64))
    # Centre (16 + 1·0.1·20, 48 − 2·0.1·10) = (18, 46), size 40×10; score 3/4.
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 41, 38, 51]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.75], rtol=1e-6)
    assert found.class_ids.tolist() == [0]


def test_tensorflows_order_scales_and_sigmoid_are_read():
    logits, boxes = np.full((1, 4, 3), -9, np.float32), np.zeros((1, 4, 4), np.float32)
    logits[0, 2] = 5, -9, math.log(3)  # sigmoid: the background takes nothing from the others
    boxes[0, 2] = -2, 1, 0, math.log(2) / 0.2
    params = {"levels": [{"cells": [2, 2], "boxes": [[20, 10]]}], "order": "yx"}
    decoder = plugin(activation="sigmoid", **params)
    found = decoder.decode({"s": logits, "b": boxes}, 0, Transform.identity(64, 64))
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 41, 38, 51]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.75], rtol=1e-6)
    assert found.class_ids.tolist() == [1]


@pytest.mark.parametrize(("background", "expected"), [("first", 1), ("last", 0), ("none", 0)])
def test_the_background_may_be_first_or_last_or_none(background, expected):
    scores, boxes = np.zeros((1, 9, 3), np.float32), np.zeros((1, 9, 4), np.float32)
    boxes[0, 4] = 0.1, 0.2, 0.5, 0.6
    if background == "first":
        scores[0, 4, 2] = 0.9
    else:
        scores[0, 4, 0] = 0.9
    decoder = plugin(background=background, boxes="corners", activation="none")
    found = decoder.decode({"s": scores, "b": boxes}, 0, SAME)
    assert found.class_ids.tolist() == [expected]
    np.testing.assert_allclose(found.boxes_xyxy, [[30, 60, 150, 180]], rtol=1e-6)


def test_softmax_without_a_background_is_exact():
    logits, boxes = np.zeros((1, 3, 5), np.float32), np.zeros((1, 3, 4), np.float32)
    boxes[0] = 0.1, 0.2, 0.5, 0.6
    logits[0, 1, 3] = math.log(12)
    decoder = plugin(background="none", boxes="corners")
    found = decoder.decode({"s": logits, "b": boxes}, 0, SAME)
    np.testing.assert_allclose(found.scores, [0.75], rtol=1e-6)


def test_an_anchor_counts_for_each_class_that_reaches_the_score():
    scores, boxes = np.zeros((1, 9, 4), np.float32), np.zeros((1, 9, 4), np.float32)
    boxes[0, 4] = 0.1, 0.2, 0.5, 0.6
    scores[0, 4] = 0, 0.5, 0.1, 0.4
    decoder = plugin(boxes="corners", activation="none", outputs=["s", "b"])
    assert decoder.decode({"s": scores, "b": boxes}, 0, SAME).class_ids.tolist() == [0, 2]


def test_only_classes_above_the_threshold_pass_at_any_threshold():
    """The short cut that looks at promising anchors only must not lose one."""
    outputs = raw(4, loud=400)
    probabilities = np.exp(outputs["scores"][0].astype(float))
    probabilities /= probabilities.sum(1, keepdims=True)
    for score in (0.1, 0.3, 0.5, 0.9):
        count = (probabilities[:, 1:] >= score).sum()
        found = plugin(score=score, iou=1.0, max_detections=5000).decode(outputs, 0, SAME)
        assert len(found) <= min(count, 1000)
        # Boxes that lie outside the frame are gone: few.
        assert len(found) >= 0.85 * min(count, 1000)


def test_priors_of_another_number_are_refused_naming_it():
    outputs = {"s": np.zeros((1, 1917, 21), np.float32), "b": np.zeros((1, 1917, 4), np.float32)}
    with pytest.raises(SpecError, match="3000 priors"):
        plugin().decode(outputs, 0, SAME)


def test_labels_leave_out_the_background():
    labels = tuple(map(str, range(20)))
    assert plugin(labels=labels).decode(raw(), 0, SAME).labels == labels
    with pytest.raises(SpecError, match="21 labels for 20 classes"):
        plugin(labels=("BACKGROUND", *labels)).decode(raw(), 0, SAME)


@pytest.mark.parametrize(
    "levels",
    [
        [],
        "x",
        [{}],
        [{"stride": 8}],
        [{"stride": 8, "cells": 4, "min_size": 5}],
        [{"stride": 8, "min_size": 5, "boxes": [[1, 2]]}],
        [{"stride": 0, "min_size": 5}],
        [{"stride": float("nan"), "min_size": 5}],
        [{"stride": 8, "min_size": -5}],
        [{"stride": 8, "min_size": 5, "aspect_ratios": ["2"]}],
        [{"stride": 8, "min_size": 5, "aspect_ratios": 2}],
        [{"stride": 8, "boxes": []}],
        [{"stride": 8, "boxes": [[1, 2, 3]]}],
        [{"cells": 2.5, "min_size": 5}],
        [{"cells": [2, 0], "min_size": 5}],
        [{"stride": 8, "min_size": 5, "ratio": 2}],
    ],
    ids=str,
)
def test_levels_that_make_no_priors_are_refused_showing_good_ones(levels):
    with pytest.raises(SpecError, match="'levels'") as caught:
        plugin(levels=levels)
    assert "min_size" in caught.value.hint


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "exp"},
        {"background": 0},
        {"boxes": "xyxy"},
        {"order": "xyxy"},
        {"variances": [0.1]},
        {"variances": [0, 0.2]},
        {"variances": 0.1},
        {"clip_priors": 1},
        {"outputs": ["a"]},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)
