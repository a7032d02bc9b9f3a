from __future__ import annotations

import numpy as np
import pytest

from edgevision import draw
from edgevision.geometry import Transform
from edgevision.results import NOTHING, Classification, Detections, Keypoints, Segmentation
from edgevision.runs import runs_of
from edgevision.skeleton import Skeleton

SIZES = [(240, 320), (1080, 1920), (2160, 3840), (320, 240), (1, 1), (3, 500), (500, 3)]


def boxes(*found, labels=("cat", "dog")):
    values = np.array(found, np.float64).reshape(-1, 6)
    return Detections(
        values[:, :4].astype(np.float32),
        values[:, 4].astype(np.float32),
        values[:, 5].astype(np.int32),
        labels,
    )


def painted(image):
    """Outermost changed pixels of a black picture: left, top, right, bottom (exclusive)."""
    rows, columns = np.nonzero(image.any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_box_is_drawn_around_its_pixels():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.detections(image, boxes((100, 80, 300, 200, 0.9, 0)))
    left, top, right, bottom = painted(image)
    assert (left, right, bottom) == (100, 300, 200)
    assert top < 80  # the label stands above
    assert image[150, 200].tolist() == [0, 0, 0]
    assert tuple(image[150, 100].tolist()) == draw.colour(0)


def test_a_label_stays_within_the_picture():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.detections(image, boxes((300, 0, 320, 40, 0.9, 0), labels=("a rather long label",)))
    left, top, right, _ = painted(image)
    assert (top, right) == (0, 320)
    assert left < 300


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_of_picture_and_box_can_be_drawn(size):
    image = np.zeros((*size, 3), np.uint8)
    far = (-1e6, -1e6, 1e6, 1e6, 0.5, 3)
    draw.detections(
        image, boxes(far, (size[1] + 5, 5, size[1] + 9, 9, 0.1, 0), (5, 5, 2, 2, 0.1, 1))
    )
    assert image.any()


def test_boxes_that_are_not_finite_are_left_out():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.detections(image, boxes((np.nan, 0, 10, 10, 0.9, 0), (0, 0, np.inf, 10, 0.9, 0)))
    assert not image.any()


def test_nothing_found_leaves_the_picture_as_it_is():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.detections(image, Detections.empty())
    draw.classification(image, Classification(np.empty(0, np.int32), np.empty(0, np.float32)))
    assert not image.any()


def test_text_grows_with_the_picture():
    heights = []
    for height, width in ((240, 320), (1080, 1920), (2160, 3840)):
        image = np.zeros((height, width, 3), np.uint8)
        draw.classification(image, Classification(np.array([0]), np.array([0.5])))
        heights.append(painted(image)[3])
    assert heights[0] >= 12
    assert heights == sorted(heights)
    assert heights[2] >= 1.8 * heights[1]


def test_text_stands_out_from_its_background():
    for class_id in range(80):
        image = np.zeros((240, 320, 3), np.uint8)
        draw.classification(image, Classification(np.array([class_id]), np.array([0.5])))
        left, top, right, bottom = painted(image)
        luma = image[top:bottom, left:right] @ np.array([0.114, 0.587, 0.299])
        assert np.ptp(luma) > 75


def test_classes_stand_below_each_other_as_far_as_there_is_room():
    image = np.zeros((60, 320, 3), np.uint8)
    many = Classification(np.arange(30), np.linspace(1, 0, 30))
    draw.classification(image, many)
    assert tuple(image[0, 0].tolist()) == draw.colour(0)
    assert painted(image)[3] <= 60


def test_colours_are_the_same_each_time_and_apart_from_each_other():
    colours = np.array([draw.colour(i) for i in range(20)], int)
    assert (colours == [draw.colour(i) for i in range(20)]).all()
    apart = np.abs(colours[:, None] - colours[None]).max(axis=2)
    assert apart[~np.eye(20, dtype=bool)].min() >= 15
    neighbours = np.abs(np.diff(colours, axis=0)).max(axis=1)
    assert neighbours.min() >= 100


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("person", "person"),
        ("", ""),
        ("a\nb\x1b[31m\tc\x00\x7f", "ab[31mc"),
        ("Straße 犬", "Stra?e ?"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 60, "x" * 45 + "..."),
    ],
)
def test_labels_become_printable_ascii(label, shown):
    assert draw.drawable(label) == shown


def test_strided_pictures_are_drawn_into():
    whole = np.zeros((240, 640, 3), np.uint8)
    draw.detections(whole[:, :320], boxes((100, 80, 300, 200, 0.9, 0)))
    assert whole[:, :320].any()
    assert not whole[:, 320:].any()


# Key points and masks


def person(*points, edges=((0, 1), (1, 2)), box=None):
    """One person from (x, y, score)."""
    values = np.array([points], np.float32)
    skeleton = Skeleton(tuple(f"point {i}" for i in range(len(points))), edges)
    boxes = None if box is None else np.array([box], np.float32)
    return Keypoints(values[..., :2], values[..., 2], np.ones(1, np.float32), skeleton, boxes)


def test_points_that_are_joined_are_drawn_with_their_line():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.keypoints(image, person((50, 100, 0.9), (250, 100, 0.9), (250, 200, 0.9)))
    assert image[100, 150].any()
    assert image[150, 250].any()
    assert not image[180, 100].any()
    left, top, right, bottom = painted(image)
    assert (left, top) == pytest.approx((50, 100), abs=3)
    assert (right, bottom) == pytest.approx((251, 201), abs=3)


def test_points_that_are_not_sure_are_left_out_with_their_lines():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.keypoints(image, person((50, 100, 0.9), (250, 100, 0.29), (250, 200, 0.9)))
    assert not image[100, 150].any()
    assert image[100, 50].any()
    assert image[200, 250].any()
    draw.keypoints(image, person((50, 100, 0.3), (250, 100, 0.3), (250, 200, 0.0)))
    assert image[100, 150].any()


def test_the_box_of_a_person_is_drawn_where_there_is_one():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.keypoints(image, person((50, 100, 0.0), (60, 100, 0.0), edges=(), box=(40, 90, 80, 120)))
    assert painted(image) == (40, 90, 80, 120)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_of_picture_and_point_can_be_drawn(size):
    image = np.zeros((*size, 3), np.uint8)
    far = person((-1e9, 5, 0.9), (size[1] / 2, size[0] / 2, 0.9), (1e9, -1e9, 0.9))
    draw.keypoints(image, far)
    assert image.any()


def test_nobody_leaves_the_picture_as_it_is():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.keypoints(image, Keypoints.empty(Skeleton(("a", "b"))))
    draw.segmentation(image, mask(np.full((4, 4), NOTHING), image))
    assert not image.any()


def mask(class_map, image, labels=("cat", "dog")):
    """A mask over all of a picture."""
    class_map = np.asarray(class_map, np.uint8)
    (height, width), (rows, columns) = class_map.shape, image.shape[:2]
    matrix = np.array([[columns / width, 0, 0], [0, rows / height, 0]])
    return Segmentation(
        *runs_of(class_map), Transform(matrix, columns, rows, (height, width)), labels
    )


def test_a_mask_is_tinted_and_the_rest_is_left_alone():
    image = np.full((240, 320, 3), 100, np.uint8)
    draw.segmentation(image, mask([[NOTHING, 0], [NOTHING, NOTHING]], image))
    assert (image[130:, :150] == 100).all()
    shade = np.array(draw.colour(0))
    np.testing.assert_allclose(image[60, 240], 0.4 * shade + 0.6 * 100, atol=1)
    assert image[0, 0].tolist() == list(draw.colour(0))  # the panel with the name


def test_every_class_has_its_colour():
    image = np.zeros((240, 320, 3), np.uint8)
    draw.segmentation(image, mask([[NOTHING, 0], [NOTHING, 1]], image))
    for row, class_id in ((60, 0), (180, 1)):
        np.testing.assert_allclose(image[row, 240], 0.4 * np.array(draw.colour(class_id)), atol=1)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_mask_of_any_picture_can_be_drawn(size):
    image = np.zeros((*size, 3), np.uint8)
    draw.segmentation(image, mask([[0, 1], [1, NOTHING]], image))
    assert image.any()
