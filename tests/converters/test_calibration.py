"""The data: where it is split, what is streamed, what is said of pictures that cannot be used."""

from __future__ import annotations

import hashlib
import shutil
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgevision.converters import calibration
from edgevision.converters.calibration import Data, open_data
from edgevision.errors import DataError
from edgevision.frame import picture_digest

Image = NDArray[np.uint8]


def quiet(stage: str, done: int, total: int | None) -> None:
    """Shows nothing."""


def opened(path: Path, samples: int = 1000) -> Data:
    return open_data(path, samples=samples, progress=quiet)


def prints(part: Iterable[Image]) -> list[str]:
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in part]


def decoded(path: Path) -> list[str]:
    """All frames of a video, as OpenCV alone gives them."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        fine, image = capture.read()
        if not fine:
            return frames
        frames.append(hashlib.sha256(image.tobytes()).hexdigest())


def split(path: Path) -> dict[str, set[str]]:
    data = opened(path)
    parts = {"calibration": data.calibration, "selection": data.selection, "proof": data.proof}
    return {name: set(prints(part)) for name, part in parts.items()}


def test_a_video_is_split_by_time(data: Path) -> None:
    frames, parts = decoded(data / "clip.avi"), opened(data / "clip.avi")
    assert len(set(frames)) == 160
    assert prints(parts.calibration) == frames[:64]
    assert prints(parts.selection) == frames[64:96]
    assert prints(parts.proof) == frames[96:]
    assert (parts.kind, parts.name) == ("video", "clip.avi")


def test_samples_are_spread_evenly(data: Path) -> None:
    frames, parts = decoded(data / "clip.avi"), opened(data / "clip.avi", samples=16)
    assert prints(parts.calibration) == frames[0:64:4]
    assert prints(parts.selection) == frames[64:96:2]
    assert prints(parts.proof) == frames[96:160:4]
    assert [p.count for p in (parts.calibration, parts.selection, parts.proof)] == [16, 16, 16]


def test_a_part_gives_the_same_pictures_every_time(data: Path) -> None:
    for path in (data / "clip.avi", data / "pictures"):
        part = opened(path, samples=10).calibration
        assert prints(part) == prints(part)
        assert len(part) == 10


@pytest.mark.parametrize("name", ["clip.avi", "pictures"])
def test_pictures_are_streamed_and_never_kept(data: Path, name: str) -> None:
    # OpenCV may write every frame into one buffer; what counts is that no more than a few are alive.
    alive: list[weakref.ref[Image]] = []
    most = 0
    for image in opened(data / name).calibration:
        alive.append(weakref.ref(image))
        most = max(most, len({id(ref()) for ref in alive} - {id(None)}))
    assert len(alive) > 50
    assert most <= 3


def test_a_folder_is_split_by_content_and_nothing_is_lost(data: Path) -> None:
    parts = split(data / "pictures")
    every = {hashlib.sha256(cv2.imread(str(f)).tobytes()).hexdigest() for f in pictures(data)}
    assert set.union(*parts.values()) == every
    assert sum(map(len, parts.values())) == len(every) == 160
    assert all(20 < len(part) < 90 for part in parts.values())


def pictures(data: Path) -> list[Path]:
    return sorted((data / "pictures").iterdir())


def test_a_picture_stays_on_its_side_when_others_come_and_files_are_renamed(
    data: Path, tmp_path: Path
) -> None:
    before = split(data / "pictures")
    for number, file in enumerate(reversed(pictures(data))):
        if number % 3:
            folder = tmp_path / ("a" if number % 2 else "b")
            folder.mkdir(exist_ok=True)
            shutil.copy(file, folder / f"new-{number}.png")
    after = split(tmp_path)
    assert sum(map(len, after.values())) == 106
    for side, kept in after.items():
        assert kept <= before[side]


def test_copies_stand_on_one_side(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "pictures", tmp_path / "one")
    shutil.copytree(data / "pictures", tmp_path / "two")
    parts = split(tmp_path)
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 160


def test_the_digest_follows_the_pixels_only(data: Path, tmp_path: Path) -> None:
    first = opened(data / "clip.avi").digest
    shutil.copy(data / "clip.avi", tmp_path / "other name.avi")
    assert opened(tmp_path / "other name.avi").digest == first
    assert opened(data / "clip.avi", samples=20).digest != first
    assert opened(data / "faint.avi").digest != first


def test_the_digest_of_a_folder_does_not_follow_its_name(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "pictures", tmp_path / "moved")
    assert opened(tmp_path / "moved").digest == opened(data / "pictures").digest


def test_data_named_by_a_dot_has_the_name_of_its_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data / "pictures")
    assert opened(Path()).name == "pictures"


def test_a_video_that_ends_early_is_named_and_counted(data: Path, tmp_path: Path) -> None:
    whole = (data / "clip.avi").read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: len(whole) // 2])
    decodable = len(decoded(cut))
    parts = opened(cut)
    assert 40 < decodable < 100
    assert parts.calibration.count == int(decodable * 0.4)
    assert any(
        p.startswith("cut.avi ended early: ") and str(decodable) in p for p in parts.problems
    ), parts.problems


def test_a_corrupt_picture_is_named_skipped_and_counted(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(data / "pictures", folder / "sub")
    for number in range(12):  # by their content some fall into every part
        (folder / "sub" / f"broken-{number}.png").write_bytes(b"\x89PNG\r\n" + bytes([number]) * 99)
    whole = opened(data / "pictures")
    broken = opened(folder)
    for part in ("calibration", "selection", "proof"):
        assert prints(getattr(broken, part)) == prints(getattr(whole, part))
        assert getattr(broken, part).count == getattr(whole, part).count
    assert sorted(broken.problems) == sorted(
        f"sub/broken-{number}.png cannot be decoded and was skipped" for number in range(12)
    )


def test_a_picture_that_may_not_be_read_is_named_and_skipped(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_file = calibration.hash_file

    def refuse(file: Path) -> str:
        if file.name == "0003.png":
            raise PermissionError(13, "Permission denied", str(file))
        return hash_file(file)

    monkeypatch.setattr(calibration, "hash_file", refuse)
    parts = opened(data / "pictures")
    assert parts.problems == ["0003.png was skipped: Permission denied"]
    assert parts.calibration.count + parts.selection.count + parts.proof.count == 159


def test_a_folder_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        opened(tmp_path)


@pytest.mark.parametrize("colour", [(0, 0, 0), (10, 200, 90)])
def test_pictures_of_one_colour_show_nothing(tmp_path: Path, colour: tuple[int, ...]) -> None:
    for number in range(20):
        flat = np.full((32 + number, 32, 3), colour, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), flat)
    with pytest.raises(DataError, match="show nothing"):
        opened(tmp_path)


def test_flat_copies_among_real_pictures_do_no_harm(data: Path, tmp_path: Path) -> None:
    flat = np.zeros((8, 8, 3), np.uint8)
    for number in range(200):
        cv2.imwrite(str(tmp_path / f"black-{number}.png"), flat)
    for file in pictures(data)[:12]:
        shutil.copy(file, tmp_path)
    assert opened(tmp_path).digest


def test_one_picture_is_too_little(data: Path, tmp_path: Path) -> None:
    for path in (pictures(data)[0], tmp_path):
        shutil.copy(pictures(data)[0], tmp_path / "only.png")
        with pytest.raises(DataError, match="too little to calibrate on") as caught:
            opened(path)
        assert "1 pictures" in caught.value.received
        assert "100 or more" in caught.value.expected


@pytest.mark.parametrize("name", ["empty", "clip.avi", "words.avi", "none"])
def test_what_holds_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "clip.avi").touch()
    (tmp_path / "words.avi").write_text("no video at all\n" * 100)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / name)
    assert caught.value.expected


def test_pictures_of_different_sizes_are_streamed(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(tmp_path / "a", 20)
    write_pictures(tmp_path / "b", 20, zoom=2)
    shapes = {image.shape for image in opened(tmp_path).calibration}
    assert shapes == {(64, 64, 3), (128, 128, 3)}


# What had a part in making a model proves nothing


def test_copies_in_other_files_are_left_out_of_the_proof(
    write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    """Each picture once more with other bytes, so that many fall to another part than their first."""
    folder = write_pictures(tmp_path / "pictures", 60)
    for file in sorted(folder.iterdir()):
        cv2.imwrite(str(folder / f"{file.stem}.bmp"), cv2.imread(str(file)))
    data = open_data(folder, samples=200, progress=lambda *told: None)
    planned = data.proof.count
    made_of = {picture_digest(i) for part in (data.calibration, data.selection) for i in part}
    proof = [picture_digest(image) for image in data.proof]
    assert not made_of & set(proof)
    assert len(proof) == len(set(proof)) == data.proof.count
    assert data.proof.repeated == planned - len(proof) > 5
    assert len(made_of) + len(proof) <= 60, "so many different pictures there are"


def test_the_same_pixels_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    """Stripes: 32×64 and 64×32 pixels of them are the same bytes."""
    stripes = np.tile(np.arange(32, dtype=np.uint8).repeat(3).reshape(1, 32, 3), (64, 1, 1))
    (tmp_path / "pictures").mkdir()
    for number in range(40):
        shifted = np.roll(stripes, number % 20, axis=1)
        shape = (64, 32, 3) if number < 20 else (32, 64, 3)
        cv2.imwrite(str(tmp_path / "pictures" / f"{number}.png"), shifted.reshape(shape))
    found = opened(tmp_path / "pictures")
    pictures = [image for part in (found.calibration, found.selection) for image in part]
    assert len(pictures) + len(list(found.proof)) == 40
    assert found.proof.repeated == 0


def test_a_camera_that_shows_one_picture_proves_nothing(
    draw: Callable[..., tuple[Image, object]], tmp_path: Path
) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "still.avi"), cv2.VideoWriter.fourcc(*"FFV1"), 10, (64, 64)
    )
    for number in range(100):
        writer.write(draw(0 if number else 1)[0])
    writer.release()
    data = open_data(tmp_path / "still.avi", samples=200, progress=lambda *told: None)
    assert list(data.proof) == []
    assert (data.proof.count, data.proof.repeated) == (0, 40)


def test_each_part_has_a_digest_of_its_own(data: Path) -> None:
    found = open_data(data / "clip.avi", samples=20, progress=lambda *told: None)
    assert found.proof.digest == "", "until it was streamed"
    for _ in found.proof:
        pass
    digests = {found.calibration.digest, found.selection.digest, found.proof.digest}
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)
    assert found.digest == found.calibration.digest
