"""YOLO's layout: ``images/a.jpg`` has its labels in ``labels/a.txt``, one object a line.

A line is ``class cx cy w h``: the class's number, then centre and size as parts of the picture's width and
height (docs.ultralytics.com, "Object Detection Datasets"). A picture without a text file has no objects.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgevision.errors import DataError
from edgevision.labelled.boxes import Boxes
from edgevision.labelled.data import Item, LabelledData
from edgevision.labelled.files import SPLITS, files_below, inside, read_text
from edgevision.labelled.names import known_names, match_names
from edgevision.labelled.yaml_names import read_names
from edgevision.metrics.truth import DetectionTruth
from edgevision.text import counted, printable

__all__ = ["Row", "layout", "parse_labels", "read"]

_LARGEST_LABELS, _LARGEST_NAMES = 16 * 2**20, 2**20
_NAMES_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt")
_NOT_LABELS = ("classes.txt", "train.txt", "val.txt", "test.txt")
#: Exporters round: what is this little outside of 0…1 was meant to be inside.
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled object: its line, the data's class number, and centre and size as parts of the picture."""

    line: int
    number: int
    cx: float
    cy: float
    width: float
    height: float

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        w, h = self.width / 2, self.height / 2
        return self.cx - w, self.cy - h, self.cx + w, self.cy + h


def layout(path: Path) -> tuple[Path, Path] | None:
    """The folders with pictures and with labels, of the split to validate on; None if it is not YOLO's layout.

    Known are ``images/`` and ``labels/``, with or without ``val/`` (``val2017/``) in both, and the same two
    folders inside ``val/`` or ``valid/``.
    """
    images, labels = path / "images", path / "labels"
    if images.is_dir() and labels.is_dir():
        split = _split(images)
        return (images / split, labels / split) if split else (images, labels)
    for name in SPLITS:
        images, labels = path / name / "images", path / name / "labels"
        if images.is_dir() and labels.is_dir():
            return images, labels
    return None


def read(path: Path, labels: tuple[str, ...], names_file: Path | None = None) -> LabelledData:
    """Reads all label files.

    Args:
        path: The data's folder.
        labels: The model's class names, by class id.
        names_file: A ``data.yaml``; None looks for one, and for a ``classes.txt``. Without any the data's
            class numbers are taken for the model's own. Of a ``data.yaml`` only the names are read: its paths
            may lead anywhere.

    Raises:
        DataError: There is no such layout, no label file, a wrong line, or a class the model does not have.
    """
    folders = layout(path)
    if folders is None:
        raise DataError(
            f"{path} is not in YOLO's layout",
            expected="the folders images and labels, or val/images…",
        )
    names = _read_names(path, folders[1], names_file)
    files = files_below(folders[0], path)
    rows = {file: _rows(file, folders, path, len(names or labels)) for file in files}
    if all(found is None for found in rows.values()):
        raise DataError(
            f"no picture in {folders[0]} has labels in {folders[1]}",
            received=counted(len(files), "picture"),
            expected="images/a.jpg with labels/a.txt",
        )
    used = sorted({row.number for found in rows.values() for row in found or ()})
    ids = {number: number for number in used}
    if names is not None:
        matched = match_names((names[number] for number in used), labels, str(path))
        ids = {number: matched[names[number]] for number in used}
    items = [_item(file, found or [], ids, folders, path) for file, found in rows.items()]
    name, kind = path.resolve().name, "yolo"
    items += _without_picture(files, folders, path)
    if names is None:
        everything = frozenset(range(len(labels)))
        line = "no data.yaml or classes.txt: the class numbers were taken for the model's own"
        return LabelledData(
            name, kind, "detect", labels, everything, items, problems=[line], matched="number"
        )
    return LabelledData(name, kind, "detect", labels, known_names(names, labels), items)


def parse_labels(text: str, classes: int, where: str) -> list[Row]:
    """The objects of one label file.

    Args:
        text: Its content; empty for a picture without objects.
        classes: How many classes there are.
        where: The file's name, for messages.

    Raises:
        DataError: A line is not ``class cx cy w h``, with the line's number.
    """
    rows = []
    for line, content in enumerate(text.splitlines(), 1):
        if content.strip():
            rows.append(_parse_line(content, line, classes, f"{where}, line {line}"))
    return rows


def _parse_line(content: str, line: int, classes: int, at: str) -> Row:
    fields = content.split()
    if len(fields) != 5:
        raise _wrong(at, content, _why_so_many(len(fields)))
    values = [_number(field) for field in fields]
    if not all(math.isfinite(value) for value in values):
        raise _wrong(at, content, "five finite numbers: class cx cy w h")
    number, *box = values
    if number != int(number) or not 0 <= number < classes:
        raise _wrong(at, content, f"a class number from 0 to {classes - 1}")
    if not all(-_ROUNDING <= value <= 1 + _ROUNDING for value in box):
        raise _wrong(at, content, "cx cy w h as parts of the picture's size, from 0 to 1")
    if box[2] <= 0 or box[3] <= 0:
        raise _wrong(at, content, "a width and a height above 0")
    return Row(line, int(number), *box)


def _number(field: str) -> float:
    """NaN for what is no decimal number; Python itself would read ``1_0`` and other scripts' digits."""
    plain = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", field, re.ASCII)
    return float(field) if plain and len(field) < 100 else math.nan


def _why_so_many(fields: int) -> str:
    if fields == 6:
        return "five numbers: class cx cy w h (six are a prediction with its score, not a label)"
    if fields > 6 and fields % 2:
        return "five numbers: class cx cy w h (this looks like a polygon; export boxes instead)"
    return "five numbers: class cx cy w h"


def _wrong(at: str, content: str, expected: str) -> DataError:
    return DataError(
        f"{at}: this is no labelled box",
        received=printable(content.strip(), 100),
        expected=expected,
        hint="correct the line, or export the labels again",
    )


def _split(images: Path) -> str:
    """The folder's subfolder to validate on; empty if it has no splits."""
    plain = {re.sub(r"\d+$", "", p.name.lower()): p.name for p in images.iterdir() if p.is_dir()}
    return next((plain[split] for split in SPLITS if split in plain), "")


def _read_names(path: Path, labels: Path, given: Path | None) -> tuple[str, ...] | None:
    """The data's class names by number; None if it has none."""
    folders = [path, labels, *([path.resolve().parent] if path.resolve().name in SPLITS else [])]
    files = [folder / name for folder in folders for name in _NAMES_FILES]
    for file in [given] if given is not None else files:
        if not file.is_file():
            continue
        text = read_text(inside(file.parent, file.name, str(file.parent)), _LARGEST_NAMES)
        if file.suffix == ".txt":
            return tuple(line.strip() for line in text.rstrip().split("\n"))
        found = read_names(text, str(file))
        if found is not None:
            return found
    return None


def _rows(file: Path, folders: tuple[Path, Path], root: Path, classes: int) -> list[Row] | None:
    """The objects of a picture; None if it has no label file."""
    labels = folders[1] / file.relative_to(folders[0]).with_suffix(".txt")
    safe = inside(root, labels.relative_to(root).as_posix(), str(root))
    if not safe.is_file():
        return None
    return parse_labels(read_text(safe, _LARGEST_LABELS), classes, str(safe))


def _item(
    file: Path, rows: Sequence[Row], ids: dict[int, int], folders: tuple[Path, Path], root: Path
) -> Item:
    name = file.relative_to(folders[0])
    boxes = np.array([row.xyxy for row in rows], np.float64).reshape(-1, 4)
    class_ids = np.array([ids[row.number] for row in rows], np.int32)
    where = partial(_where, str(folders[1] / name.with_suffix(".txt")), [row.line for row in rows])
    truth = Boxes(boxes, class_ids, np.zeros(len(rows), np.bool_), where, relative=True)
    return Item(file.relative_to(root).as_posix(), file, truth)


def _where(file: str, lines: Sequence[int], i: int) -> str:
    return f"{file}, line {lines[i]}"


def _without_picture(files: Sequence[Path], folders: tuple[Path, Path], root: Path) -> list[Item]:
    """Label files whose picture is missing: items that will be skipped, and named and counted so."""
    known = {file.relative_to(folders[0]).with_suffix(".txt") for file in files}
    names = [file.relative_to(folders[1]) for file in files_below(folders[1], root, {".txt"})]
    return [
        Item(f"the picture for {name.as_posix()}", None, _no_objects)
        for name in names
        if name not in known and name.name not in _NOT_LABELS
    ]


def _no_objects(_height: int, _width: int) -> DetectionTruth:
    return DetectionTruth.of([], [])
