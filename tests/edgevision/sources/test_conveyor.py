from __future__ import annotations

import gzip

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.sources import _conveyor as conveyor_module
from edgevision.sources import make_source
from edgevision.sources._conveyor import Conveyor
from edgevision.sources._garments import CLASSES, from_idx, shipped

SIZE = 640, 360


@pytest.fixture(scope="module")
def belt():
    return Conveyor(shipped(), 3, *SIZE)


def rendered(belt, index, size=SIZE):
    image = np.empty((size[1], size[0], 3), np.uint8)
    belt.render(index, image)
    return image


@pytest.fixture
def bare(monkeypatch):
    """A belt in an even light, without noise or blur: black, so that what is not black is a garment."""
    for name, value in {"LIGHT": 0.0, "FALL_OFF": 0.0, "SHUTTER": 0.0, "NOISE": 0.0}.items():
        monkeypatch.setattr(conveyor_module, name, value)
    monkeypatch.setattr(conveyor_module, "_belt", lambda r, w, h: np.zeros((h, w, 3), np.uint8))
    return Conveyor(shipped(), 5, *SIZE)


def test_the_same_seed_gives_the_same_frames_and_another_others(belt):
    again, other = Conveyor(shipped(), 3, *SIZE), Conveyor(shipped(), 4, *SIZE)
    np.testing.assert_array_equal(rendered(belt, 30), rendered(again, 30))
    assert (rendered(belt, 30) != rendered(other, 30)).mean() > 0.5


def test_a_frame_does_not_depend_on_those_before_it(belt):
    fresh = Conveyor(shipped(), 3, *SIZE)
    for index in range(20):
        image = rendered(belt, index)
    np.testing.assert_array_equal(image, rendered(fresh, 19))
    assert belt.truth(19).track_ids.tolist() == fresh.truth(19).track_ids.tolist()


@pytest.mark.parametrize("index", [0, 7, 100, 1000])
def test_everything_bright_on_a_black_belt_is_inside_some_box(bare, index):
    bright = (rendered(bare, index) > 30).any(2)
    covered = np.zeros_like(bright)
    for x0, y0, x1, y1 in bare.truth(index).boxes_xyxy.astype(int):
        covered[y0:y1, x0:x1] = True
    assert bright.sum() > 1000
    # What is less than half covered at an outline is drawn, and belongs to no box; that is up to half
    # a pixel of the photograph, which is at most 1.6 · 108 / 28 pixels here.
    covered = cv2.dilate(covered.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    assert not (bright & ~covered).any()


def test_a_box_of_a_garment_alone_is_tight(bare):
    checked = 0
    for index in range(0, 600, 20):
        truth, bright = bare.truth(index), (rendered(bare, index) > 30).any(2)
        for number, (x0, y0, x1, y1) in enumerate(truth.boxes_xyxy.astype(int)):
            rest = np.delete(truth.whole_xyxy, number, 0)
            alone = (
                (rest[:, 0] > x1 + 3)
                | (rest[:, 2] < x0 - 3)
                | (rest[:, 1] > y1 + 3)
                | (rest[:, 3] < y0 - 3)
            )
            if not alone.all() or truth.visible[number] < 1:
                continue
            shape = bright[y0 - 2 : y1 + 2, x0 - 2 : x1 + 2]
            rows, columns = np.flatnonzero(shape.any(1)), np.flatnonzero(shape.any(0))
            found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(found, [2, 2, x1 - x0 + 2, y1 - y0 + 2], atol=2)
            checked += 1
    assert checked >= 5


def test_what_is_seen_is_part_of_the_whole(belt):
    for index in range(0, 300, 10):
        truth = belt.truth(index)
        assert (truth.boxes_xyxy[:, :2] >= np.maximum(truth.whole_xyxy[:, :2], 0)).all()
        assert (truth.boxes_xyxy[:, 2:] <= np.minimum(truth.whole_xyxy[:, 2:], SIZE)).all()
        assert ((truth.visible > 0) & (truth.visible <= 1)).all()
        inside = (truth.boxes_xyxy == truth.whole_xyxy).all(1)
        assert (truth.visible[~inside] < 1).all(), (
            "a garment that is not wholly seen is hidden in part"
        )


def test_the_scene_is_as_hard_as_its_constants_say(belt):
    frames = [belt.truth(i) for i in range(0, 600, 10)]
    hidden = [
        int(((t.visible < 1) & (t.boxes_xyxy[:, 0] > 0) & (t.boxes_xyxy[:, 2] < SIZE[0])).sum())
        for t in frames
    ]
    # Whoever hides another is as much part of the overlap as what it hides.
    assert np.median(hidden) >= 2
    assert max(hidden) >= 4
    brightness = [rendered(belt, i).mean() for i in range(0, 150, 5)]
    assert max(brightness) / min(brightness) > 1.8, "±40 % is a factor of 2.3"
    sizes = np.concatenate([(t.whole_xyxy[:, 3] - t.whole_xyxy[:, 1]) for t in frames]) / (
        0.30 * SIZE[1]
    )
    assert sizes.min() < 0.6
    assert sizes.max() > 1.3
    assert set(np.concatenate([t.class_ids for t in frames])) == set(range(len(CLASSES)))


def test_tracks_move_evenly_in_one_direction(belt):
    before, after = belt.truth(50), belt.truth(53)
    both = np.intersect1d(before.track_ids, after.track_ids)
    assert len(both) >= 5
    steps = [
        after.whole_xyxy[after.track_ids == t][0] - before.whole_xyxy[before.track_ids == t][0]
        for t in both
    ]
    np.testing.assert_allclose(np.array(steps)[:, [1, 3]], 0, atol=1)
    np.testing.assert_allclose(np.array(steps)[:, [0, 2]], np.median(steps, 0)[0], atol=1.5)


def test_each_garment_crosses_the_line_once_where_its_box_says(belt):
    seen: dict[int, int] = {}
    for index in range(1, 400):
        for track in belt.truth(index).crossed:
            assert track not in seen
            seen[track] = index
            truth = belt.truth(index)
            if track in truth.track_ids:
                box = truth.whole_xyxy[truth.track_ids == track][0]
                assert box[0] < SIZE[0] / 2 < box[2]
    assert len(seen) > 15


@pytest.mark.parametrize("size", [(1, 1), (17, 9), (9, 301), (1280, 720)])
def test_any_size(size):
    belt = Conveyor(shipped(), 1, *size)
    assert rendered(belt, 12, size).shape == (size[1], size[0], 3)
    truth = belt.truth(12)
    assert truth.boxes_xyxy.shape == (len(truth.visible), 4)


def test_it_is_a_source_like_others():
    source, frame = make_source("synthetic://conveyor?seed=3&size=640x360&frames=2"), Frame()
    info = source.open()
    assert (info.width, info.height, info.frames) == (640, 360, 2)
    assert source.read(frame)
    np.testing.assert_array_equal(frame.image, rendered(Conveyor(shipped(), 3, *SIZE), 0))


def test_the_sheet_holds_as_many_of_each_class():
    garments = shipped()
    assert np.bincount(garments.labels).tolist() == [50] * 10
    outline = garments.pixels[..., 1] > 0
    assert (outline.mean((1, 2)) > 0.05).all()
    # Whatever is bright is garment.
    assert outline[garments.pixels[..., 0] > 12].all()


def test_the_sheet_is_from_the_test_set_only(test_data):
    folder = test_data / "data/fashion-mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        tests = {
            tile.tobytes() for tile in np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)
        }
    assert {tile.tobytes() for tile in shipped().pixels[..., 0]} <= tests
    every = from_idx(folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz")
    known = {
        p[..., 0].tobytes(): label for p, label in zip(every.pixels, every.labels, strict=True)
    }
    assert [known[p[..., 0].tobytes()] for p in shipped().pixels] == shipped().labels.tolist()


def test_files_that_are_no_garments_are_told(tmp_path):
    images, labels = tmp_path / "i.gz", tmp_path / "l.gz"
    with pytest.raises(DataError, match="cannot be read"):
        from_idx(images, labels)
    images.write_bytes(gzip.compress(bytes(16 + 28 * 28 * 2)))
    labels.write_bytes(gzip.compress(bytes(8 + 3)))
    with pytest.raises(DataError, match="do not belong together"):
        from_idx(images, labels)
    labels.write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        from_idx(images, labels)
