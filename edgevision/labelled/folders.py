"""Class folders: each folder's name is a class, the pictures in it and below it are of that class.

The layout of torchvision's ``ImageFolder``; ``val/cat/1.jpg`` beside ``train/…`` is taken as well.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgevision.errors import DataError
from edgevision.labelled.data import Item, LabelledData
from edgevision.labelled.files import SPLITS, files_below
from edgevision.labelled.names import match_names
from edgevision.metrics.truth import ClassTruth
from edgevision.sources import IMAGE_SUFFIXES
from edgevision.text import counted, printable

__all__ = ["read", "split_of"]


def split_of(path: Path) -> Path | None:
    """The folder that holds the class folders: this one, or its split to validate on; None if it has none."""
    classes = _folders(path)
    if not classes:
        return None
    splits = [path / split for split in SPLITS if path / split in classes]
    # Only if all folders are splits that hold folders: "test" may well be the name of a class.
    if len(splits) == len(classes) and all(_folders(split) for split in splits):
        return splits[0]
    return path


def read(path: Path, labels: tuple[str, ...]) -> LabelledData:
    """Opens class folders.

    Args:
        path: A folder for which `split_of` finds one.
        labels: The model's class names, by class id.

    Raises:
        DataError: There is no picture, a folder's name is no class, or a link leads out.
    """
    root = split_of(path) or path
    files = {folder: files_below(folder, root) for folder in _folders(root)}
    filled = [folder for folder in files if files[folder]]
    if not filled:
        raise DataError(
            f"there is no picture in the folders of {root}",
            received=counted(len(files), "folder"),
            expected="a folder for each class, with pictures in it",
        )
    ids = match_names((folder.name for folder in filled), labels, str(root))
    items = [
        Item(file.relative_to(root).as_posix(), file, partial(_truth, ids[folder.name]))
        for folder in filled
        for file in files[folder]
    ]
    name = path.resolve().name
    classes = frozenset(ids.values())
    return LabelledData(name, "folders", "classify", labels, classes, items, problems=_loose(root))


def _truth(class_id: int, _height: int, _width: int) -> ClassTruth:
    return ClassTruth(class_id)


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _loose(root: Path) -> list[str]:
    """Pictures beside the class folders have no class."""
    return [
        f"{printable(path.name)} lies in no class folder and was left out"
        for path in sorted(root.iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    ]
