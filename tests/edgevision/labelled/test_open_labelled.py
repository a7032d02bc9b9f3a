from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from edgevision.errors import DataError
from edgevision.labelled import open_labelled
from edgevision.metrics.truth import ClassTruth

LABELS = ("cat", "owl", "dog")


def test_the_format_is_chosen_by_look(yolo, coco, folders):
    kinds = [open_labelled(p, LABELS).kind for p in (yolo, yolo / "data.yaml", coco, folders)]
    assert kinds == ["yolo", "yolo", "coco", "folders"]


def test_class_folders(folders):
    data = open_labelled(folders, LABELS, task="classify")
    found = [(image.shape, image.dtype, truth) for image, truth in data]
    shape = (40, 60, 3)
    assert found == [(shape, np.uint8, ClassTruth(i)) for i in (0, 2, 2)]
    assert (data.name, data.count, data.classes) == ("classes", 3, {0, 2})


def test_the_split_to_validate_on_is_taken(folders, tmp_path, picture):
    root = tmp_path / "splits"
    shutil.copytree(folders, root / "train")
    picture(root / "val" / "dog" / "9.png")
    assert len(open_labelled(root, LABELS)) == 1
    # A class may be called like a split.
    shutil.copytree(folders, tmp_path / "odd")
    picture(tmp_path / "odd" / "test" / "1.png")
    assert len(open_labelled(tmp_path / "odd", (*LABELS, "test"))) == 4


def test_classes_that_are_all_called_like_splits_are_classes(tmp_path, picture):
    for name in ("val", "test"):
        picture(tmp_path / name / "1.png")
    found = [truth for _, truth in open_labelled(tmp_path, ("test", "val"))]
    assert found == [ClassTruth(0), ClassTruth(1)]


def test_pictures_that_cannot_be_used_are_skipped_named_and_counted(folders):
    (folders / "cat" / "0.jpg").write_bytes(b"\xff\xd8 cut off")
    (folders / "cat" / ".hidden.png").write_bytes(b"")
    (folders / "cat" / "2.png").symlink_to("gone.png")
    (folders / "loose.png").write_bytes(b"")
    data = open_labelled(folders, LABELS)
    assert (data.count, data.skipped) == (5, 0)
    for _ in range(2):
        assert len(list(data)) == 3
    assert (data.count, data.skipped) == (3, 2)
    assert data.problems == [
        "loose.png lies in no class folder and was left out",
        "cat/0.jpg cannot be decoded and was skipped",
        "cat/2.png is missing and was skipped",
    ]


def test_nothing_usable_is_an_error(folders):
    for path in folders.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"no labelled picture(.|\n)*3 pictures, such as: cat/1\.png"
    ):
        list(open_labelled(folders, LABELS))


def test_the_digest_is_of_pixels_and_truth_and_not_of_the_models_numbers(folders, yolo):
    def digest(path, labels=LABELS):
        data = open_labelled(path, labels)
        assert data.digest == ""
        list(data)
        return data.digest

    first = digest(folders)
    assert len(first) == 64
    assert digest(folders, ("dog", "cat")) == first
    (folders / "dog" / "1.png").rename(folders / "cat" / "0.png")
    assert digest(folders) != first
    before = digest(yolo)
    assert digest(yolo, ("dog", "cat")) == before
    (yolo / "labels" / "b.txt").write_text("1 0.5 0.5 1.0 0.9")
    assert digest(yolo) != before


def test_a_pass_that_was_not_finished_has_no_digest(folders):
    data = open_labelled(folders, LABELS)
    next(iter(data))
    assert (data.digest, data.count) == ("", 3)


@pytest.mark.parametrize(("samples", "count"), [(2, 2), (3, 3), (10, 3)])
def test_a_sample_is_spread_over_the_data(folders, samples, count):
    data = open_labelled(folders, LABELS, samples=samples)
    assert len(list(data)) == len(data) == count
    assert {truth.class_id for _, truth in data} == {0, 2}


def test_boxes_are_for_the_picture_turned_upright(tmp_path, picture):
    """EXIF orientation 6: stored 60 wide and 40 high, shown 40 wide and 60 high."""
    path = picture(tmp_path / "images" / "a.jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = path.read_bytes()
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert cv2.imread(str(path)).shape == (60, 40, 3)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5")
    ((image, truth),) = open_labelled(tmp_path, LABELS)
    assert image.shape == (60, 40, 3)
    assert truth.boxes_xyxy.tolist() == [[10, 15, 30, 45]]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nothing of that name"),
        ("notes.txt", "a file of another kind"),
        ("empty", "an empty folder"),
        ("flat", "a folder with a.png, set.json"),
        ("hollow", "no picture in the folders"),
    ],
)
def test_what_is_no_labelled_data(tmp_path, picture, name, said):
    (tmp_path / "notes.txt").write_text("cat")
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "flat" / "a.png")
    (tmp_path / "flat" / "set.json").write_text("{}")
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=said) as caught:
        open_labelled(tmp_path / name, LABELS)
    assert caught.value.expected
    assert ("the .json itself" in str(caught.value)) == (name == "flat")


def test_labels_for_another_task_are_refused(folders, coco):
    with pytest.raises(DataError, match=r"folders, which is for the task classify"):
        open_labelled(folders, LABELS, task="detect")
    with pytest.raises(DataError, match=r"coco, which is for the task detect"):
        open_labelled(coco, LABELS, task="classify")


def test_a_model_without_names_is_refused(folders):
    with pytest.raises(DataError, match="--labels"):
        open_labelled(folders, ())


def test_links_out_of_the_folder_are_refused(folders, yolo, coco, tmp_path, picture):
    secret = picture(tmp_path / "secret" / "s.png")
    (folders / "cat" / "s.png").symlink_to(secret)
    (yolo / "images" / "s.png").symlink_to(secret)
    (coco.parent / "a.png").unlink()
    (coco.parent / "a.png").symlink_to(secret)
    for path in (folders, yolo, coco):
        with pytest.raises(DataError, match="a link out of the data's folder"):
            open_labelled(path, LABELS)


def test_a_linked_label_file_or_class_folder_out_of_the_folder_is_refused(folders, yolo, tmp_path):
    (tmp_path / "secret.txt").write_text("root:x:0:0")
    (yolo / "labels" / "empty.txt").symlink_to(tmp_path / "secret.txt")
    (folders / "owl").symlink_to(yolo / "images")
    for path in (folders, yolo):
        with pytest.raises(DataError, match="a link out of the data's folder") as caught:
            open_labelled(path, LABELS)
        assert "root:x" not in str(caught.value)


def test_links_inside_the_folder_are_followed(folders):
    (folders / "cat" / "2.png").symlink_to(folders / "dog" / "1.png")
    assert len(list(open_labelled(folders, LABELS))) == 4


def test_a_link_in_a_circle_is_an_error(folders):
    (folders / "cat" / "2.png").symlink_to("2.png")
    try:
        data = open_labelled(folders, LABELS)
    except DataError as error:
        assert "cannot be followed" in str(error)  # up to Python 3.12
    else:
        assert len(list(data)) == 3
