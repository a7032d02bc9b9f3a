from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import DataError
from edgevision.labelled import coco as coco_module
from edgevision.labelled import open_labelled
from edgevision.labelled.coco import parse

LABELS = ("cat", "owl", "dog")
BOX = {"id": 5, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}


def rewrite(path, data):
    path.write_text(json.dumps(data))
    return path


def test_boxes_in_pixels_with_the_models_class_numbers(coco):
    data = open_labelled(coco, LABELS, task="detect")
    (image, a), (_, b) = data
    assert image.shape == (40, 60, 3)
    assert a.boxes_xyxy.tolist() == [[10, 5, 30.5, 15], [0, 0, 60, 40]]
    assert (a.class_ids.tolist(), a.ignore.tolist()) == ([2, 0], [False, True])
    assert (a.boxes_xyxy.dtype, a.class_ids.dtype, a.ignore.dtype) == (
        np.float32,
        np.int32,
        np.bool_,
    )
    assert len(b) == 0
    assert (data.name, data.count, data.classes) == ("labels.json", 2, {0, 2})


@pytest.mark.parametrize("place", ["images", "."])
def test_pictures_beside_the_file_or_in_images(coco, place):
    target = coco.parent / place
    target.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (coco.parent / name).rename(target / name)
    assert len(list(open_labelled(coco, LABELS))) == 2


def test_the_layout_of_coco_itself(coco):
    root = coco.parent
    (root / "annotations").mkdir()
    (root / "val2017").mkdir()
    for name in ("a.png", "b.png"):
        (root / name).rename(root / "val2017" / name)
    path = coco.rename(root / "annotations" / "instances_val2017.json")
    assert len(list(open_labelled(path, LABELS))) == 2


def test_missing_pictures_are_skipped_named_and_counted(coco):
    (coco.parent / "b.png").unlink()
    data = open_labelled(coco, LABELS)
    assert len(list(data)) == 1
    assert (data.skipped, data.problems) == (1, ["b.png is missing and was skipped"])


def test_a_picture_of_another_size_than_labelled_is_skipped(coco, coco_json, picture):
    picture(coco.parent / "a.png", size=(60, 40))
    data = open_labelled(coco, LABELS)
    assert len(list(data)) == 1
    (line,) = data.problems
    assert line.startswith(
        "a.png is 40×60, turned upright as its EXIF says, its labels are for 60×40"
    )


def test_categories_without_objects_need_no_match(coco, coco_json):
    categories = [*coco_json()["categories"], {"id": 9, "name": "zebra"}, {"id": 4, "name": "owl"}]
    rewrite(coco, coco_json(categories=categories))
    assert open_labelled(coco, LABELS).classes == {0, 1, 2}
    rewrite(coco, coco_json(categories=categories, annotations=[{**BOX, "category_id": 9}]))
    with pytest.raises(DataError, match="'zebra'"):
        open_labelled(coco, LABELS)


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "x/../../a.png",
        "/etc/passwd",
        "..",
        "",
        ".",
        "a\\b.png",
        "C:a.png",
        "a\0.png",
        "a\n",
    ],
)
def test_file_names_that_lead_out_are_refused(coco, coco_json, name):
    rewrite(coco, coco_json(images=[{"id": 7, "file_name": name}]))
    with pytest.raises(DataError, match=r"images\[0\]"):
        open_labelled(coco, LABELS)


@pytest.mark.parametrize("name", ["x" * 5000, "\ud800.png", "a/" * 3000])
def test_file_names_that_no_disk_can_hold_are_refused(coco, coco_json, name):
    rewrite(coco, coco_json(images=[{"id": 7, "file_name": name}]))
    with pytest.raises(DataError, match="cannot be") as caught:
        open_labelled(coco, LABELS)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        ({"bbox": [1, 2, 3]}, "annotations[0]", "bbox"),
        ({"bbox": [1, 2, 0, 4]}, "annotations[0]", "above 0"),
        ({"bbox": [1, 2, 3, -4]}, "annotations[0]", "above 0"),
        ({"bbox": [1, float("nan"), 3, 4]}, "annotations[0]", "nan"),
        ({"bbox": [float("inf"), 1, 3, 4]}, "annotations[0]", "inf"),
        ({"bbox": [1, 2, 10**400, 4]}, "annotations[0]", "bbox"),
        ({"bbox": [1, 2, "3", 4]}, "annotations[0]", "'3'"),
        ({"bbox": [1, 2, True, 4]}, "annotations[0]", "True"),
        ({"bbox": None}, "annotations[0]", "None"),
        ({"bbox": [60, 2, 3, 4]}, "annotations[0]", "lies beside the picture"),
        ({"bbox": [-9, 2, 9, 4]}, "annotations[0]", "lies beside the picture"),
        ({"bbox": [9e6, 2, 1e-9, 4]}, "annotations[0]", "has no area"),
        ({"image_id": 99}, "annotations[0]", "image_id = 99"),
        ({"image_id": True}, "annotations[0]", "image_id"),
        ({"category_id": 99}, "annotations[0]", "category_id = 99"),
        ({"category_id": [3]}, "annotations[0]", "category_id"),
        ({"iscrowd": "yes"}, "annotations[0]", "iscrowd"),
    ],
)
def test_wrong_annotations_are_named(coco, coco_json, change, place, said):
    rewrite(coco, coco_json(annotations=[{**BOX, **change}]))
    with pytest.raises(DataError) as caught:
        open_labelled(coco, LABELS)
    assert place in str(caught.value)
    assert said in str(caught.value)


def test_a_box_beside_a_picture_of_unsaid_size_is_found_when_it_is_decoded(coco, coco_json):
    rewrite(coco, coco_json(annotations=[{**BOX, "image_id": 8, "bbox": [60, 0, 5, 5]}]))
    data = open_labelled(coco, LABELS)
    with pytest.raises(DataError, match=r"annotations\[0\]: the box lies beside the picture"):
        list(data)


def test_a_box_over_the_edge_is_kept_as_it_is(coco, coco_json):
    rewrite(coco, coco_json(annotations=[{**BOX, "bbox": [-5, -5, 70, 10]}]))
    (_, truth), _ = open_labelled(coco, LABELS)
    assert truth.boxes_xyxy.tolist() == [[-5, -5, 65, 5]]


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ({"images": None}, "'images' that is no list"),
        ({"annotations": {"a": 1}}, "'annotations' that is no list"),
        ({"categories": [1]}, "'categories' that is no list"),
        ({"categories": [{"id": 1}]}, "no 'name'"),
        ({"categories": [{"id": "1", "name": "x"}]}, "id = '1'"),
        ({"categories": [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]}, "a second time"),
        ({"images": [{"id": 7, "file_name": 5}]}, "file_name = 5"),
        ({"images": [{"id": 7, "file_name": "a"}] * 2}, "a second time"),
        ({"images": [{"id": i, "file_name": "a"} for i in (7, 8)]}, "under several ids"),
        ({"images": [{"id": 7, "file_name": "a", "width": -1, "height": 5}]}, "(5, -1)"),
        ({"images": [{"id": 7, "file_name": "a", "width": 1e9, "height": 5}]}, "width"),
    ],
)
def test_wrong_lists_are_named(coco_json, lists, said):
    with pytest.raises(DataError) as caught:
        parse(json.dumps(coco_json(**lists)), "set.json")
    assert str(caught.value).startswith("set.json")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: this is no JSON"),
        ('{\n"images": [', "line 2: this is no JSON"),
        ("[1]", "a list"),
        ("{}", "no 'categories'"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "this JSON cannot be read|no 'categories'"),
    ],
)
def test_hostile_json(text, said):
    with pytest.raises(DataError, match=said):
        parse(text, "set.json")


def test_a_json_that_is_too_large_is_not_read(coco, monkeypatch):
    monkeypatch.setattr(coco_module, "_LARGEST", 100)
    with pytest.raises(DataError, match=r"is too large(.|\n)*more than 100 bytes"):
        open_labelled(coco, LABELS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NUMBER = st.floats() | st.integers(-5, 10**30) | JSON
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 3) | JSON,
        "image_id": st.integers(0, 3) | JSON,
        "category_id": st.integers(0, 3) | JSON,
        "name": st.sampled_from(["cat", "dog"]) | JSON,
        "file_name": st.sampled_from(["a.png", "../b"]) | JSON,
        "width": NUMBER,
        "height": NUMBER,
        "iscrowd": JSON,
        "bbox": st.lists(NUMBER, min_size=3, max_size=5) | JSON,
    },
)


@settings(max_examples=150, deadline=None)
@given(
    st.fixed_dictionaries(
        {k: st.lists(ENTRY, max_size=3) | JSON for k in ("images", "annotations", "categories")}
    )
    | JSON
)
def test_any_json_is_read_or_refused(data):
    try:
        found = parse(json.dumps(data), "x")
    except DataError:
        return
    for objects in found.annotations.values():
        for one in objects:
            assert np.isfinite(one.xyxy).all()
            assert one.category in found.categories
