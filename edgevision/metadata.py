"""The spec that an ONNX file carries about itself: edgevision's own, or what Ultralytics' exporter writes.

Metadata is foreign text: it is parsed as data (JSON, Python literals), never run, and bounded in size.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgevision import presets
from edgevision.errors import SpecError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec
from edgevision.text import printable

__all__ = ["KEY", "spec_from_metadata", "variant_metadata"]

#: The key under which edgevision stores a variant's spec in ``metadata_props``.
KEY = "edgevision"
_LARGEST = 256 * 1024
_SCHEMA = 1


def variant_metadata(variant_id: str, precision: str, spec: ModelSpec) -> str:
    """The text to store under `KEY`: JSON, the same for the same spec."""
    data = {
        "schema": _SCHEMA,
        "variant": variant_id,
        "precision": precision,
        "spec": spec.to_dict(),
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def spec_from_metadata(
    metadata: Mapping[str, str], inputs: Sequence[TensorSpec]
) -> tuple[str, str, ModelSpec] | None:
    """Variant id, precision and spec from a file's metadata; None when it carries none.

    Args:
        metadata: The file's ``metadata_props``.
        inputs: The model's inputs, for the size where the metadata leaves it to them.

    Raises:
        SpecError: There is one, and it cannot be used.
    """
    if KEY in metadata:
        return _own(metadata[KEY])
    if "names" in metadata and "task" in metadata:
        return "model", "fp32", _ultralytics(metadata, inputs)
    return None


def _own(text: str) -> tuple[str, str, ModelSpec]:
    _bounded(KEY, text)
    try:
        data = json.loads(text)
        schema = data["schema"]
        found = (
            printable(str(data["variant"]), 64),
            printable(str(data["precision"]), 64),
            data["spec"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpecError(
            f"the file's metadata {KEY!r} cannot be read: {error}", hint="convert the model again"
        ) from error
    if schema != _SCHEMA:
        raise SpecError(
            "the file's metadata is of another version",
            received=printable(str(schema)),
            expected=str(_SCHEMA),
            hint="use the edgevision that wrote it, or a newer one",
        )
    return found[0], found[1], ModelSpec.from_dict(found[2])


def _ultralytics(metadata: Mapping[str, str], inputs: Sequence[TensorSpec]) -> ModelSpec:
    """Ultralytics' ``task``, ``names`` and ``imgsz`` (docs.ultralytics.com, export)."""
    task = metadata["task"]
    if task not in ("detect", "classify"):
        raise SpecError(
            f"the model's metadata says its task is {printable(task, 40)!r}",
            expected="detect or classify",
            hint="this version of edgevision runs no other task of Ultralytics' models",
        )
    labels = _names(_literal("names", metadata["names"]))
    if task == "classify":
        # Ultralytics' classifiers end in a softmax and take 0…1 without mean and std; pictures are
        # shrunk by Pillow, whose bilinear filter is an antialiasing one.
        size = _image_size(metadata, inputs)
        plain = InputSpec(resize="centre-crop", size=size, antialias=True)
        return ModelSpec(task, plain, OutputSpec("softmax", {"activation": "none"}), labels)
    preset = ModelSpec.from_dict(presets.load("yolov10" if _is_end_to_end(metadata) else "yolov8"))
    size = _image_size(metadata, inputs)
    fitted = (
        replace(preset.input, size=size)
        if size
        else replace(preset.input, size=None, multiple_of=_stride(metadata))
    )
    return ModelSpec(task, fitted, preset.output, labels)


def _is_end_to_end(metadata: Mapping[str, str]) -> bool:
    """Exports with ``nms=True``, and heads without NMS, give final boxes: nothing is left to suppress."""
    arguments = _literal("args", metadata["args"]) if "args" in metadata else {}
    inside = isinstance(arguments, dict) and arguments.get("nms") is True
    return inside or metadata.get("end2end", "").strip().lower() == "true"


def _image_size(
    metadata: Mapping[str, str], inputs: Sequence[TensorSpec]
) -> tuple[int, int] | None:
    """Height and width: the input's own where it is fixed, else what ``imgsz`` says."""
    for tensor in inputs:
        height, width = tensor.shape[2:] if len(tensor.shape) == 4 else ("?", "?")
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    if "imgsz" not in metadata:
        return None
    size = _literal("imgsz", metadata["imgsz"])
    if isinstance(size, int):
        size = [size, size]
    if not (
        isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(v, int) for v in size)
    ):
        raise SpecError(
            "the metadata 'imgsz' is no size",
            received=printable(repr(size)),
            expected="[height, width]",
        )
    return size[0], size[1]


def _stride(metadata: Mapping[str, str]) -> int:
    stride = _literal("stride", metadata.get("stride", "32"))
    return stride if isinstance(stride, int) and not isinstance(stride, bool) else 32


def _names(value: Any) -> tuple[str, ...]:
    """Class names from a list, or from a table whose keys count from 0."""
    if isinstance(value, dict) and set(value) == set(range(len(value))):
        value = [value[i] for i in range(len(value))]
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise SpecError(
            "the metadata 'names' is no list of class names",
            received=printable(repr(value)),
            expected="{0: 'person', 1: 'bicycle', …} with every number from 0",
            hint="give the names with --labels and --preset yolov8",
        )
    return tuple(printable(name) for name in value)


def _literal(key: str, text: str) -> Any:
    _bounded(key, text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in foreign text
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise SpecError(
            f"the metadata {key!r} is no literal",
            received=printable(text),
            expected="a Python literal, such as [640, 640]",
            hint="give what it should say with --preset, --labels and --size",
        ) from error


def _bounded(key: str, text: str) -> None:
    if len(text) > _LARGEST:
        raise SpecError(
            f"the metadata {key!r} is too long to be true",
            received=f"{len(text):,} characters",
            expected=f"at most {_LARGEST:,}",
            hint="the file was tampered with or badly exported; export it again",
        )
