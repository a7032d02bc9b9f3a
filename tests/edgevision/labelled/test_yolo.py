from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import DataError
from edgevision.labelled import open_labelled
from edgevision.labelled.yolo import parse_labels

LABELS = ("cat", "owl", "dog")


def test_boxes_in_pixels_with_the_models_class_numbers(yolo):
    data = open_labelled(yolo, LABELS, task="detect")
    (image, a), (_, b), (_, empty) = data
    assert image.shape == (40, 60, 3)
    # 60×40: centre (30, 20), size 30×20; and centre (15, 10), size 6×8.
    expected = [[15, 10, 45, 30], [12, 6, 18, 14]]
    np.testing.assert_allclose(a.boxes_xyxy, expected, atol=1e-5)
    assert (a.boxes_xyxy.dtype, a.class_ids.dtype, a.ignore.dtype) == (
        np.float32,
        np.int32,
        np.bool_,
    )
    assert (a.class_ids.tolist(), b.class_ids.tolist()) == ([2, 0], [0])
    assert b.boxes_xyxy.tolist() == [[0, 0, 60, 40]]
    assert not a.ignore.any()
    assert empty.boxes_xyxy.shape == (0, 4)
    assert (data.matched, data.classes, data.problems) == ("name", {0, 2}, [])


def test_a_classes_txt_names_the_classes_too(yolo):
    (yolo / "data.yaml").unlink()
    (yolo / "labels" / "classes.txt").write_text("dog\ncat\n\n", "utf-8-sig")
    data = open_labelled(yolo, LABELS)
    assert [truth.class_ids.tolist() for _, truth in data] == [[2, 0], [0], []]
    assert data.problems == []


def test_without_names_numbers_are_the_models_own_and_that_is_said(yolo):
    (yolo / "data.yaml").unlink()
    data = open_labelled(yolo, LABELS)
    assert [truth.class_ids.tolist() for _, truth in data] == [[0, 1], [1], []]
    assert (data.matched, data.classes) == ("number", {0, 1, 2})
    assert "numbers" in data.problems[0]


def split_inside(root):
    for kind in ("images", "labels"):
        (root / kind).rename(root / "x")
        (root / kind).mkdir()
        (root / "x").rename(root / kind / "val2017")
        (root / kind / "train2017").mkdir()


def split_outside(root):
    for kind in ("images", "labels"):
        (root / "train" / kind).mkdir(parents=True)
        (root / "valid").mkdir(exist_ok=True)
        (root / kind).rename(root / "valid" / kind)


@pytest.mark.parametrize("arrange", [split_inside, split_outside])
def test_the_split_to_validate_on_is_taken(yolo, arrange):
    arrange(yolo)
    data = open_labelled(yolo, LABELS)
    assert [truth.class_ids.tolist() for _, truth in data] == [[2, 0], [0], []]


def test_a_split_alone_finds_the_names_above_it(yolo):
    split_outside(yolo)
    data = open_labelled(yolo / "valid", LABELS)
    assert (data.matched, len(list(data))) == ("name", 3)


def test_a_label_file_without_its_picture_is_skipped_named_and_counted(yolo):
    (yolo / "images" / "b.png").unlink()
    data = open_labelled(yolo, LABELS)
    assert len(list(data)) == 2
    assert (data.skipped, data.problems) == (
        1,
        ["the picture for b.txt is missing and was skipped"],
    )


def test_a_class_that_the_model_does_not_have(yolo):
    (yolo / "data.yaml").write_text("names: [dogs, cat, zebra]")
    with pytest.raises(DataError, match=r"'dogs' \(closest: 'dog'\)") as caught:
        open_labelled(yolo, LABELS)
    assert "zebra" not in caught.value.received  # of which nothing is labelled


def test_without_a_single_label_file_it_is_an_error(yolo):
    shutil.rmtree(yolo / "labels")
    (yolo / "labels").mkdir()
    with pytest.raises(DataError, match="has labels in"):
        open_labelled(yolo, LABELS)


def test_a_yaml_beside_nothing(tmp_path):
    (tmp_path / "data.yaml").write_text("names: [cat]")
    with pytest.raises(DataError, match="YOLO's layout"):
        open_labelled(tmp_path / "data.yaml", LABELS)


def test_a_wrong_line_is_named_with_its_file(yolo):
    (yolo / "labels" / "b.txt").write_text("1 0.5 0.5 1 1\n\n1 0.5 0.5 1")
    with pytest.raises(DataError) as caught:
        open_labelled(yolo, LABELS)
    assert str(yolo / "labels" / "b.txt") + ", line 3:" in str(caught.value)
    assert caught.value.received == "1 0.5 0.5 1"


def test_a_label_file_that_is_no_text(yolo):
    (yolo / "labels" / "b.txt").write_bytes(b"1 0.5 0.5 1 1\n\xff\xfe")
    with pytest.raises(DataError, match=r"b\.txt, line 2: this is no text(.|\n)*0xff"):
        open_labelled(yolo, LABELS)


def test_a_box_too_small_for_a_pixel_to_tell_is_refused_with_its_line(yolo):
    (yolo / "labels" / "b.txt").write_text("1 0.5 0.5 1 1\n1 0.5 0.5 1e-12 1")
    with pytest.raises(DataError, match=r"b\.txt, line 2: the box has no area"):
        list(open_labelled(yolo, LABELS))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 0.5 0.5 1", "class cx cy w h"),
        ("0 0.5 0.5 1 1 0.9", "a prediction"),
        ("0 .1 .1 .9 .1 .9 .9", "a polygon"),
        ("2 0.5 0.5 1 1", "from 0 to 1"),
        ("-1 0.5 0.5 1 1", "a class number"),
        ("0.5 0.5 0.5 1 1", "a class number"),
        ("1e300 0.5 0.5 1 1", "a class number"),
        ("cat 0.5 0.5 1 1", "finite"),
        ("0 nan 0.5 1 1", "finite"),
        ("0 0.5 inf 1 1", "finite"),
        ("0 1e999 0.5 1 1", "finite"),
        ("0 1_0 0.5 1 1", "finite"),
        ("0 ١ 0.5 1 1", "finite"),
        ("0 0.5 0.5 0 1", "above 0"),
        ("0 0.5 0.5 1 0", "above 0"),
        ("0 0.5 0.5 -0.0005 1", "above 0"),
        ("0 0.5 0.5 -1 1", "from 0 to 1"),
        ("0 320 240 50 50", "from 0 to 1"),
    ],
)
def test_lines_that_are_no_box(line, expected):
    with pytest.raises(DataError) as caught:
        parse_labels(line, 2, "a.txt")
    assert expected in caught.value.expected
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "\n\n", "  \t\n"])
def test_an_empty_file_has_no_objects(text):
    assert parse_labels(text, 2, "a.txt") == []


def test_numbers_may_be_written_as_exporters_do():
    (row,) = parse_labels("1.0\t+.5 5e-1 1. 1.0005\r\n", 2, "a.txt")
    assert (row.number, row.cx, row.cy, row.width, row.height) == (1, 0.5, 0.5, 1, 1.0005)


PART = st.floats(0.01, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), PART, PART, PART, PART), max_size=8))
def test_what_was_written_is_read(rows):
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    found = parse_labels(text, 5, "x")
    assert [(r.number, r.cx, r.cy, r.width, r.height) for r in found] == rows
    for row in found:
        left, top, right, bottom = row.xyxy
        assert left < right
        assert math.isclose((top + bottom) / 2, row.cy)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("01.5 -+e\n\tnaifx"), max_size=50))
def test_any_text_is_read_or_refused(text):
    try:
        rows = parse_labels(text, 3, "x")
    except DataError as error:
        assert "x, line " in str(error)
    else:
        assert all(0 <= r.number < 3 and 0 < r.width < 2 and math.isfinite(r.cx) for r in rows)
