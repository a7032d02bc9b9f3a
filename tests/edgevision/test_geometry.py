from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.geometry import Affine, Transform

numbers = st.floats(-2000, 2000, allow_nan=False)
gains = st.floats(0.01, 100) | st.floats(-100, -0.01)


def scaled(gain_x, gain_y, x=0.0, y=0.0, width=640, height=480):
    return Transform(np.array([[gain_x, 0, x], [0, gain_y, y]]), width, height, (320, 320))


def turned(degrees, x=0.0, y=0.0, width=640, height=480):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return Transform(np.array([[c, -s, x], [s, c, y]]), width, height, (320, 320))


def test_identity_leaves_points_and_boxes_as_they_are():
    same = Transform.identity(480, 640)
    box = np.array([[1.5, 2.5, 640, 480]])
    np.testing.assert_array_equal(same.boxes(box), box)
    np.testing.assert_array_equal(same.points(box[0].reshape(2, 2)), box[0].reshape(2, 2))
    assert (same.width, same.height, same.tensor_hw) == (640, 480, (480, 640))


@given(gains, gains, st.floats(-3, 3), st.floats(-3, 3), numbers, numbers)
def test_to_tensor_is_the_exact_inverse(gain_x, gain_y, skew_x, skew_y, x, y):
    # Skews far below the gains keep the matrix well away from a singular one.
    matrix = np.array([[gain_x, skew_x * 1e-3 * gain_x, x], [skew_y * 1e-3 * gain_y, gain_y, y]])
    transform = Transform(matrix, 640, 480, (320, 320))
    whole = np.vstack([transform.to_source, [0, 0, 1]])
    back = np.vstack([transform.to_tensor, [0, 0, 1]])
    # What is left is float64 rounding, which grows with the offsets.
    scale = 1 + np.abs(whole).max() * np.abs(back).max()
    np.testing.assert_allclose(back @ whole, np.eye(3), atol=1e-14 * scale)
    np.testing.assert_allclose(whole @ back, np.eye(3), atol=1e-14 * scale)


@given(gains, gains, numbers, numbers, st.lists(st.tuples(numbers, numbers), min_size=1))
def test_points_go_there_and_back(gain_x, gain_y, x, y, points):
    transform = scaled(gain_x, gain_y, x, y)
    back = Transform(transform.to_tensor, 640, 480, (320, 320))
    there = transform.points(np.array(points))
    # float32 results: their rounding, in tensor pixels.
    slack = 1e-6 * (np.abs(there).max() + 1) / min(abs(gain_x), abs(gain_y)) + 1e-3
    np.testing.assert_allclose(back.points(there), points, atol=slack)


def test_points_of_any_leading_shape_are_mapped():
    points = np.arange(24.0).reshape(3, 4, 2)
    mapped = scaled(2, 3, 5, 7).points(points)
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, points * [2, 3] + [5, 7])


def test_boxes_are_scaled_shifted_and_clipped_to_the_frame():
    boxes = np.array(
        [[10, 10, 20, 20], [-50, -50, 10, 10], [300, 200, 900, 900], [900, 1, 999, 2]], float
    )
    mapped = scaled(2, 2, 10, -10).boxes(boxes)
    expected = [[30, 10, 50, 30], [0, 0, 30, 10], [610, 390, 640, 480], [640, 0, 640, 0]]
    np.testing.assert_array_equal(mapped, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_boxes_of_any_dtype_and_order_give_new_contiguous_float32(dtype, order):
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype, order=order)
    before = boxes.copy()
    mapped = scaled(2, 2).boxes(boxes)
    assert mapped.dtype == np.float32
    assert mapped.flags.c_contiguous
    mapped[:] = 0
    np.testing.assert_array_equal(boxes, before)


def test_no_boxes_are_no_boxes():
    for transform in (scaled(2, 2), turned(30)):
        assert transform.boxes(np.empty((0, 4), np.float32)).shape == (0, 4)


def test_a_turned_box_becomes_the_upright_box_around_it():
    # By 90°: (x, y) → (100 − y, x).
    mapped = turned(90, x=100).boxes(np.array([[10.0, 20, 30, 50]]))
    np.testing.assert_allclose(mapped, [[50, 10, 80, 30]], atol=1e-4)
    # A unit square turned by 45° is √2 wide.
    square = turned(45, x=100, y=100).boxes(np.array([[-1.0, -1, 1, 1]]))
    half = np.sqrt(2)
    np.testing.assert_allclose(
        square, [[100 - half, 100 - half, 100 + half, 100 + half]], rtol=1e-6
    )


def test_a_mirrored_axis_still_needs_corners_in_order():
    mapped = turned(180, x=100, y=100).boxes(np.array([[10.0, 20, 30, 50]]))
    np.testing.assert_allclose(mapped, [[70, 50, 90, 80]], atol=1e-4)


def test_an_upright_mirrored_box_keeps_its_corners_in_order():
    mapped = scaled(-1, 1, x=100).boxes(np.array([[10.0, 20, 30, 50]]))
    np.testing.assert_array_equal(mapped, [[70, 20, 90, 50]])


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ([[1, 0, 5], [0, 1, 7]], (5, 7)),
        ([[1, 0, -5], [0, 1, 0]], (-5, 0)),
        ([[1, 0, 5.5], [0, 1, 7]], None),
        ([[2, 0, 5], [0, 1, 7]], None),
        ([[1, 0.1, 5], [0, 1, 7]], None),
        ([[0, -1, 5], [1, 0, 7]], None),
    ],
)
def test_only_upright_crops_at_whole_pixels_are_rectangles(matrix, corner):
    assert Affine(np.array(matrix, float), 10, 10).rectangle() == corner


def test_a_crop_is_an_upright_rectangle():
    region = Affine.crop(3, 4, 20, 10)
    assert (region.rectangle(), region.width, region.height) == ((3, 4), 20, 10)
