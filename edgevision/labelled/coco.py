"""COCO's JSON: ``images``, ``annotations`` with ``bbox`` (left, top, width, height) and ``categories``.

The format of cocodataset.org ("Data format", object detection). Pictures are looked for beside the file, in
``images/``, in COCO's own layout (``annotations/instances_val2017.json`` and ``val2017/``), and nowhere else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgevision.errors import DataError
from edgevision.labelled.boxes import Boxes
from edgevision.labelled.data import Item, LabelledData
from edgevision.labelled.files import inside, read_text, refuse_unsafe
from edgevision.labelled.names import known_names, match_names
from edgevision.text import printable

__all__ = ["Annotation", "Coco", "parse", "read"]

_LARGEST = 256 * 2**20  # COCO's own instances_val2017.json has 20 MB
_FARTHEST = 1e7  # pixels: float32 still tells neighbouring ones apart
_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object: its place in the file, category, left, top, right, bottom in pixels, and COCO's ``iscrowd``."""

    index: int
    category: int
    xyxy: tuple[float, float, float, float]
    crowd: bool


@dataclass(frozen=True, slots=True)
class Coco:
    """What a file says, checked but not yet matched with a model or with files.

    Attributes:
        categories: Category id → name.
        files: Image id → file name.
        sizes: Image id → height and width; None where it does not say.
        annotations: Image id → its objects.
    """

    categories: Mapping[int, str]
    files: Mapping[int | str, str]
    sizes: Mapping[int | str, tuple[int, int] | None]
    annotations: Mapping[int | str, Sequence[Annotation]]


def read(path: Path, labels: tuple[str, ...]) -> LabelledData:
    """Reads a COCO JSON.

    Args:
        path: The ``.json``.
        labels: The model's class names, by class id.

    Raises:
        DataError: It is too large, no such JSON, a box or a file name is wrong, or a category with objects is
            none of the model's.
    """
    coco = parse(read_text(path, _LARGEST), str(path))
    used = dict.fromkeys(a.category for found in coco.annotations.values() for a in found)
    matched = match_names((coco.categories[i] for i in used), labels, str(path))
    ids = {i: matched[coco.categories[i]] for i in used}
    root, prefix = _locate(path, list(coco.files.values()))
    items = [_item(coco, image, ids, path, root, prefix) for image in coco.files]
    classes = known_names(coco.categories.values(), labels)
    return LabelledData(path.name, "coco", "detect", labels, classes, items)


def parse(text: str, where: str) -> Coco:
    """Reads and checks the JSON's text; touches no file.

    Args:
        text: The whole file.
        where: Its name, for messages.

    Raises:
        DataError: It is no such JSON, or something in it is wrong, with its place.
    """
    data = _loaded(text, where)
    categories: dict[int, str] = {}
    for at, entry in _entries(data, "categories", where):
        _add(categories, _integer(entry, "id", at), _text(entry, "name", at), at)
    files: dict[int | str, str] = {}
    sizes: dict[int | str, tuple[int, int] | None] = {}
    for at, entry in _entries(data, "images", where):
        name = _text(entry, "file_name", at)
        refuse_unsafe(name, at)
        image = _image_id(entry, "id", at)
        _add(files, image, name, at)
        sizes[image] = _size(entry, at)
    _refuse_twice(files, where)
    annotations: dict[int | str, list[Annotation]] = {image: [] for image in files}
    for index, (at, entry) in enumerate(_entries(data, "annotations", where)):
        image, category = _image_id(entry, "image_id", at), _integer(entry, "category_id", at)
        _refuse_unknown(image, files, "image_id", at)
        _refuse_unknown(category, categories, "category_id", at)
        crowd = _field(entry, "iscrowd", at, (int, bool)) if "iscrowd" in entry else 0
        annotations[image].append(Annotation(index, category, _box(entry, at), bool(crowd)))
    return Coco(categories, files, sizes, annotations)


def _loaded(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, line {error.lineno}: this is no JSON",
            received=error.msg,
            hint="the file may have been cut off: copy or export it again",
        ) from error
    except (RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(
            f"{where}: this JSON cannot be read", received=printable(why), expected="COCO's JSON"
        ) from error
    if not isinstance(data, dict):
        raise _wrong(
            where, f"a {type(data).__name__}", "a table with images, annotations, categories"
        )
    return data


def _entries(data: Mapping[str, Any], key: str, where: str) -> list[tuple[str, dict[str, Any]]]:
    """The entries of one of the three lists, each with its place."""
    entries = data.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        found = f"no {key!r}" if key not in data else f"{key!r} that is no list of tables"
        raise _wrong(where, found, f"COCO's object detection format, with a list {key!r}")
    return [(f"{where}, {key}[{i}]", entry) for i, entry in enumerate(entries)]


def _field(entry: Mapping[str, Any], key: str, at: str, kinds: tuple[type, ...]) -> Any:
    value = entry.get(key)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        found = f"{key} = {value!r}" if key in entry else f"no {key!r}"
        raise _wrong(at, found, f"{key}: {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _integer(entry: Mapping[str, Any], key: str, at: str) -> int:
    return int(_field(entry, key, at, (int,)))


def _image_id(entry: Mapping[str, Any], key: str, at: str) -> int | str:
    value: int | str = _field(entry, key, at, (int, str))
    return value


def _text(entry: Mapping[str, Any], key: str, at: str) -> str:
    value: str = _field(entry, key, at, (str,))
    if not value.strip():
        raise _wrong(at, f"an empty {key}", "a text")
    return value


def _size(entry: Mapping[str, Any], at: str) -> tuple[int, int] | None:
    if entry.get("width") is None or entry.get("height") is None:
        return None
    size = _integer(entry, "height", at), _integer(entry, "width", at)
    if not all(0 < side < _FARTHEST for side in size):
        raise _wrong(at, f"height, width = {size}", "the picture's size in pixels")
    return size


def _box(entry: Mapping[str, Any], at: str) -> tuple[float, float, float, float]:
    box = _field(entry, "bbox", at, (list,))
    numbers = [v for v in box if isinstance(v, int | float) and not isinstance(v, bool)]
    fine = len(box) == len(numbers) == 4 and all(_near(v) for v in numbers)
    if not (fine and numbers[2] > 0 and numbers[3] > 0):
        raise _wrong(
            at, f"bbox = {box!r}", "[left, top, width, height] in pixels, width and height above 0"
        )
    x, y, width, height = (float(v) for v in numbers)
    return x, y, x + width, y + height


def _near(value: float) -> bool:
    # Compared first: a whole number of JSON may be too large for a float.
    return -_FARTHEST <= value <= _FARTHEST and math.isfinite(value)


def _add(table: dict[Any, str], key: int | str, value: str, at: str) -> None:
    if key in table:
        raise _wrong(at, f"the id {key!r} a second time", "each id once")
    table[key] = value


def _refuse_unknown(value: int | str, table: Mapping[Any, Any], key: str, at: str) -> None:
    if value not in table:
        raise _wrong(at, f"{key} = {value!r}", "the id of an entry in the same file")


def _refuse_twice(files: Mapping[int | str, str], where: str) -> None:
    """One picture under two ids would be judged twice, each time by a part of its labels."""
    if len(set(files.values())) < len(files):
        seen: set[str] = set()
        twice = next(name for name in files.values() if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _wrong(where, f"the file_name {twice!r} under several ids", "each picture once")


def _wrong(at: str, received: str, expected: str) -> DataError:
    return DataError(
        f"{at}: this is not as COCO has it",
        received=printable(received, 120),
        expected=expected,
        hint="correct it, or export the labels again",
    )


def _locate(path: Path, names: Sequence[str]) -> tuple[Path, str]:
    """The folder that nothing leaves, and where in it the pictures lie: where most of the first ones are found."""
    split = path.stem.rpartition("_")[2]
    root, prefixes = path.parent, ["", "images/"]
    if path.resolve().parent.name == "annotations":
        root = path.resolve().parent.parent
        refuse_unsafe(split, str(path))
        prefixes = [f"{split}/", f"images/{split}/", "images/", "", "annotations/"]
    some = names[:: max(1, len(names) // _LOOKED_AT)]
    found = {p: sum((root / p / name).is_file() for name in some) for p in prefixes}
    return root, max(prefixes, key=lambda prefix: found[prefix])


def _item(
    coco: Coco, image: int | str, ids: Mapping[int, int], path: Path, root: Path, prefix: str
) -> Item:
    found, size = coco.annotations[image], coco.sizes[image]
    truth = Boxes(
        np.array([a.xyxy for a in found], np.float64).reshape(-1, 4),
        np.array([ids[a.category] for a in found], np.int32),
        np.array([a.crowd for a in found], np.bool_),
        partial(_where, str(path), [a.index for a in found]),
    )
    if size is not None:
        truth(*size)  # what is wrong with a box is said now, not in the middle of the work
    file = inside(root, prefix + coco.files[image], str(path))
    return Item(coco.files[image], file, truth, size)


def _where(file: str, indices: Sequence[int], i: int) -> str:
    return f"{file}, annotations[{indices[i]}]"
