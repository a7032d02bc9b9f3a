from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.sources import IMAGE_SUFFIXES, make_source
from edgevision.sources.images import ImagesSource, list_images, read_image


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def read_all(source):
    frame = Frame()
    while source.read(frame):
        yield frame


@pytest.fixture
def photos(tmp_path, draw_square):
    """Three good pictures of different sizes with a broken, an empty and a foreign file among them."""
    folder = tmp_path / "photos"
    write(folder / "a.png", draw_square(size=(40, 60)))
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is cut off")
    write(folder / "c.png", draw_square(size=(90, 30)))
    (folder / "d.png").write_bytes(b"")
    (folder / "notes.txt").write_text("not a picture")
    write(folder / "sub" / "e.bmp", draw_square(size=(50, 50)))
    return folder


def test_a_folder_in_the_order_of_names_without_what_is_broken(photos):
    source = make_source(str(photos))
    info = source.open()
    assert (info.width, info.height, info.fps, info.frames) == (60, 40, 0, 5)
    found = [(f.index, f.source, f.image.shape[:2]) for f in read_all(source)]
    assert found == [(0, "a.png", (40, 60)), (2, "c.png", (90, 30)), (4, "sub/e.bmp", (50, 50))]
    assert source.problems == [
        "b.jpg cannot be decoded and was skipped",
        "d.png cannot be decoded and was skipped",
    ]
    source.close()


def test_it_can_be_opened_again(photos):
    source = ImagesSource(str(photos))
    for _ in range(2):
        source.open()
        assert [f.source for f in read_all(source)] == ["a.png", "c.png", "sub/e.bmp"]
        source.close()


def test_a_single_picture(tmp_path, draw_square):
    image = draw_square(size=(33, 47))
    source = make_source(str(write(tmp_path / "one.PNG", image)))
    info = source.open()
    assert (info.width, info.height, info.frames) == (47, 33, 1)
    frames = [(f.source, f.image.copy()) for f in read_all(source)]
    assert frames[0][0] == "one.PNG"
    np.testing.assert_array_equal(frames[0][1], image)
    assert len(frames) == 1


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 5), 77, np.uint8), (77, 77, 77)),
        (np.full((4, 5, 4), (10, 20, 30, 128), np.uint8), (10, 20, 30)),
        (np.full((4, 5), 0x4D00, np.uint16), (0x4D, 0x4D, 0x4D)),
        (np.full((1, 1, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
    ],
    ids=["grey", "alpha", "sixteen bits", "one pixel"],
)
def test_whatever_the_file_holds_becomes_8_bit_bgr(tmp_path, image, expected):
    found = read_image(write(tmp_path / "image.png", image))
    assert found.dtype == np.uint8
    assert found.shape == (*image.shape[:2], 3)
    assert tuple(found[0, 0]) == expected


def test_a_file_that_is_gone_cannot_be_read(tmp_path):
    assert read_image(tmp_path / "gone.png") is None


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no picture in"):
        make_source(str(tmp_path)).open()


def test_a_folder_of_broken_pictures_is_refused(tmp_path):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(DataError, match="can be decoded") as refused:
        make_source(str(tmp_path)).open()
    assert "2 files, such as a.png" in str(refused.value)


def test_cancel_ends_it(photos):
    source = ImagesSource(str(photos))
    source.open()
    source.cancel()
    assert not source.read(Frame())


def test_only_known_suffixes_are_listed(tmp_path):
    for suffix in IMAGE_SUFFIXES | {".gif", ".json", ""}:
        (tmp_path / f"x{suffix}").touch()
    assert {p.suffix for p in list_images(tmp_path)} == IMAGE_SUFFIXES
