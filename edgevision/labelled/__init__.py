"""Labelled pictures, to say how right a model is: `open_labelled` chooses the reader by the look of a path.

Class folders (``cat/1.jpg``), YOLO (``images/`` beside ``labels/``) and COCO JSON. Classes are matched with
the model's by name. Boxes refer to the picture as it is shown: turned upright as its EXIF says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgevision.errors import DataError
from edgevision.labelled import coco, folders, yolo
from edgevision.labelled.data import LabelledData
from edgevision.text import printable

__all__ = ["LabelledData", "open_labelled"]

_FORMS = "a COCO .json, a folder with images/ and labels/ (YOLO), or a folder with one folder for each class"


def open_labelled(
    path: Path, labels: Sequence[str], *, task: str | None = None, samples: int | None = None
) -> LabelledData:
    """Opens labelled pictures and checks every label; pictures are decoded when they are iterated.

    Args:
        path: A ``.json`` (COCO), a folder or its ``data.yaml`` (YOLO), or a folder of class folders. Of the
            splits of a data set (``train``, ``val``…) the one to validate on is taken.
        labels: The model's class names, by class id.
        task: What the model does, ``detect`` or ``classify``; None takes either.
        samples: At most so many pictures, evenly spread; None for all.

    Raises:
        DataError: It is none of these, a label is wrong (file and line are named), a class is not one of
            the model's, something leads out of the folder, or the labels are for another task.
    """
    if not labels:
        raise DataError(
            "labelled data is matched by the names of the classes, and the model has none",
            hint="give them with --labels FILE, one name a line",
        )
    try:
        data = _read(path, tuple(labels))
    except OSError as error:
        raise DataError(
            f"{printable(str(error.filename or path))} cannot be read: {error.strerror}",
            expected=_FORMS,
        ) from error
    if task is not None and data.task != task:
        raise DataError(
            f"the labels in {path} do not fit what the model does",
            received=f"{data.kind}, which is for the task {data.task}",
            expected=f"labels for the task {task}",
        )
    return data if samples is None else data.spread(samples)


def _read(path: Path, labels: tuple[str, ...]) -> LabelledData:
    if path.is_file() and path.suffix.lower() == ".json":
        return coco.read(path, labels)
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        return yolo.read(path.parent, labels, names_file=path)
    if not path.is_dir():
        found = "a file of another kind" if path.exists() else "nothing of that name"
        raise DataError(f"{path} is no labelled data", received=found, expected=_FORMS)
    if yolo.layout(path) is not None:
        return yolo.read(path, labels)
    if folders.split_of(path) is not None:
        return folders.read(path, labels)
    inside = sorted(printable(entry.name, 40) for entry in path.iterdir())
    some = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "")
    raise DataError(
        f"{path} is no labelled data",
        received=f"a folder with {some}" if inside else "an empty folder",
        expected=_FORMS,
        hint="for COCO give the .json itself" if any(".json" in name for name in inside) else "",
    )
