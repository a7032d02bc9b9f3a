from __future__ import annotations

import numpy as np
import pytest

from edgevision import draw
from edgevision.results import Classification, Detections

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
