from __future__ import annotations

import numpy as np
import pytest

from edgevision.decoders.end2end import plugin
from edgevision.errors import SpecError
from edgevision.geometry import Transform

SAME = Transform.identity(480, 640)
#: As YOLOv10 gives it: left, top, right, bottom, score, class; the rest of 300 rows are zeros.
FOUND = [(10, 20, 110, 220, 0.9, 2), (50, 60, 70, 80, 0.5, 0), (12, 22, 108, 218, 0.4, 2)]


def padded(*rows, value=0, count=300):
    out = np.full((1, count, 6), value, np.float32)
    if rows:
        out[0, : len(rows)] = rows
    return out


def decode(tensor, row=0, transform=SAME, **params):
    return plugin(**params).decode({"output0": tensor}, row, transform)


@pytest.mark.parametrize("padding", [0, -1])
def test_rows_are_detections_and_padding_is_none(padding):
    found = decode(padded(*FOUND, value=padding), labels=("a", "b", "c"))
    np.testing.assert_allclose(found.boxes_xyxy, [f[:4] for f in FOUND])
    np.testing.assert_allclose(found.scores, [0.9, 0.5, 0.4])
    assert [found.label(i) for i in range(3)] == ["c", "a", "c"]


@pytest.mark.parametrize("padding", [0, -1])
def test_padding_is_no_detection_at_a_threshold_of_zero(padding):
    assert len(decode(padded(*FOUND, value=padding), score=0.0)) == 3


def test_nothing_is_suppressed():
    assert len(decode(padded(FOUND[0], FOUND[0]))) == 2


@pytest.mark.parametrize("count", [0, 1, 3, 2000])
def test_any_number_of_rows_is_read(count):
    rows = [(10, 20, 110, 220, 0.9, 2)] * count
    assert len(decode(padded(*rows, count=count))) == min(count, 300)


def test_rows_that_are_not_sorted_come_out_best_first():
    found = decode(padded(*FOUND[::-1]))
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.4])


def test_equal_scores_keep_the_models_order():
    rows = [(10 * i, 0, 10 * i + 8, 8, 0.5, i) for i in range(40)]
    assert decode(padded(*rows)).class_ids.tolist() == list(range(40))


def test_other_columns_can_be_told():
    # YOLOv7 --end2end: batch, box, class, score, of all pictures one after the other.
    rows = np.array([(0, 10, 20, 110, 220, 2, 0.9), (1, 50, 60, 70, 80, 0, 0.5)], np.float32)
    columns = ["batch", "x1", "y1", "x2", "y2", "class", "score"]
    for row, expected in enumerate([[10, 20, 110, 220], [50, 60, 70, 80]]):
        found = decode(rows, row, columns=columns)
        np.testing.assert_allclose(found.boxes_xyxy, [expected])
        assert found.class_ids.tolist() == [2 - 2 * row]
    swapped = padded((20, 10, 220, 110, 0.9, 2))
    found = decode(swapped, columns=["y1", "x1", "y2", "x2", "score", "class"])
    np.testing.assert_allclose(found.boxes_xyxy, [[10, 20, 110, 220]])


def test_fractions_become_pixels():
    found = decode(padded((0.25, 0.5, 0.5, 0.75, 0.9, 2)), normalized=True)
    np.testing.assert_allclose(found.boxes_xyxy, [[160, 240, 320, 360]])


@pytest.mark.parametrize(
    "row",
    [
        (np.nan, 20, 110, 220, 0.9, 2),
        (10, 20, np.inf, 220, 0.9, 2),
        (110, 20, 10, 220, 0.9, 2),
        (10, 20, 10, 220, 0.9, 2),
        (700, 20, 800, 220, 0.9, 2),
        (10, 20, 110, 220, np.nan, 2),
        (10, 20, 110, 220, np.inf, 2),
        (10, 20, 110, 220, 0.9, np.nan),
        (10, 20, 110, 220, 0.9, -1),
        (10, 20, 110, 220, 0.9, 1e9),
    ],
    ids=str,
)
def test_unusable_rows_vanish(row):
    found = decode(padded(row, FOUND[1]))
    np.testing.assert_allclose(found.boxes_xyxy, [FOUND[1][:4]])


@pytest.mark.parametrize("shape", [(1, 300, 57), (1, 300, 38), (1, 84, 8400), (1, 300, 5)])
def test_outputs_of_other_tasks_and_layouts_are_refused_saying_the_columns(shape):
    with pytest.raises(SpecError, match="x1, y1, x2, y2, score, class"):
        decode(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "params",
    [
        {"columns": ["x1", "y1", "x2", "y2", "score"]},
        {"columns": ["x1", "y1", "x2", "y2", "score", "class", "class"]},
        {"columns": ["x1", "y1", "x2", "y2", "score", "class", "angle"]},
        {"columns": "xyxy"},
        {"normalized": 1},
        {"iou": 0.5},
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(params):
    with pytest.raises(SpecError, match=next(iter(params))):
        plugin(**params)


def test_an_overlap_is_refused_with_the_way_out():
    with pytest.raises(SpecError, match="iou") as caught:
        plugin(iou=0.5)
    assert "does no NMS" in caught.value.hint
    assert "--bake nms" in caught.value.hint
