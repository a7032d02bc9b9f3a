from __future__ import annotations

import numpy as np
import pytest

from edgevision.errors import UsageError
from edgevision.frame import Frame
from edgevision.sources import make_source


def images(uri, count=None):
    source = make_source(uri)
    source.open()
    frame, found = Frame(), []
    while (count is None or len(found) < count) and source.read(frame):
        found.append(frame.image.copy())
    source.close()
    return found


@pytest.mark.parametrize("scene", ["noise", "shapes"])
def test_the_same_seed_gives_the_same_frames(scene):
    uri = f"synthetic://{scene}?size=80x60&frames=3&seed="
    first, again, other = images(uri + "7"), images(uri + "7"), images(uri + "8")
    assert [image.shape for image in first] == [(60, 80, 3)] * 3
    np.testing.assert_array_equal(first, again)
    assert (np.array(first) != np.array(other)).any()
    assert (first[0] != first[1]).any()


def test_defaults():
    source = make_source("synthetic://noise")
    info = source.open()
    assert (info.width, info.height, info.fps, info.frames) == (640, 480, 30, 100)


def test_frames_carry_time_and_index():
    source = make_source("synthetic://noise?size=8x8&frames=3&fps=4")
    source.open()
    frame, seen = Frame(), []
    while source.read(frame):
        seen.append((frame.index, frame.pts_s))
    assert seen == [(0, 0), (1, 0.25), (2, 0.5)]
    source.open()
    assert source.read(frame)
    assert frame.index == 0


def test_frames_0_is_endless_until_it_is_cancelled():
    source = make_source("synthetic://noise?size=8x8&frames=0")
    assert source.open().frames is None
    frame = Frame()
    for _ in range(150):
        assert source.read(frame)
    source.cancel()
    assert not source.read(frame)


def test_the_smallest_size():
    assert images("synthetic://shapes?size=1x1&frames=2")[0].shape == (1, 1, 3)


@pytest.mark.parametrize(
    "rest",
    [
        "", "clouds", "noise?size=12", "noise?size=axb", "noise?size=0x5", "noise?size=99999x5",
        "noise?size=1x2x3", "noise?seed=-1", "noise?seed=x", "noise?frames=-1", "noise?frames=1.5",
        "noise?fps=0", "noise?fps=nan", "noise?fps=inf", "noise?speed=1", "noise?seed=", "[", "noise/x",
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_refused(rest):
    with pytest.raises(UsageError):
        make_source("synthetic://" + rest)
