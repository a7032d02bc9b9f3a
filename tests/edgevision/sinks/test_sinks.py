from __future__ import annotations

import errno
import json
import os
import subprocess

import cv2
import numpy as np
import pytest

from edgevision import draw
from edgevision.errors import OutputError, UsageError
from edgevision.frame import Frame
from edgevision.results import Detections
from edgevision.sinks import claim, make_sink
from edgevision.sinks.video import VideoSink
from edgevision.sources import SourceInfo

INFO = SourceInfo("list", 64, 48, 10.0, None)


def frame(index=0, size=(48, 64), value=40, source=""):
    return Frame(np.full((*size, 3), value, np.uint8), index=index, pts_s=index / 10, source=source)


def result(count=1):
    boxes = np.array([[10.123456, 11, 40, 41]] * count, np.float32).reshape(-1, 4)
    scores, ids = np.full(count, 0.98769, np.float32), np.full(count, 1, np.int32)
    return Detections(boxes, scores, ids, ("cat", "dög"))


def sink(uri, force=False):
    return make_sink(str(uri), draw.detections, force=force)


def fill(one, count=3, info=INFO, **facts):
    one.open(info)
    for index in range(count):
        one.write(frame(index, **facts), result())
    one.close()


def test_result_lines_have_stable_keys(tmp_path):
    one = sink(tmp_path / "out.jsonl")
    one.open(INFO)
    one.write(frame(3), result())
    one.write(frame(4, source="a.png"), result(0))
    one.close()
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert lines == [
        {
            "frame": 3,
            "pts_s": 0.3,
            "detections": [
                {
                    "box_xyxy": [10.12, 11.0, 40.0, 41.0],
                    "score": 0.9877,
                    "class_id": 1,
                    "label": "dög",
                }
            ],
        },
        {"frame": 4, "pts_s": 0.4, "source": "a.png", "detections": []},
    ]


def test_a_dash_is_stdout(capsys):
    fill(sink("-"), 2)
    assert [json.loads(line)["frame"] for line in capsys.readouterr().out.splitlines()] == [0, 1]


def test_names_that_are_no_unicode_text_still_make_valid_json(tmp_path):
    one = sink(tmp_path / "out.jsonl")
    one.open(INFO)
    one.write(frame(source=os.fsdecode(b"\xff.png")), result(0))
    one.close()
    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8"))["source"] == "\udcff.png"


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov"])
def test_a_video_has_every_frame_and_the_source_s_rate(tmp_path, suffix, frames_of):
    path = tmp_path / f"out.{suffix}"
    fill(sink(path), 7)
    assert frames_of(path) == 7
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert (capture.get(3), capture.get(4)) == (64, 48)
    image = capture.read()[1]
    # The box's left line is drawn at x = 10, away from it the grey is what it was.
    assert np.ptp(image[30, 10].astype(int)) > 40
    np.testing.assert_allclose(image[30, 25], 40, atol=12)


def test_the_frame_itself_is_not_drawn_on(tmp_path):
    one, given = sink(tmp_path / "out.avi"), frame()
    one.open(INFO)
    one.write(given, result())
    one.close()
    assert (given.image == 40).all()


def test_frames_of_another_size_are_scaled_to_the_first(tmp_path, frames_of):
    one = sink(tmp_path / "out.mp4")
    one.open(INFO)
    for index, size in enumerate([(48, 64), (100, 30), (48, 64), (8, 8)]):
        one.write(frame(index, size), result())
    one.close()
    assert frames_of(tmp_path / "out.mp4") == 4


@pytest.mark.parametrize("size", [(47, 63), (1, 1), (2, 500)])
def test_odd_sizes(tmp_path, size, frames_of):
    path = tmp_path / "out.mp4"
    try:
        fill(sink(path), 2, size=size)
    except OutputError as refused:  # an encoder may refuse a single pixel, but it says so
        assert "×" in str(refused)
        assert not path.exists()
    else:
        assert frames_of(path) == 2


@pytest.mark.parametrize("fps", [0.0, 90000.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_replaced(tmp_path, fps, frames_of):
    path = tmp_path / "out.mp4"
    fill(sink(path), 3, SourceInfo("list", 64, 48, fps, None))
    assert frames_of(path) == 3


def test_a_folder_of_pictures_named_by_index(tmp_path):
    folder = tmp_path / "deep" / "pictures"
    one = sink(f"{folder}/")
    one.open(INFO)
    for index in (0, 41):
        one.write(frame(index), result())
    one.close()
    assert sorted(p.name for p in folder.iterdir()) == ["000000.jpg", "000041.jpg"]
    assert cv2.imread(str(folder / "000041.jpg")).shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4"])
def test_what_exists_is_kept_unless_forced(tmp_path, name):
    path = tmp_path / name
    path.write_text("precious")
    with pytest.raises(OutputError, match="--force"):
        sink(path).open(INFO)
    forced = sink(path, force=True)
    forced.open(INFO)
    assert path.read_text() == "precious"  # until there is something to write
    forced.write(frame(), result())
    forced.close()
    assert b"precious" not in path.read_bytes()


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4"])
def test_claiming_leaves_nothing_behind(tmp_path, name):
    one = sink(tmp_path / name)
    one.open(INFO)
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_kept_unless_forced(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        sink(f"{tmp_path}/").open(INFO)
    fill(sink(f"{tmp_path}/", force=True), 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000.jpg", "mine.txt"]


@pytest.mark.parametrize("name", ["nowhere/out.jsonl", "nowhere/out.mp4"])
def test_a_missing_folder_is_named(tmp_path, name):
    with pytest.raises(OutputError, match="no folder"):
        sink(tmp_path / name).open(INFO)


@pytest.mark.parametrize("name", ["file/", "file/deeper/"])
def test_a_folder_where_a_file_is(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be used"):
        sink(f"{tmp_path}/{name}").open(INFO)


@pytest.mark.parametrize("name", ["out.jsonl", "out.mp4"])
def test_a_place_that_cannot_be_written(tmp_path, name):
    (tmp_path / name).mkdir()  # root may write into any folder, but not over a folder
    with pytest.raises(OutputError):
        claim(tmp_path / name, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        claim(tmp_path / "out.jsonl", force=False)


@pytest.mark.parametrize("uri", ["out", "out.exe", "", "display"])
def test_what_looks_like_no_sink(uri):
    with pytest.raises(UsageError, match="no sink looks like"):
        sink(uri)


def test_an_unknown_scheme():
    with pytest.raises(UsageError, match="unknown sink 'gopher'"):
        sink("gopher://x")


class Full:
    """A file on a full disk."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_result_lines_on_a_full_disk(tmp_path, monkeypatch):
    one = sink(tmp_path / "out.jsonl")
    one.open(INFO)
    one.write(frame(), result())
    one._file.flush()
    monkeypatch.setattr(one, "_file", Full())
    with pytest.raises(OutputError, match="No space left"):
        one.write(frame(), result())
    one.close()
    assert json.loads((tmp_path / "out.jsonl").read_text())["frame"] == 0


def test_a_video_on_a_full_disk(tmp_path, monkeypatch):
    one = sink(tmp_path / "out.mp4")
    one.open(INFO)
    full = os.statvfs(tmp_path)

    class Stat:
        f_bavail, f_frsize = 1, full.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda path: Stat)
    with pytest.raises(OutputError, match="no room is left"):
        one.write(frame(), result())
    one.close()
    assert not (tmp_path / "out.mp4").exists()


def test_pictures_on_a_full_disk(tmp_path, monkeypatch):
    one = sink(f"{tmp_path}/")
    one.open(INFO)

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        one.write(frame(), result())


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_result_lines_on_a_disk_that_fills_up_stay_whole(tiny_disk):
    path = tiny_disk / "out.jsonl"
    one = sink(path)
    one.open(INFO)
    with pytest.raises(OutputError, match="No space left"):
        for index in range(5000):
            one.write(frame(index), result(3))
        one.close()
    one.close()
    lines = path.read_text().splitlines()
    assert len(lines) > 50
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines)))


def test_a_video_on_a_tiny_disk_is_refused(tiny_disk):
    one = sink(tiny_disk / "out.mp4")
    one.open(INFO)
    with pytest.raises(OutputError, match="no room is left"):
        one.write(frame(), result())
    one.close()


def test_an_encoder_that_cannot_start_leaves_no_file(tmp_path, monkeypatch):
    class Closed:
        def isOpened(self):
            return False

    monkeypatch.setattr(cv2, "VideoWriter", lambda *a: Closed())
    monkeypatch.setattr(Closed, "fourcc", staticmethod(lambda *a: 0), raising=False)
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *a: 0, raising=False)
    one = VideoSink(str(tmp_path / "out.mp4"), draw.detections, False)
    one.open(INFO)
    with pytest.raises(OutputError, match="64×48 at 10 frames/s"):
        one.write(frame(), result())
    one.close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def file_limit():
    """No file can grow beyond 64 KiB, as with a quota: no disk is full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def noise(index, size=(240, 320)):
    pixels = np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)
    return Frame(pixels, index=index)


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov"])
def test_a_video_that_cannot_grow_is_not_called_whole(tmp_path, suffix, file_limit):
    one = sink(tmp_path / f"out.{suffix}")
    one.open(INFO)
    for index in range(20):
        one.write(noise(index), result())
    with pytest.raises(OutputError, match="could not be written whole"):
        one.close()
    one.close()


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "mov"])
@pytest.mark.parametrize("fps", [0.5, 23.976, 59.94])
@pytest.mark.parametrize("count", [1, 2, 101])
def test_a_whole_video_is_called_so_at_any_rate(tmp_path, suffix, fps, count, frames_of):
    path = tmp_path / f"out.{suffix}"
    fill(sink(path), count, SourceInfo("list", 64, 48, fps, None))
    assert frames_of(path) == count


def test_half_a_picture_is_not_left_behind(tmp_path, file_limit):
    one = sink(f"{tmp_path}/")
    one.open(INFO)
    one.write(noise(0, (48, 64)), result())
    with pytest.raises(OutputError, match="000001"):
        one.write(noise(1, (480, 640)), result())
    assert [path.name for path in tmp_path.iterdir()] == ["000000.jpg"]
