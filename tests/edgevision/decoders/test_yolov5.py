from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.decoders.yolov5 import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(640, 640)


def crowd(seed, anchors=25200, classes=80, objects=60):
    """A noisy head ``(1, anchors, 5 + classes)``: several neighbours see each object."""
    rng = np.random.default_rng(seed)
    out = np.zeros((1, anchors, 5 + classes), np.float32)
    out[0, :, :4] = rng.uniform(5, 600, (anchors, 4))
    out[0, :, 4:] = rng.uniform(0, 0.2, (anchors, 1 + classes))
    at = rng.choice(anchors, (objects, 8), replace=False)
    box = np.concatenate(
        [rng.uniform(60, 580, (objects, 2)), rng.uniform(20, 100, (objects, 2))], 1
    )
    out[0, at, :4] = box[:, None] + rng.normal(0, 2, (objects, 8, 4))
    out[0, at, 4] = rng.uniform(0.4, 1, (objects, 8))
    out[0, at, 5 + rng.integers(0, classes, (objects, 1))] = rng.uniform(0.4, 1, (objects, 8))
    return out


def the_common_way(tensor, score, iou):
    """objectness × class, the best class, corners, and OpenCV's suppression of each class by itself."""
    by_class = tensor[0, :, 4:5] * tensor[0, :, 5:]
    ids, scores = by_class.argmax(1), by_class.max(1)
    keep = scores >= score
    x, y, w, h = tensor[0, keep, :4].astype(float).T
    rects = np.stack([x - w / 2, y - h / 2, w, h], 1)
    kept = cv2.dnn.NMSBoxesBatched(rects, scores[keep], ids[keep], score, iou)
    boxes = np.concatenate([rects[:, :2], rects[:, :2] + rects[:, 2:]], 1)[kept]
    return boxes.clip(0, 640), scores[keep][kept], ids[keep][kept]


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_common_way_and_opencvs_suppression(seed):
    tensor = crowd(seed)
    boxes, scores, ids = the_common_way(tensor, 0.25, 0.45)
    found = plugin().decode({"output0": tensor}, 0, SAME)
    assert len(found) == len(boxes) > 55
    np.testing.assert_allclose(found.boxes_xyxy, boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)
    assert found.class_ids.tolist() == ids.tolist()


def test_the_score_is_objectness_times_class():
    tensor = np.zeros((1, 50, 7), np.float32)
    tensor[0, 3] = (100, 80, 40, 20, 0.5, 0.2, 0.8)
    tensor[0, 9] = (300, 200, 40, 20, 0.9, 0.2, 0.1)  # a class of 0.18 only
    tensor[0, 12] = (300, 300, 40, 20, 0.1, 1.0, 0.1)  # hardly an object
    found = plugin().decode({"o": tensor}, 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [[80, 70, 120, 90]])
    np.testing.assert_allclose(found.scores, [0.4])
    assert found.class_ids.tolist() == [1]


def test_the_other_order_of_axes_is_read_too():
    tensor = crowd(5, anchors=3000, classes=4)
    turned = np.ascontiguousarray(tensor.transpose(0, 2, 1))
    for labels in ((), ("a", "b", "c", "d")):
        ours, theirs = (plugin(labels=labels).decode({"o": t}, 0, SAME) for t in (turned, tensor))
        np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)
        assert ours.class_ids.tolist() == theirs.class_ids.tolist()


def test_the_raw_heads_beside_the_output_are_no_hindrance():
    outputs = {
        "output0": crowd(1),
        "339": np.zeros((1, 3, 80, 80, 85), np.float32),
        "391": np.zeros((1, 3, 40, 40, 85), np.float32),
    }
    assert len(plugin().decode(outputs, 0, SAME)) > 55


def test_a_single_class_is_its_objectness_times_its_score():
    tensor = np.zeros((1, 50, 6), np.float32)
    tensor[0, 3] = (100, 80, 40, 20, 0.5, 1.0)
    assert plugin().decode({"o": tensor}, 0, SAME).scores.tolist() == [0.5]


def test_final_boxes_are_not_taken_for_one_class():
    with pytest.raises(SpecError, match=r"\(1, 300, 6\)"):
        plugin().decode({"output0": np.zeros((1, 300, 6), np.float32)}, 0, SAME)


def test_yolov8s_layout_is_refused_when_the_labels_tell():
    labels = tuple(f"class {i}" for i in range(80))
    with pytest.raises(SpecError, match="80 labels for 79 classes"):
        plugin(labels=labels).decode({"o": np.zeros((1, 84, 8400), np.float32)}, 0, SAME)


@pytest.mark.parametrize("params", [{"iou": 2}, {"class_agnostic": 1}, {"outputs": ""}], ids=str)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


def test_an_output_can_be_named():
    outputs = {"a": crowd(1), "b": np.zeros((1, 25200, 85), np.float32)}
    assert len(plugin(outputs="b").decode(outputs, 0, SAME)) == 0
    assert len(plugin(outputs="a").decode(outputs, 0, SAME)) > 55
    with pytest.raises(SpecError, match="'c'"):
        plugin(outputs="c").decode(outputs, 0, SAME)
