from __future__ import annotations

import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.sources import SourceInfo, make_source
from edgevision.sources._ahead import Ahead, ahead
from edgevision.sources._limited import Limited


class Numbers:
    """Frames whose pixels are their index; tells which threads called what."""

    live = False

    def __init__(self, count, *, fails_at=None):
        self.count, self.fails_at = count, fails_at
        self.problems, self.threads = [], {}
        self.index = self.reads = self.closed = 0
        self.cancelled = threading.Event()

    def open(self):
        self.threads["open"] = threading.current_thread()
        self.index = 0
        self.cancelled.clear()
        return SourceInfo("numbers", 3, 2, 10.0, self.count)

    def read(self, into):
        self.threads["read"] = threading.current_thread()
        self.reads += 1
        if self.index == self.fails_at:
            raise DataError(f"frame {self.index} is broken")
        if self.index == self.count or self.cancelled.is_set():
            self.problems.append("the end")
            return False
        if not into.image.size:
            into.image = np.empty((2, 3, 3), np.uint8)
        into.image[:] = self.index
        into.format, into.index, into.pts_s = "bgr", self.index, self.index / 10
        into.captured_ns, into.source = 1000 + self.index, "odd" if self.index % 2 else into.source
        self.index += 1
        return True

    def cancel(self):
        self.cancelled.set()

    def close(self):
        self.threads["close"] = threading.current_thread()
        self.closed += 1


class Waiting(Numbers):
    """Gives one frame and then none until it is cancelled, as a stalled disk would."""

    def read(self, into):
        if self.index == 1:
            self.cancelled.wait(30)
        return super().read(into)


def taken(source):
    """All frames of an opened source, through two frames in turn, as a pipeline reads."""
    found, frames = [], [Frame(), Frame()]
    while source.read(frame := frames[len(found) % 2]):
        assert (frame.image == frame.index).all()
        found.append((frame.index, frame.pts_s, frame.captured_ns, frame.format, frame.source))
    return found


def settled(condition):
    """Waits until the other thread has got so far."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_every_frame_comes_once_and_in_order():
    source = Ahead(Numbers(50))
    info = source.open()
    assert (info.uri, info.frames) == ("numbers", 50)
    assert taken(source) == [
        (i, i / 10, 1000 + i, "bgr", "odd" if i % 2 else "") for i in range(50)
    ]
    assert not source.read(Frame())
    assert source.problems == ["the end"]
    source.close()


def test_a_frame_stays_as_it_is_while_later_ones_are_read():
    inner = Numbers(20)
    source = Ahead(inner)
    source.open()
    frame = Frame()
    assert source.read(frame)
    settled(lambda: inner.index >= 3)
    assert (frame.image == 0).all()
    source.close()


def test_no_more_than_two_frames_are_read_ahead():
    inner = Numbers(50)
    source = Ahead(inner)
    source.open()
    assert source.read(Frame())
    settled(lambda: inner.index == 3)
    time.sleep(0.05)
    assert inner.index == 3
    source.close()


def test_pixels_are_never_copied():
    source = Ahead(Numbers(40))
    source.open()
    frame, places = Frame(), set()
    while source.read(frame):
        places.add(frame.image.ctypes.data)
    assert len(places) <= 3  # two frames of its own, and the caller's
    source.close()


def test_what_fails_fails_where_its_frame_is_asked_for():
    source = Ahead(Numbers(50, fails_at=3))
    source.open()
    frame = Frame()
    assert [source.read(frame) for _ in range(3)] == [True] * 3
    with pytest.raises(DataError, match="frame 3 is broken"):
        source.read(frame)
    assert not source.read(frame)
    source.close()


def test_only_reading_is_done_by_the_other_thread():
    inner = Numbers(5)
    source = Ahead(inner)
    source.open()
    taken(source)
    source.close()
    here = threading.current_thread()
    assert inner.threads["open"] is inner.threads["close"] is here is not inner.threads["read"]


def test_cancel_leaves_out_what_was_read_ahead():
    inner = Numbers(50)
    source = Ahead(inner)
    source.open()
    assert source.read(Frame())
    source.cancel()
    assert not source.read(Frame())
    source.close()
    assert inner.cancelled.is_set()


def test_cancel_ends_a_read_that_waits():
    source = Ahead(Waiting(9))
    source.open()
    assert source.read(Frame())
    timer = threading.Timer(0.05, source.cancel)
    timer.start()
    assert not source.read(Frame())
    timer.join()
    source.close()


@pytest.mark.parametrize("reads", [0, 1, 3])
def test_closing_early_leaves_no_thread_behind(reads):
    inner = Numbers(50)
    source = Ahead(inner)
    source.open()
    for _ in range(reads):
        source.read(Frame())
    source.close()
    assert not inner.threads["read"].is_alive() if "read" in inner.threads else True
    read = inner.reads
    time.sleep(0.02)
    assert inner.reads == read
    source.close()


def test_it_can_be_opened_again():
    inner = Numbers(4)
    source = Ahead(inner)
    for _ in range(2):
        source.open()
        assert [index for index, *_ in taken(source)] == [0, 1, 2, 3]
    source.close()
    source.open()
    source.read(Frame())
    source.open()  # in the middle of a pass
    assert [index for index, *_ in taken(source)] == [0, 1, 2, 3]
    source.close()


def test_a_source_that_cannot_be_opened_says_so_at_once(tmp_path):
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(DataError, match="is empty"):
        Ahead(make_source(str(tmp_path / "empty.mp4"))).open()


def test_a_limit_holds_for_what_is_read_ahead():
    inner = Numbers(50)
    source = Ahead(Limited(inner, 3))
    assert source.open().frames == 3
    assert len(taken(source)) == 3
    assert inner.reads == 3
    source.close()


def test_live_sources_are_left_as_they_are():
    inner = Numbers(1)
    inner.live = True
    assert ahead(inner) is inner
    inner.live = False
    assert isinstance(ahead(inner), Ahead)


def test_a_video_gives_the_same_pixels(squares_video):
    plain, other = make_source(str(squares_video)), Ahead(make_source(str(squares_video)))
    assert plain.open() == other.open()
    one, two = Frame(), Frame()
    while plain.read(one):
        assert other.read(two)
        np.testing.assert_array_equal(one.image, two.image)
        assert (one.index, one.pts_s) == (two.index, two.pts_s)
    assert not other.read(two)
    plain.close()
    other.close()


def test_a_limit_holds_again_when_it_is_opened_again():
    source = Limited(Numbers(50), 3)
    for _ in range(2):
        source.open()
        assert len(taken(source)) == 3


#: A source that is within OpenCV at any time: a thread that Python stops there takes the process down.
BUSY = """
import cv2, numpy as np
from edgevision.sources import SourceInfo
from edgevision.sources._ahead import Ahead

class Busy:
    live, problems = False, []
    def open(self): return SourceInfo("busy", 1, 1, 0.0, None)
    def read(self, into):
        started.set()
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (99, 99), 30)
        return True
    def cancel(self): print("cancelled")
    def close(self): pass

from threading import Event
started = Event()
source = Ahead(Busy())
source.open()
started.wait(30)
"""


def test_a_program_may_end_while_frames_are_read():
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled\n", "")


def test_a_thread_may_close_a_source_while_the_program_ends_it():
    inner = Numbers(50)
    source = Ahead(inner)
    source.open()
    cancel = inner.cancel

    def closed_meanwhile():
        inner.cancel = cancel
        source.close()

    inner.cancel = closed_meanwhile
    source._end()
    assert not inner.threads["read"].is_alive() if "read" in inner.threads else True
    assert "close" in inner.threads


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "read to its end"])
def test_nothing_of_a_source_that_is_done_is_kept_until_the_program_ends(closed):
    source = Ahead(Numbers(5))
    source.open()
    if closed:
        source.close()
    else:
        taken(source)
        source._reader.join()
    kept = weakref.ref(source)
    del source
    assert kept() is None
