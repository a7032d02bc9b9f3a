from __future__ import annotations

import pytest

from edgevision.errors import DataError, UsageError
from edgevision.frame import Frame
from edgevision.sources import make_source
from edgevision.sources._limited import Limited


@pytest.mark.parametrize(
    ("name", "kind"),
    [("clip.mp4", "VideoSource"), ("photo.JPG", "ImagesSource"), ("folder", "ImagesSource"),
     ("unknown.bin", "VideoSource")],
)  # fmt: skip
def test_a_source_is_chosen_by_its_look(tmp_path, name, kind):
    path = tmp_path / name
    if "." in name:
        path.touch()
    else:
        path.mkdir()
    assert type(make_source(str(path))).__name__ == kind


def test_an_unknown_scheme_lists_those_there_are():
    with pytest.raises(UsageError, match="unknown source 'gopher'") as refused:
        make_source("gopher://hole")
    assert "synthetic" in str(refused.value)


@pytest.mark.parametrize("scheme", ["_limited", "__init__", "../errors", "images.x"])
def test_a_scheme_is_no_way_into_the_file_system(scheme):
    with pytest.raises(UsageError, match="unknown source"):
        make_source(f"{scheme}://x")


def test_a_missing_path_is_named_without_its_password():
    with pytest.raises(DataError, match="there is no") as refused:
        make_source("/nowhere/clip.mp4?token=tell-nobody")
    assert "/nowhere/clip.mp4" in str(refused.value)
    assert "tell-nobody" not in str(refused.value)


@pytest.mark.parametrize(("frames", "count"), [(None, 5), (1, 1), (5, 5), (9, 5)])
def test_a_limited_source_ends_after_so_many_frames(frames, count, list_source, draw_square):
    inner = list_source([draw_square()] * 5)
    source = Limited(inner, frames)
    source.open()
    frame = Frame()
    assert sum(1 for _ in iter(lambda: source.read(frame), False)) == count
    assert inner.given == count
    source.close()
    assert inner.closed == 1


def test_a_limited_source_says_how_many_frames_to_expect():
    endless = Limited(make_source("synthetic://noise?frames=0"), 7)
    assert endless.open().frames == 7
    assert Limited(make_source("synthetic://noise?frames=3"), 7).open().frames == 3
    assert Limited(make_source("synthetic://noise?frames=0"), None).open().frames is None


def test_a_limited_source_passes_on_cancel_and_problems(list_source, draw_square):
    inner = list_source([draw_square()] * 5)
    source = Limited(inner, 3)
    source.open()
    inner.problems.append("a scratch")
    assert source.problems == ["a scratch"]
    source.cancel()
    assert not source.read(Frame())
