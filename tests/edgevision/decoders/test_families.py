"""What every family of detectors must do alike; each family's own arithmetic is in its own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgevision import registry
from edgevision.errors import SpecError
from edgevision.geometry import Transform

H, W = 96, 128
SAME = Transform.identity(H, W)
LABELS = ("cat", "dog", "owl")
#: Left, top, right, bottom, class, score; scores are exact in float16.
FIRST = (70, 10, 110, 50, 0, 0.75)
SECOND = (16, 20, 56, 60, 1, 0.625)


def logit(p):
    return np.log(p / (1 - p))


def cxcywh(box):
    left, top, right, bottom = box[:4]
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top


def cells(size, *strides):
    """How many cells there are of each stride."""
    return [(size[0] // stride) * (size[1] // stride) for stride in strides]


def yolov5(found, dtype, size):
    out = np.full((1, size[0] * size[1] // 24, 8), 0.01, dtype)
    for i, box in enumerate(found):
        out[0, 7 * i, :5] = (*cxcywh(box), 1)
        out[0, 7 * i, 5 + box[4]] = box[5]
    return {"output0": out}


def yolov8(found, dtype, size):
    out = np.full((1, 7, size[0] * size[1] // 24), 0.01, dtype)
    for i, box in enumerate(found):
        out[0, :4, 7 * i] = cxcywh(box)
        out[0, 4 + box[4], 7 * i] = box[5]
    return {"output0": out}


def nanodet(found, dtype, size):
    counts = cells(size, 8, 16, 32)
    scores = [np.full((1, n, 3), 0.01, dtype) for n in counts]
    sides = [np.zeros((1, n, 44), dtype) for n in counts]
    for box in found:
        cx, cy, _, _ = cxcywh(box)
        column, row = int(cx // 8), int(cy // 8)
        cell, x, y = row * (size[1] // 8) + column, 8 * column + 4, 8 * row + 4
        scores[0][0, cell, box[4]] = box[5]
        far = np.clip([x - box[0], y - box[1], box[2] - x, box[3] - y], 0, 80) / 8
        bins = sides[0][0, cell].reshape(4, 11)  # all of a side's weight is in the two bins around
        bins[:] = np.log(np.maximum(1 - np.abs(far[:, None] - np.arange(11)), 1e-9))
    return {
        f"{kind}{i}": a for kind, all_ in (("s", scores), ("b", sides)) for i, a in enumerate(all_)
    }


def yolox(found, dtype, size):
    columns = size[1] // 16
    before, own, after = cells(size, 8, 16, 32)
    out = np.full((1, before + own + after, 8), 0.01, dtype)
    for box in found:
        cx, cy, w, h = cxcywh(box)
        column, row = int(cx // 16), int(cy // 16)
        offsets = (cx / 16 - column, cy / 16 - row, np.log(w / 16), np.log(h / 16), 1)
        out[0, before + row * columns + column, :5] = offsets
        out[0, before + row * columns + column, 5 + box[4]] = box[5]
    return {"output": out}


def end2end(found, dtype, size):
    out = np.zeros((1, size[0] * size[1] // 400, 6), dtype)
    for i, box in enumerate(found):
        out[0, i] = (*box[:4], box[5], box[4])
    return {"output0": out}


def centerface(found, dtype, size):
    grid = size[0] // 4, size[1] // 4
    heat, extent, offset, marks = (np.zeros((1, c, *grid), dtype) for c in (1, 2, 2, 10))
    for box in found:
        cx, cy, w, h = cxcywh(box)
        x, y = int(cx // 4), int(cy // 4)
        heat[0, 0, y, x] = box[5]
        extent[0, :, y, x] = np.log(h / 4), np.log(w / 4)
        offset[0, :, y, x] = cy / 4 - y - 0.5, cx / 4 - x - 0.5
        marks[0, :, y, x] = 0.5
    return {"537": heat, "538": extent, "539": offset, "540": marks}


def blazeface(found, dtype, size):
    fine, coarse = cells(size, 16, 32)
    counts = 2 * fine, 6 * coarse
    scores = [np.full((1, n, 1), -9, dtype) for n in counts]
    boxes = [np.zeros((1, n, 16), dtype) for n in counts]
    for box in found:
        cx, cy, w, h = cxcywh(box)
        column, row = int(cx // 16), int(cy // 16)
        anchor = 2 * (row * (size[1] // 16) + column)
        x, y = cx - 16 * column - 8, cy - 16 * row - 8
        boxes[0][0, anchor] = (x, y, w, h, *(x, y) * 6)
        scores[0][0, anchor] = logit(box[5])
    return {"s0": scores[0], "s1": scores[1], "b0": boxes[0], "b1": boxes[1]}


LEVELS = [{"stride": 16, "boxes": [[30, 50], [40, 40]]}, {"stride": 32, "boxes": [[60, 60]]}]


def ssd(found, dtype, size):
    fine, coarse = cells(size, 16, 32)
    count = 2 * fine + coarse
    scores, boxes = np.zeros((1, count, 4), dtype), np.zeros((1, count, 4), dtype)
    scores[0, :, 0] = 9
    for box in found:
        cx, cy, w, h = cxcywh(box)
        column, row = int(cx // 16), int(cy // 16)
        anchor = 2 * (row * (size[1] // 16) + column) + 1  # 40×40
        at = (cx - 16 * column - 8, cy - 16 * row - 8)
        boxes[0, anchor] = (at[0] / 4, at[1] / 4, np.log(w / 40) / 0.2, np.log(h / 40) / 0.2)
        # The rest is shared by the three others.
        scores[0, anchor] = np.log((1 - box[5]) / 3)
        scores[0, anchor, 1 + box[4]] = np.log(box[5])
    return {"boxes": boxes, "scores": scores}


def centernet(found, dtype, size):
    grid = size[0] // 4, size[1] // 4
    heat, extent, offset = (np.zeros((1, c, *grid), dtype) for c in (3, 2, 2))
    heat[:] = -9
    for box in found:
        cx, cy, w, h = cxcywh(box)
        x, y = int(cx // 4), int(cy // 4)
        heat[0, box[4], y, x] = logit(box[5])
        extent[0, :, y, x] = w / 4, h / 4
        offset[0, :, y, x] = cx / 4 - x, cy / 4 - y
    return {"hm": heat, "wh": extent, "reg": offset}


def detr(found, dtype, size):
    height, width = size
    logits, boxes = np.zeros((1, 20, 4), dtype), np.full((1, 20, 4), 0.5, dtype)
    logits[0, :, 3] = 9
    for i, box in enumerate(found):
        cx, cy, w, h = cxcywh(box)
        boxes[0, i] = cx / width, cy / height, w / width, h / height
        logits[0, i] = np.log((1 - box[5]) / 3)
        logits[0, i, box[4]] = np.log(box[5])
    return {"logits": logits, "pred_boxes": boxes}


@dataclass(frozen=True)
class Family:
    name: str
    encode: Callable[[Any, Any, Any], dict[str, np.ndarray]]
    params: dict[str, Any] = field(default_factory=dict)
    face: bool = False

    def make(self, **params):
        labels = ("face",) if self.face else LABELS
        plugin = registry.load("decoders", self.name)
        return plugin(**{"labels": labels, "score": 0.3, **self.params, **params})

    def outputs(self, *found, dtype=np.float32, size=(H, W)):
        with np.errstate(divide="ignore", invalid="ignore"):  # boxes without a size
            return self.encode([(*f[:4], 0, f[5]) if self.face else f for f in found], dtype, size)


FAMILIES = [
    Family("yolov8", yolov8),
    Family("nanodet", nanodet),
    Family("yolov5", yolov5),
    Family("yolox", yolox),
    Family("end2end", end2end),
    Family("centerface", centerface, face=True),
    Family("blazeface", blazeface, face=True),
    Family("ssd", ssd, {"levels": LEVELS}),
    Family("centernet", centernet),
    Family("detr", detr),
]


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request):
    return request.param


def test_boxes_scores_and_classes_come_best_first(family):
    found = family.make().decode(family.outputs(SECOND, FIRST), 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [FIRST[:4], SECOND[:4]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.75, 0.625], atol=1e-5)
    assert found.class_ids.tolist() == ([0, 0] if family.face else [0, 1])
    assert found.label(0) == ("face" if family.face else "cat")
    types = found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype
    assert types == (np.float32, np.float32, np.int32)


def test_nothing_found_is_an_empty_result(family):
    found = family.make().decode(family.outputs(), 0, SAME)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.to_dict() == {"detections": []}


def test_the_threshold_decides(family):
    outputs = family.outputs(FIRST, SECOND)
    assert len(family.make(score=0.7).decode(outputs, 0, SAME)) == 1
    assert len(family.make(score=0.76).decode(outputs, 0, SAME)) == 0
    assert family.make(score=0.7).score == 0.7
    assert family.make().labels == (("face",) if family.face else LABELS)


def test_float16_outputs_are_read(family):
    found = family.make().decode(family.outputs(FIRST, SECOND, dtype=np.float16), 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [FIRST[:4], SECOND[:4]], atol=0.1)
    np.testing.assert_allclose(found.scores, [0.75, 0.625], atol=2e-3)
    assert found.scores.dtype == found.boxes_xyxy.dtype == np.float32


def test_each_row_of_a_batch_is_its_own(family):
    parts = family.outputs(FIRST), family.outputs(SECOND)
    batch = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    decoder = family.make()
    for row, box in enumerate((FIRST, SECOND)):
        found = decoder.decode(batch, row, SAME)
        np.testing.assert_allclose(found.boxes_xyxy, [box[:4]], atol=1e-3)


def test_outputs_without_a_dimension_for_the_rows_are_read(family):
    outputs = {name: a[0] for name, a in family.outputs(FIRST).items()}
    found = family.make().decode(outputs, 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [FIRST[:4]], atol=1e-3)
    with pytest.raises(SpecError, match="rows"):
        family.make().decode(outputs, 1, SAME)


def test_boxes_come_in_source_pixels_within_the_frame(family):
    # A 200×100 frame at scale 2, its upper 8 tensor rows are padding.
    transform = Transform(np.array([[2.0, 0, 0], [0, 2.0, -16]]), 200, 100, (H, W))
    found = family.make().decode(family.outputs(FIRST, (2, 0, 30, 7, 1, 0.5)), 0, transform)
    np.testing.assert_allclose(found.boxes_xyxy, [[140, 4, 200, 84]], atol=1e-2)


def test_boxes_that_reach_out_of_the_picture_are_cut(family):
    found = family.make().decode(family.outputs((-20, 50, 60, 140, 1, 0.5)), 0, SAME)
    np.testing.assert_allclose(found.boxes_xyxy, [[0, 50, 60, 96]], atol=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_outputs_of_nothing_but_that_value_give_nothing(family, value):
    outputs = {n: np.full_like(a, value) for n, a in family.outputs().items()}
    assert len(family.make(score=0.0).decode(outputs, 0, SAME)) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_a_box_with_such_values_vanishes_and_leaves_the_other(family, value):
    """Every value of every tensor of the first box, one after the other; the second box stays."""
    decoder = family.make()
    good, both = family.outputs(SECOND), family.outputs(SECOND, FIRST)
    expected = decoder.decode(good, 0, SAME)
    for name in both:
        for index in np.argwhere(both[name] != good[name]):
            spoilt = {n: a.copy() for n, a in both.items()}
            spoilt[name][tuple(index)] = value
            found = decoder.decode(spoilt, 0, SAME)
            kept = found.select(np.abs(found.boxes_xyxy[:, 0] - SECOND[0]) < 1)
            np.testing.assert_array_equal(kept.boxes_xyxy, expected.boxes_xyxy)
            assert np.isfinite(found.boxes_xyxy).all()
            assert np.isfinite(found.scores).all()
            assert (found.scores <= 1).all()


def check_usable(found, transform, most):
    """What the next program relies on, whatever a model gave."""
    boxes, scores = found.boxes_xyxy, found.scores
    assert (boxes.dtype, scores.dtype, found.class_ids.dtype) == (np.float32, np.float32, np.int32)
    assert len(boxes) == len(scores) == len(found.class_ids) <= most
    assert np.isfinite(boxes).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes >= 0).all()
    assert (boxes <= (transform.width, transform.height) * 2).all()
    assert np.isfinite(scores).all()
    assert (np.diff(scores) <= 0).all()
    assert (found.class_ids >= 0).all()
    if found.landmarks is not None:
        assert found.landmarks.shape[::2] == (len(boxes), 2)
        assert np.isfinite(found.landmarks).all()


@pytest.mark.parametrize("size", [(H, W), (480, 640)], ids=["hundreds", "thousands"])
def test_noise_of_many_boxes_is_bounded(family, size):
    rng, transform = np.random.default_rng(0), Transform.identity(*size)
    outputs = family.outputs(size=size)
    noise = {n: rng.uniform(0, 1, a.shape).astype(a.dtype) for n, a in outputs.items()}
    check_usable(family.make(score=0.0, max_detections=7).decode(noise, 0, transform), transform, 7)


#: To the left of the frame and below it; without a width, without a height, and turned around.
ODD = [
    ((60, 20, 68, 28, 0, 0.75), (-500, 0)),
    ((60, 20, 68, 28, 0, 0.75), (0, 500)),
    ((92, 20, 92, 36, 0, 0.75), (0, 0)),
    ((84, 28, 100, 28, 0, 0.75), (0, 0)),
    ((92, 28, 92, 28, 0, 0.75), (0, 0)),
    ((96, 32, 88, 24, 0, 0.75), (0, 0)),
]


@pytest.mark.parametrize(("box", "moved"), ODD, ids=str)
def test_a_box_outside_the_frame_or_without_an_area_vanishes(family, box, moved):
    away = Transform(np.array([[1.0, 0, moved[0]], [0, 1.0, moved[1]]]), W, H, (H, W))
    assert len(family.make().decode(family.outputs(box), 0, away)) == 0


#: Upright, with padding, reaching far out of the frame, into a frame of one pixel, turned by a quarter.
WAYS = [
    SAME,
    Transform(np.array([[2.0, 0, 0], [0, 2.0, -16]]), 200, 100, (H, W)),
    Transform(np.array([[9.0, 0, -500], [0, 9.0, -300]]), 150, 100, (H, W)),
    Transform(np.array([[0.01, 0, 0], [0, 0.01, 0]]), 1, 1, (H, W)),
    Transform(np.array([[0, -1.0, 96], [1.0, 0, 0]]), H, W, (H, W)),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([0.0, 0.3, 1.0, 30.0, 1e4]),
    wild=st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 6e4, -6e4]),
    share=st.sampled_from([0.0, 0.001, 0.1, 1.0]),
    dtype=st.sampled_from([np.float32, np.float16]),
    score=st.sampled_from([0.0, 0.3, 1.0]),
    way=st.sampled_from(WAYS),
)
@example(0, 0.0, 0.0, 0.0, np.float32, 0.3, SAME)
@example(0, 1.0, np.nan, 1.0, np.float32, 0.0, SAME)
def test_whatever_a_model_gives_the_boxes_can_be_used(
    family, seed, spread, wild, share, dtype, score, way
):
    """Two boxes amid noise of any size, a share of all values replaced by something wild."""
    rng = np.random.default_rng(seed)
    outputs = family.outputs(FIRST, SECOND, dtype=dtype)
    for values in outputs.values():
        values += rng.normal(0, spread, values.shape).astype(dtype)
        values[rng.random(values.shape) < share] = wild
    before = {name: values.copy() for name, values in outputs.items()}
    decoder = family.make(score=score, max_detections=50)
    with np.errstate(over="ignore"):  # an exponential may be too large
        found, again = (decoder.decode(outputs, 0, way) for _ in range(2))
    check_usable(found, way, 50)
    np.testing.assert_array_equal(found.boxes_xyxy, again.boxes_xyxy)
    for name, values in outputs.items():
        np.testing.assert_array_equal(values, before[name])


def test_results_are_the_callers_own(family):
    decoder = family.make()
    outputs = family.outputs(FIRST, SECOND)
    found = decoder.decode(outputs, 0, SAME)
    kept = found.boxes_xyxy.copy(), found.scores.copy(), found.class_ids.copy()
    for values in outputs.values():
        values[:] = 0.5
    decoder.decode(family.outputs((30, 30, 70, 70, 1, 0.5)), 0, SAME)
    for now, then in zip((found.boxes_xyxy, found.scores, found.class_ids), kept, strict=True):
        np.testing.assert_array_equal(now, then)


def test_outputs_are_only_read(family):
    outputs = family.outputs(FIRST, SECOND)
    for values in outputs.values():
        values.setflags(write=False)
    assert len(family.make().decode(outputs, 0, SAME)) == 2


def test_a_decoder_goes_on_after_frames_with_more_and_with_fewer(family):
    decoder = family.make()
    third = (20, 66, 50, 92, 1, 0.5)
    for boxes in ((), (FIRST,), (FIRST, SECOND, third), (), (SECOND,), (FIRST, SECOND)):
        assert len(decoder.decode(family.outputs(*boxes), 0, SAME)) == len(boxes)


def test_at_most_max_detections_come_out(family):
    found = family.make(max_detections=1).decode(family.outputs(SECOND, FIRST), 0, SAME)
    np.testing.assert_allclose(found.scores, [0.75], atol=1e-5)


def test_only_wanted_classes_are_kept(family):
    if family.face:
        pytest.skip("one class")
    for wanted in (["dog"], [1]):
        found = family.make(classes=wanted).decode(family.outputs(FIRST, SECOND), 0, SAME)
        assert found.class_ids.tolist() == [1]


def test_an_unknown_parameter_is_refused_naming_it(family):
    with pytest.raises(SpecError, match="scor") as caught:
        family.make(scor=0.5)
    assert "score" in caught.value.expected


@pytest.mark.parametrize(
    "params", [{"score": 1.5}, {"score": "0.5"}, {"max_detections": 0}], ids=str
)
def test_wrong_parameters_are_refused(family, params):
    with pytest.raises(SpecError, match=next(iter(params))):
        family.make(**params)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"a": np.zeros((1, 9), np.float32)},
        {"a": np.zeros((1, 40, 8), np.int64)},
        {"a": np.zeros((1, 3, 5, 5, 85), np.float32)},
        {"a": np.zeros((1, 3, 4), np.float32), "b": np.zeros((1, 9, 4), np.float32)},
    ],
    ids=["none", "flat", "integers", "raw heads", "two"],
)
def test_other_layouts_are_refused_listing_what_was_seen(family, outputs):
    with pytest.raises(SpecError) as caught:
        family.make().decode(outputs, 0, SAME)
    assert all(str(a.shape) in str(caught.value) for a in outputs.values())


def test_labels_of_another_number_are_refused_naming_both_numbers(family):
    if family.name == "end2end":
        pytest.skip("its output does not say how many classes there are")
    classes = 1 if family.face else 3
    with pytest.raises(SpecError, match=f"2 labels for {classes}"):
        family.make(labels=("a", "b")).decode(family.outputs(FIRST), 0, SAME)


def test_another_shape_later_is_checked_again(family):
    decoder = family.make()
    decoder.decode(family.outputs(FIRST), 0, SAME)
    with pytest.raises(SpecError):
        decoder.decode({"other": np.zeros((1, 2, 3, 4, 5), np.float32)}, 0, SAME)
