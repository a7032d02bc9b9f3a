"""Frames that are not blue-green-red: turned into it where nobody takes them as they are, with the same results."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.pixel_formats import bgr_copy, to_bgr

NOTHING = np.empty((0, 0, 3), np.uint8)


def as_nv12(bgr):
    """Planes of OpenCV's I420, with U and V in turn."""
    height, width = bgr.shape[:2]
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    u, v = planar[height:].reshape(2, height // 2, width // 2)
    return np.vstack([planar[:height], np.dstack([u, v]).reshape(height // 2, width)])


def as_yuyv(bgr):
    """OpenCV has no such conversion: two pixels share the colour of the first."""
    y, u, v = cv2.split(cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV))
    pairs = np.empty((*bgr.shape[:2], 2), np.uint8)
    pairs[..., 0] = y
    pairs[:, 0::2, 1], pairs[:, 1::2, 1] = u[:, 0::2], v[:, 0::2]
    return pairs


MADE = {
    "nv12": (as_nv12, cv2.COLOR_YUV2BGR_NV12),
    "yuyv": (as_yuyv, cv2.COLOR_YUV2BGR_YUY2),
    "gray": (lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
}


@pytest.mark.parametrize("format", MADE)
@pytest.mark.parametrize("size", [(2, 2), (48, 64), (90, 70)], ids=str)
def test_a_frame_becomes_what_opencv_makes_of_it(format, size):
    make, conversion = MADE[format]
    image = make(np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8))
    found = to_bgr(image, format, NOTHING)
    np.testing.assert_array_equal(found, cv2.cvtColor(image, conversion))
    frame = Frame(image, format)
    assert found.shape == (frame.height, frame.width, 3)
    again = to_bgr(image, format, found)
    assert again is found, "no new memory a frame"


def test_a_bgr_frame_is_handed_on_but_copied_to_draw_on():
    image = np.full((4, 6, 3), 7, np.uint8)
    assert to_bgr(image, "bgr", NOTHING) is image
    canvas = bgr_copy(Frame(image), NOTHING)
    assert not np.shares_memory(canvas, image)
    np.testing.assert_array_equal(canvas, image)
    assert bgr_copy(Frame(image), canvas) is canvas


@pytest.mark.parametrize(
    ("format", "image"),
    [
        ("nv12", np.zeros((10, 10), np.uint8)),
        ("nv12", np.zeros((9, 7), np.uint8)),
        ("nv12", np.zeros((0, 8), np.uint8)),
        ("nv12", np.zeros((9, 8), np.uint16)),
        ("yuyv", np.zeros((4, 7, 2), np.uint8)),
        ("yuyv", np.zeros((4, 8, 3), np.uint8)),
        ("yuyv", np.zeros((4, 8), np.uint8)),
        ("gray", np.zeros((4, 8, 1), np.uint8)),
        ("rgb565", np.zeros((4, 8, 2), np.uint8)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.shape}-{value.dtype}",
)
def test_what_is_no_such_frame_is_named(format, image):
    with pytest.raises(DataError, match="no frame that can be loaded") as caught:
        to_bgr(image, format, NOTHING)
    assert f"as {format}" in str(caught.value)


@pytest.fixture
def stream_of(list_source, load, models):
    """Boxes and scores of a stream of frames in a format."""

    @dataclass
    class Formatted(list_source):
        format: str = "bgr"

        def read(self, into):
            into.format = self.format
            return super().read(into)

    def stream_it(images, format):
        source = Formatted(images, format=format)
        with load(models.detector) as model:
            results = [result for _, result in model.stream(source)]
        return [(one.boxes_xyxy.tolist(), one.scores.tolist()) for one in results]

    return stream_it


@pytest.mark.parametrize("format", ["nv12", "yuyv"])
def test_a_stream_of_such_frames_gives_what_bgr_gives(stream_of, draw_square, format):
    make, conversion = MADE[format]
    images = [make(draw_square("red", (8 * n, 16))) for n in range(4)]
    found = stream_of(images, format)
    assert found == stream_of([cv2.cvtColor(image, conversion) for image in images], "bgr")
    assert all(max(scores, default=0) > 0.7 for _, scores in found), "the squares are still found"


def test_a_stream_of_grey_frames_gives_what_bgr_gives(stream_of):
    images = [np.random.default_rng(n).integers(0, 256, (50, 70), np.uint8) for n in range(3)]
    assert stream_of(images, "gray") == stream_of([np.dstack([i] * 3) for i in images], "bgr")


def test_a_frame_of_the_wrong_shape_is_told_as_such(stream_of):
    with pytest.raises(DataError, match="no frame that can be loaded"):
        stream_of([np.zeros((10, 10), np.uint8)], "nv12")
