from __future__ import annotations

import numpy as np

from edgevision.frame import Frame, picture_digest


def test_a_new_frame_is_empty():
    frame = Frame()
    assert (frame.width, frame.height, frame.index, frame.format) == (0, 0, 0, "bgr")


def test_width_and_height():
    frame = Frame(np.zeros((3, 5, 3), np.uint8))
    assert (frame.width, frame.height) == (5, 3)


def test_a_copy_has_pixels_of_its_own():
    frame = Frame(np.zeros((2, 2, 3), np.uint8), "bgr", 4, 0.4, 123, "cam")
    copy = frame.copy()
    frame.image[:] = 9
    assert copy.image.max() == 0
    facts = (copy.format, copy.index, copy.pts_s, copy.captured_ns, copy.source)
    assert facts == ("bgr", 4, 0.4, 123, "cam")


def test_two_pictures_are_the_same_if_pixels_and_shape_are():
    flat = np.arange(24, dtype=np.uint8)
    tall, wide = flat.reshape(4, 2, 3), flat.reshape(2, 4, 3)
    assert picture_digest(tall) == picture_digest(tall.copy())
    assert picture_digest(tall) != picture_digest(wide)
    assert picture_digest(wide[:, ::2]) == picture_digest(wide[:, ::2].copy())
