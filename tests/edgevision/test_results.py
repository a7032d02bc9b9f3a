from __future__ import annotations

import dataclasses
import json

import cv2
import numpy as np
import pytest

from edgevision.geometry import Transform
from edgevision.results import NOTHING, Classification, Detections, Keypoints, Segmentation
from edgevision.runs import runs_of
from edgevision.skeleton import Skeleton

THREE = Detections(
    np.array([[0, 1, 2, 3], [10.126, 11, 12, 13], [5, 5, 9, 9]], np.float32),
    np.array([0.9, 0.5, 0.25], np.float32),
    np.array([1, 0, 7], np.int32),
    ("cat", "dog"),
)


def test_nothing_found():
    empty = Detections.empty(("cat",))
    assert len(empty) == 0
    assert empty.boxes_xyxy.shape == (0, 4)
    assert empty.to_dict() == {"detections": []}
    assert empty.labels == ("cat",)


def test_a_class_without_a_name_is_its_number():
    assert [THREE.label(i) for i in range(3)] == ["dog", "cat", "7"]


def test_detections_as_json():
    assert json.loads(json.dumps(THREE.to_dict()))["detections"][1] == {
        "box_xyxy": [10.13, 11, 12, 13],
        "score": 0.5,
        "class_id": 0,
        "label": "cat",
    }


def test_select_by_mask_and_by_index():
    assert THREE.select(THREE.scores > 0.4).class_ids.tolist() == [1, 0]
    assert THREE.select(np.array([2, 0], np.intp)).class_ids.tolist() == [7, 1]
    assert len(THREE.select(np.zeros(3, bool))) == 0


def test_classes_as_json():
    found = Classification(np.array([2, 0], np.int32), np.array([0.75, 0.25], np.float32), ("a",))
    assert len(found) == 2
    assert json.loads(json.dumps(found.to_dict())) == {
        "classes": [
            {"class_id": 2, "score": 0.75, "label": "2"},
            {"class_id": 0, "score": 0.25, "label": "a"},
        ]
    }


# Key points

PAIR = Skeleton(("tip", "root"), ((0, 1),))
TWO = Keypoints(
    np.array([[[1.234, 2], [3, 4.567]], [[5, 6], [7, 8]]], np.float32),
    np.array([[0.9, 0.12345], [0.5, 0.25]], np.float32),
    np.array([0.75, 0.375], np.float32),
    PAIR,
)


def test_key_points_as_json():
    assert json.loads(json.dumps(TWO.to_dict()))["keypoints"][0] == {
        "score": 0.75,
        "points": {"tip": [1.23, 2, 0.9], "root": [3, 4.57, 0.1235]},
    }


def test_key_points_with_boxes_as_json():
    boxes = np.array([[0, 1, 2, 3], [4, 5, 6, 7.006]], np.float32)
    found = dataclasses.replace(TWO, boxes_xyxy=boxes).to_dict()["keypoints"]
    assert [person["box_xyxy"] for person in found] == [[0, 1, 2, 3], [4, 5, 6, 7.01]]


@pytest.mark.parametrize("boxes", [None, np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32)])
def test_key_points_come_back_from_json(boxes):
    given = dataclasses.replace(TWO, boxes_xyxy=boxes)
    # As golden files have it: with sorted keys.
    back = Keypoints.from_dict(json.loads(json.dumps(given.to_dict(), sort_keys=True)), PAIR)
    np.testing.assert_allclose(back.points, TWO.points, atol=0.005)
    np.testing.assert_allclose(back.point_scores, TWO.point_scores, atol=5e-5)
    np.testing.assert_array_equal(back.scores, TWO.scores)
    assert back.skeleton == PAIR
    assert (back.boxes_xyxy is None) == (boxes is None)


def test_nobody_found():
    empty = Keypoints.empty(PAIR)
    assert (len(empty), empty.points.shape, empty.point_scores.shape) == (0, (0, 2, 2), (0, 2))
    assert empty.to_dict() == {"keypoints": []}
    assert Keypoints.from_dict({"keypoints": []}, PAIR).points.shape == (0, 2, 2)


def test_a_point_that_is_missing_from_json_is_told_by_its_name():
    data = TWO.to_dict()
    del data["keypoints"][1]["points"]["root"]
    with pytest.raises(KeyError, match="root"):
        Keypoints.from_dict(data, PAIR)


# Masks


def segmentation(class_map, *, scale=(1.0, 1.0), offset=(0.0, 0.0), source=None, labels=("cat",)):
    """A mask and where it lies: ``scale`` source pixels a mask pixel, its corner at ``offset``."""
    class_map = np.array(class_map, np.uint8)
    height, width = class_map.shape
    matrix = np.array([[scale[0], 0, offset[0]], [0, scale[1], offset[1]]], np.float64)
    columns, lines = source or (round(width * scale[0]), round(height * scale[1]))
    way = Transform(matrix, columns, lines, (height, width))
    return Segmentation(*runs_of(class_map), way, labels)


NO = NOTHING
L_SHAPE = [[0, NO, NO], [0, 0, NO]]


def test_a_mask_gives_its_class_map_and_what_is_found():
    found = segmentation([[0, NO, 4], [0, NO, NO]], labels=("cat", "dog"))
    np.testing.assert_array_equal(found.class_map(), [[0, NO, 4], [0, NO, NO]])
    assert (len(found), found.found) == (2, [0, 4])
    assert [found.label(i) for i in found.found] == ["cat", "4"]


def test_a_mask_is_small_to_keep():
    square = np.full((256, 256), NO, np.uint8)
    square[50:200, 60:180] = 0
    found = segmentation(square)
    assert found.starts.nbytes + found.class_ids.nbytes < 1500  # of 65536


def test_a_mask_is_enlarged_to_the_source():
    # Each mask pixel covers 10 × 4 source pixels; (x, y) = (15, 1) lies in column 1 of line 0.
    mask = segmentation([[NO, 0], [NO, NO]], scale=(10, 4)).mask()
    assert mask.shape == (8, 20)
    assert mask.dtype == np.bool_
    assert mask[0, 18]
    assert not mask[0, 2]
    assert not mask[7, 18]


def test_a_mask_that_shows_all_reaches_every_edge_of_the_source():
    for scale in ((1, 1), (7.5, 2.8125), (0.4, 0.3)):
        assert segmentation(np.zeros((20, 30)), scale=scale).mask().all()


def test_the_edge_of_an_enlarged_mask_lies_where_it_was():
    half = np.full((8, 8), NO, np.uint8)
    half[:, :3] = 0
    mask = segmentation(half, scale=(16, 16)).mask()
    np.testing.assert_array_equal(mask.sum(axis=1), 48)
    np.testing.assert_array_equal(mask[:, :48], True)


@pytest.mark.parametrize("source", [(200, 120), (97, 61), (10, 6)])
def test_a_mask_of_the_whole_picture_and_one_that_reaches_beyond_it_agree(source):
    shape = np.full((12, 20), NO, np.uint8)
    cv2.circle(shape, (9, 5), 4, 0, cv2.FILLED)
    scale = (source[0] / 20, source[1] / 12)
    whole = segmentation(shape, scale=scale, source=source).mask()
    # The same mask with a column of padding on each side, as a letterbox leaves it.
    padded = np.pad(shape, ((0, 0), (1, 1)), constant_values=NO)
    beyond = segmentation(padded, scale=scale, offset=(-scale[0], 0), source=source).mask()
    assert whole.any()
    assert np.count_nonzero(whole ^ beyond) <= 0.02 * whole.size


def test_a_mask_of_a_part_shows_nothing_beside_it():
    # 2×2 mask pixels of 10 source pixels, placed at (30, 20) of 100×80.
    found = segmentation(np.zeros((2, 2)), scale=(10, 10), offset=(30, 20), source=(100, 80))
    wanted = np.zeros((80, 100), np.bool_)
    wanted[20:40, 30:50] = True
    differ = found.mask() ^ wanted
    assert not differ[25:35, 35:45].any()
    assert not differ[:15].any()
    assert not differ[:, 56:].any()
    assert found.share(0) == pytest.approx(400 / 8000)


def test_the_share_is_that_of_the_picture():
    assert segmentation(L_SHAPE, scale=(10, 4)).share(0) == 0.5
    assert segmentation(L_SHAPE, scale=(10, 4)).share(1) == 0
    # The mask also covers padding: three pixels of 10×10 in a picture of 30×10.
    assert segmentation(L_SHAPE, scale=(10, 10), source=(30, 10)).share(0) == 1


def test_masks_as_json():
    found = json.loads(json.dumps(segmentation(L_SHAPE, scale=(10, 4)).to_dict()))
    assert found == {
        "segments": [
            {
                "class_id": 0,
                "label": "cat",
                "share": 0.5,
                "rle": {"size": [2, 3], "counts": [0, 2, 1, 1, 2]},
            }
        ],
        "mask": {
            "size": [2, 3],
            "to_source": [[10, 0, 0], [0, 4, 0]],
            "source_size": [8, 30],
        },
    }


@pytest.mark.parametrize("class_map", [[[NO]], [[3]], L_SHAPE, [[0, 1], [2, NO]]])
def test_masks_come_back_from_json(class_map):
    given = segmentation(class_map, scale=(10, 4), offset=(3, 1))
    back = Segmentation.from_dict(json.loads(json.dumps(given.to_dict())), given.labels)
    np.testing.assert_array_equal(back.class_map(), class_map)
    np.testing.assert_allclose(back.transform.to_source, given.transform.to_source)
    assert (back.transform.width, back.labels) == (given.transform.width, given.labels)


@pytest.mark.parametrize("size", [[0, 3], [10**6, 10**6], [-2, -3]])
def test_a_mask_of_no_size_is_refused(size):
    data = segmentation(L_SHAPE).to_dict()
    data["mask"]["size"] = size
    with pytest.raises(ValueError, match=r"no mask of|negative"):
        Segmentation.from_dict(data)


def test_a_segment_of_another_size_than_the_mask_is_refused():
    data = segmentation(L_SHAPE).to_dict()
    data["segments"][0]["rle"]["counts"] = [0, 7]
    with pytest.raises(ValueError, match="7 pixels"):
        Segmentation.from_dict(data)
