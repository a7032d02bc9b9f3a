from __future__ import annotations

import numpy as np

from edgevision.frame import Frame


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
