from __future__ import annotations

import shutil
import subprocess

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.sources import make_source
from edgevision.sources.video import VideoSource


def read_all(source):
    frame = Frame()
    while source.read(frame):
        yield frame


def test_frames_are_those_of_the_file(squares_video):
    source = VideoSource(str(squares_video))
    info = source.open()
    assert (info.width, info.height, info.fps, info.frames) == (96, 96, 10, 12)
    facts = [(f.index, round(f.pts_s, 3), f.image.shape, f.format) for f in read_all(source)]
    assert facts == [(i, i / 10, (96, 96, 3), "bgr") for i in range(12)]
    assert source.problems == []
    source.close()
    source.close()


def test_pixels_are_those_that_were_written(tmp_path, make_video):
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    path = make_video(tmp_path / "lossless.avi", [image], codec="FFV1")
    source = VideoSource(str(path))
    source.open()
    frame = next(read_all(source))
    assert np.abs(frame.image.astype(int) - image).mean() < 2


def test_frames_are_filled_in_place(squares_video):
    source = VideoSource(str(squares_video))
    source.open()
    assert len({frame.image.ctypes.data for frame in read_all(source)}) == 1
    source.close()


def test_it_can_be_opened_again(squares_video):
    source = VideoSource(str(squares_video))
    for _ in range(2):
        source.open()
        assert [frame.index for frame in read_all(source)] == list(range(12))
        source.close()


def test_cancel_ends_it_without_a_problem(squares_video):
    source = VideoSource(str(squares_video))
    source.open()
    frame = Frame()
    assert source.read(frame)
    source.cancel()
    assert not source.read(frame)
    assert source.problems == []
    source.close()


def test_reading_what_is_closed_gives_nothing(squares_video):
    assert not VideoSource(str(squares_video)).read(Frame())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.mp4", b"", "is empty"),
        ("garbage.mp4", bytes(range(256)) * 40, "no video that OpenCV can read"),
        ("text.avi", b"this is no film\n" * 100, "no video that OpenCV can read"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as refused:
        make_source(str(path)).open()
    assert name in str(refused.value)


def test_a_video_that_ends_early_is_named(tmp_path, make_video, draw_square):
    images = [draw_square(at=(i, 0), size=(96, 96)) for i in range(40)]
    whole = make_video(tmp_path / "whole.avi", images).read_bytes()
    path = tmp_path / "cut.avi"
    path.write_bytes(whole[: len(whole) // 2])
    source = VideoSource(str(path))
    source.open()
    count = sum(1 for _ in read_all(source))
    assert 5 < count < 35
    assert source.problems == [f"cut.avi ended early: {count} of the 40 frames it announces"]


def test_a_header_without_frames_is_refused(tmp_path, make_video, draw_square):
    whole = make_video(tmp_path / "whole.avi", [draw_square(size=(96, 96))] * 3).read_bytes()
    path = tmp_path / "head.avi"
    path.write_bytes(whole[: whole.index(b"movi") + 4])
    source = VideoSource(str(path))
    with pytest.raises(DataError, match=r"head\.avi"):
        source.open()
        source.read(Frame())


def test_a_picture_size_that_changes_midway_gets_a_new_buffer(tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg to join two H.264 streams")
    # Annex B streams may be joined byte by byte; each part brings its own size.

    parts = []
    for size in ("64x48", "96x64"):
        part = tmp_path / f"{size}.h264"
        command = f"ffmpeg -loglevel error -f lavfi -i testsrc=size={size}:rate=5 -t 1 -c:v libx264 {part}"
        subprocess.run(command.split(), check=True)
        parts.append(part.read_bytes())
    path = tmp_path / "joined.h264"
    path.write_bytes(b"".join(parts))
    source = VideoSource(str(path))
    source.open()
    shapes = [frame.image.shape for frame in read_all(source)]
    source.close()
    assert len(shapes) == 10
    assert all(len(shape) == 3 for shape in shapes)


def test_skip_passes_frames_unseen(squares_video):
    source = VideoSource(str(squares_video))
    source.open()
    assert source.skip()
    frame = Frame()
    assert source.read(frame)
    assert frame.index == 1
    source.close()
    assert not source.skip()


def test_opencv_agrees_on_the_first_real_frame(test_data):
    path = str(test_data / "video" / "vtest.avi")
    source = VideoSource(path)
    info = source.open()
    assert (info.width, info.height, info.fps, info.frames) == (768, 576, 10, 795)
    frame = next(read_all(source))
    _, wanted = cv2.VideoCapture(path).read()
    np.testing.assert_array_equal(frame.image, wanted)
    source.close()


def test_times_are_the_container_s_where_the_rate_varies(tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("needs ffmpeg to write frames at uneven times")
    path = tmp_path / "uneven.mp4"
    kept = (0, 1, 2, 5, 9, 19)
    chosen = "+".join(rf"eq(n\,{n})" for n in kept)
    command = f"ffmpeg -loglevel error -f lavfi -t 2 -i testsrc=size=64x48:rate=10 -vf select={chosen} -fps_mode vfr"
    done = subprocess.run(
        [*command.split(), "-c:v", "mpeg4", path], capture_output=True, timeout=60
    )
    if b"fps_mode" in done.stderr:
        pytest.skip("this ffmpeg is too old")
    source = VideoSource(str(path))
    source.open()
    assert [round(f.pts_s, 3) for f in read_all(source)] == [n / 10 for n in kept]
    source.close()


class Timeless:
    """A capture whose container tells no times."""

    def __init__(self, times):
        self.times, self.now = list(times), 0.0

    def get(self, key):
        return self.now if key == cv2.CAP_PROP_POS_MSEC else 0.0

    def grab(self):
        self.now = self.times.pop(0)
        return True

    def read(self, into=None):
        self.grab()
        return True, np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("told_ms", "fps", "times"),
    [
        ([0, 0, 0], 10, [0, 0.1, 0.2]),  # none at all
        ([0, 100, 0, 0], 10, [0, 0.1, 0.2, 0.3]),  # none any more
        ([-40, 0, 40], 25, [0, 0.04, 0.08]),  # begins before its own start
        ([500, 600], 10, [0.5, 0.6]),  # begins later
        ([0, 0], 0, [0, 0]),  # and no rate either
    ],
)
def test_where_the_container_tells_no_time_it_is_the_rate_s(told_ms, fps, times):
    source = VideoSource("x.avi")
    source._capture, source._fps = Timeless(told_ms), fps
    frame, found = Frame(), []
    for _ in told_ms:
        assert source.read(frame)
        found.append(round(frame.pts_s, 6))
    assert found == times


def test_times_go_on_past_frames_that_are_skipped():
    source = VideoSource("x.avi")
    source._capture, source._fps = Timeless([0, 0, 0]), 10
    frame = Frame()
    assert source.skip()
    assert source.skip()
    assert source.read(frame)
    assert (frame.index, round(frame.pts_s, 6)) == (2, 0.2)
