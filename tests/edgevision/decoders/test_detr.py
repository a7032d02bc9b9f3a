from __future__ import annotations

import math

import numpy as np
import pytest

from edgevision.decoders.detr import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(480, 640)


def raw(queries=100, classes=91, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (1, queries, classes)).astype(np.float32)
    boxes = np.empty((1, queries, 4), np.float32)
    boxes[0, :, :2] = rng.uniform(0.2, 0.8, (queries, 2))
    boxes[0, :, 2:] = rng.uniform(0.05, 0.3, (queries, 2))
    return {"logits": logits, "pred_boxes": boxes}


def corners(box):
    x, y, w, h = (float(v) for v in box)
    return [(x - w / 2) * 640, (y - h / 2) * 480, (x + w / 2) * 640, (y + h / 2) * 480]


def test_agrees_with_detrs_published_post_processing():
    """``PostProcess`` of facebookresearch/detr, one query at a time: softmax, without the last class."""
    outputs, expected = raw(), []
    for logits, box in zip(outputs["logits"][0], outputs["pred_boxes"][0], strict=True):
        exponentials = [math.exp(v) for v in logits.tolist()]
        scores = [e / sum(exponentials) for e in exponentials[:-1]]
        best = max(range(len(scores)), key=scores.__getitem__)
        if scores[best] >= 0.3:
            expected.append((scores[best], best, corners(box)))
    expected.sort(key=lambda e: -e[0])
    found = plugin(score=0.3).decode(outputs, 0, SAME)
    assert len(found) == len(expected) > 20
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-5)
    assert found.class_ids.tolist() == [e[1] for e in expected]
    np.testing.assert_allclose(found.boxes_xyxy, [e[2] for e in expected], atol=1e-3)


def test_agrees_with_rt_detrs_published_post_processing():
    """``RTDETRPostProcessor``: sigmoid, the best 300 of all queries and classes together."""
    outputs, expected = raw(300, 80, seed=1), []
    # Values far enough apart that rounding changes no order.
    spread = np.random.default_rng(1).permutation(np.linspace(-12, 4, 24000))
    outputs["logits"][:] = spread.reshape(1, 300, 80)
    for query, logits in enumerate(outputs["logits"][0].tolist()):
        for class_id, value in enumerate(logits):
            expected.append((1 / (1 + math.exp(-value)), class_id, query))
    expected = sorted(expected, key=lambda e: -e[0])[:300]
    params = {"activation": "sigmoid", "multi_label": True, "score": 0.01, "max_detections": 300}
    found = plugin(**params).decode(outputs, 0, SAME)
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-5)
    assert found.class_ids.tolist() == [e[1] for e in expected]
    boxes = [corners(outputs["pred_boxes"][0, e[2]]) for e in expected]
    np.testing.assert_allclose(found.boxes_xyxy, boxes, atol=1e-3)


def test_a_query_counts_for_its_best_class_or_for_all_that_reach_the_score():
    outputs = {"l": np.full((1, 5, 7), -9, np.float32), "b": np.full((1, 5, 4), 0.5, np.float32)}
    outputs["l"][0, 2, [1, 3]] = 2, 1
    for multi, expected in ((False, [1]), (True, [1, 3])):
        found = plugin(activation="sigmoid", multi_label=multi).decode(outputs, 0, SAME)
        assert found.class_ids.tolist() == expected


def test_no_object_is_no_detection_however_sure():
    outputs = {"l": np.zeros((1, 5, 7), np.float32), "b": np.full((1, 5, 4), 0.5, np.float32)}
    outputs["l"][0, :, 6] = 30
    assert len(plugin(score=0.01).decode(outputs, 0, SAME)) == 0


def test_one_tensor_of_boxes_and_scores_is_read():
    apart = raw(300, 80, seed=2)
    scores = 1 / (1 + np.exp(-apart["logits"]))
    together = {"output0": np.concatenate([apart["pred_boxes"], scores], axis=2)}
    ours = plugin(activation="none").decode(together, 0, SAME)
    theirs = plugin(activation="sigmoid").decode(apart, 0, SAME)
    assert len(ours) > 20
    np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy)


def test_as_many_classes_as_box_sides_are_told_apart_by_name():
    outputs = {"pred_boxes": np.full((1, 5, 4), 0.5, np.float32)}
    outputs["logits"] = np.zeros((1, 5, 4), np.float32)
    outputs["logits"][0, 1, 2] = 9
    for order in (outputs, dict(reversed(outputs.items()))):
        assert plugin().decode(order, 0, SAME).class_ids.tolist() == [2]


def test_outputs_can_be_named_where_more_would_fit():
    outputs = {**raw(), "last_hidden_state": np.zeros((1, 100, 256), np.float32)}
    with pytest.raises(SpecError, match="last_hidden_state"):
        plugin().decode(outputs, 0, SAME)
    assert len(plugin(outputs=["logits", "pred_boxes"]).decode(outputs, 0, SAME)) > 0
    with pytest.raises(SpecError, match="called logits and boxes"):
        plugin(outputs=["logits", "boxes"]).decode(outputs, 0, SAME)


@pytest.mark.parametrize(
    "params",
    [
        {"activation": "softplus"},
        {"multi_label": True},
        {"outputs": ["logits"]},
        {"outputs": ["a", "a"]},
        {"outputs": "logits"},
        {"iou": 0.5},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


def test_labels_leave_out_no_object():
    labels = tuple(map(str, range(90)))
    assert plugin(labels=labels).decode(raw(), 0, SAME).labels == labels
    with pytest.raises(SpecError, match="91 labels for 90 classes"):
        plugin(labels=(*labels, "no object")).decode(raw(), 0, SAME)
