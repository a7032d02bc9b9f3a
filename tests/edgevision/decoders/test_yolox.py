from __future__ import annotations

import numpy as np
import pytest

from edgevision.decoders.yolox import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform


def published(outputs, img_size, p6=False):
    """``demo_postprocess`` as published: grids, then centre and exponential size, in plain loops."""
    grids, expanded = [], []
    for stride in [8, 16, 32] if not p6 else [8, 16, 32, 64]:
        for y in range(img_size[0] // stride):
            for x in range(img_size[1] // stride):
                grids.append((x, y))
                expanded.append(stride)
    out = outputs.astype(np.float64)
    for i, ((x, y), stride) in enumerate(zip(grids, expanded, strict=True)):
        out[0, i, 0] = (out[0, i, 0] + x) * stride
        out[0, i, 1] = (out[0, i, 1] + y) * stride
        out[0, i, 2:4] = np.exp(out[0, i, 2:4]) * stride
    return out


def head(height, width, p6=False, classes=5, seed=0):
    rng = np.random.default_rng(seed)
    strides = [8, 16, 32, 64] if p6 else [8, 16, 32]
    count = sum((height // s) * (width // s) for s in strides)
    out = rng.uniform(0, 1, (1, count, 5 + classes)).astype(np.float32)
    out[0, :, :4] = rng.normal(0, 0.4, (count, 4))
    return out


def everything(decoded, score):
    """Corners and scores of all that reach the score, best first."""
    by_class = decoded[0, :, 4:5] * decoded[0, :, 5:]
    scores = by_class.max(1)
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= score]
    x, y, w, h = decoded[0, order, :4].T
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1)
    return boxes, scores[order], by_class[order].argmax(1)


@pytest.mark.parametrize(
    ("height", "width", "p6"), [(64, 96, False), (128, 64, False), (128, 192, True)]
)
def test_every_box_is_where_the_published_decoding_puts_it(height, width, p6):
    raw = head(height, width, p6)
    boxes, scores, ids = everything(published(raw, (height, width), p6), 0.5)
    assert len(boxes) > 40
    params = {"score": 0.5, "iou": 1.0, "max_detections": 1000}
    if p6:
        params["strides"] = [8, 16, 32, 64]
    # A frame around all boxes, so that none is cut.
    wide = Transform(np.array([[1.0, 0, 500], [0, 1.0, 500]]), 2000, 2000, (height, width))
    found = plugin(**params).decode({"output": raw}, 0, wide)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-6)
    np.testing.assert_allclose(found.boxes_xyxy - 500, boxes, atol=1e-3)
    assert found.class_ids.tolist() == ids.tolist()


def test_a_hand_worked_cell():
    raw = np.zeros((1, 8 * 8 + 4 * 4 + 2 * 2, 6), np.float32)
    # Stride 16, row 1, column 2: centre ((0.5 + 2) · 16, (0.25 + 1) · 16), size (2 · 16, 1 · 16).
    raw[0, 64 + 4 + 2] = (0.5, 0.25, np.log(2), 0, 0.5, 1)
    found = plugin().decode({"output": raw}, 0, Transform.identity(64, 64))
    np.testing.assert_allclose(found.boxes_xyxy, [[24, 12, 56, 28]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.5])


def test_decoded_exports_are_taken_as_they_are():
    raw = head(64, 96)
    decoded = published(raw, (64, 96)).astype(np.float32)
    same = Transform.identity(64, 96)
    ours = plugin(decoded=True).decode({"o": decoded}, 0, same)
    theirs = plugin().decode({"o": raw}, 0, same)
    assert len(ours) > 5
    np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-3)


def test_a_size_that_explodes_vanishes():
    raw = np.zeros((1, 84, 6), np.float32)
    raw[0, 3] = (0, 0, 900, 0, 1, 1)
    raw[0, 70] = (0.5, 0.25, 0, 0, 1, 1)
    assert len(plugin().decode({"o": raw}, 0, Transform.identity(64, 64))) == 1


def test_the_other_order_of_axes_is_read_too():
    raw = head(64, 96)
    turned, same = np.ascontiguousarray(raw.transpose(0, 2, 1)), Transform.identity(64, 96)
    ours, theirs = (plugin().decode({"o": t}, 0, same) for t in (turned, raw))
    np.testing.assert_array_equal(ours.boxes_xyxy, theirs.boxes_xyxy)


def test_anchors_of_another_size_or_other_strides_are_refused():
    with pytest.raises(SpecError, match="84 anchors"):
        plugin().decode({"o": head(64, 96)}, 0, Transform.identity(64, 64))
    with pytest.raises(SpecError, match="8, 16, 32, 64"):
        plugin(strides=[8, 16, 32, 64]).decode({"o": head(64, 96)}, 0, Transform.identity(64, 96))


@pytest.mark.parametrize(
    "params",
    [
        {"strides": []},
        {"strides": [8, 8]},
        {"strides": [0]},
        {"strides": 8},
        {"strides": [[8], [8]]},
        {"decoded": "yes"},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)
