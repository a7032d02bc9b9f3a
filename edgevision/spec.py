"""The input and output specs: how a frame becomes a tensor, and how tensors become a result.

Calibration, proof and every runtime read the same objects, and they travel in the bundle and in each
ONNX file's metadata. A spec validates itself: a wrong value is a `SpecError` that names the field.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from edgevision.errors import SpecError
from edgevision.text import printable

__all__ = ["InputSpec", "ModelSpec", "OutputSpec", "Shape", "TensorSpec"]

#: A dimension is a number, or the name of a symbol that is chosen when a slot is made.
Shape = tuple[int | str, ...]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a variant: its name, numpy dtype name and shape."""

    name: str
    dtype: str
    shape: Shape

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {'×'.join(map(str, self.shape)) or 'scalar'}"


_CHOICES: dict[str, tuple[str, ...]] = {
    "resize": ("letterbox", "stretch", "centre-crop"),
    "interpolation": ("nearest", "linear", "cubic", "area"),
    "pad_side": ("both", "end"),
    "colour": ("rgb", "bgr", "gray"),
    "layout": ("nchw", "nhwc"),
    "dtype": ("float32", "float16", "uint8", "int32"),
}


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How a frame becomes the input tensor: resize, round to uint8, then ``(x · scale − mean) / std``.

    Attributes:
        size: ``(height, width)`` of the tensor, or None when the model takes any multiple of ``multiple_of``.
        multiple_of: With ``size=None``: both sides are rounded up to a multiple of this.
        max_size: With ``size=None``: the largest ``(height, width)``; larger frames are scaled down to fit.
        resize: ``letterbox`` keeps the aspect and pads, ``stretch`` does not keep it, ``centre-crop``
            resizes the central square-in-aspect part.
        crop_fraction: For ``centre-crop``: how much of the shorter side is kept, 0…1.
        interpolation: ``nearest``, ``linear``, ``cubic`` or ``area``, as OpenCV defines them.
        antialias: Use area averaging instead wherever the picture shrinks.
        pad_value: Grey level of the padding, 0…255.
        pad_side: ``both`` centres the picture (the odd pixel goes right/below), ``end`` pads right and below.
        colour: Channel order of the tensor; ``gray`` is one channel.
        scale: Multiplies the 0…255 value first.
        mean: Subtracted after scaling, one value a channel in the tensor's order, or one for all.
        std: Divides at the end, likewise.
        layout: ``nchw`` or ``nhwc``.
        dtype: ``float32``, ``float16``, ``uint8`` or ``int32``; the integer ones take scale 1, mean 0, std 1.
        tensor: Name of the input, or None for the model's only image-shaped one.
        baked: What the graph does by itself, so that this spec does not: ``colour``, ``normalization``.
    """

    size: tuple[int, int] | None = None
    multiple_of: int = 32
    max_size: tuple[int, int] | None = None
    resize: str = "letterbox"
    crop_fraction: float = 1.0
    interpolation: str = "linear"
    antialias: bool = False
    pad_value: int = 114
    pad_side: str = "both"
    colour: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str = "nchw"
    dtype: str = "float32"
    tensor: str | None = None
    baked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_baked(self.baked, ("colour", "normalization"))
        for name, choices in _CHOICES.items():
            _check(getattr(self, name) in choices, name, getattr(self, name), ", ".join(choices))
        for name in ("size", "max_size"):
            _check_size(name, getattr(self, name))
        _check(
            _is_int(self.multiple_of) and 1 <= self.multiple_of <= 1024,
            "multiple_of",
            self.multiple_of,
            "1 to 1024",
        )
        _check(
            _is_number(self.crop_fraction) and 0 < self.crop_fraction <= 1,
            "crop_fraction",
            self.crop_fraction,
            "more than 0, at most 1",
        )
        _check(
            _is_int(self.pad_value) and 0 <= self.pad_value <= 255,
            "pad_value",
            self.pad_value,
            "0 to 255",
        )
        _check(_is_number(self.scale) and self.scale > 0, "scale", self.scale, "a number above 0")
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            _check(
                isinstance(numbers, tuple)
                and len(numbers) in (1, self.channels)
                and all(_is_number(n) for n in numbers),
                name,
                numbers,
                f"1 or {self.channels} numbers",
            )
        _check(all(s > 0 for s in self.std), "std", self.std, "numbers above 0")
        _check(isinstance(self.antialias, bool), "antialias", self.antialias, "true or false")
        _check(
            self.tensor is None or (isinstance(self.tensor, str) and self.tensor != ""),
            "tensor",
            self.tensor,
            "the name of an input, or nothing",
        )
        if self.dtype in ("uint8", "int32"):
            plain = self.scale == 1 and not any(self.mean) and all(s == 1 for s in self.std)
            _check(
                plain,
                "scale/mean/std",
                (self.scale, self.mean, self.std),
                f"1, 0 and 1: a {self.dtype} input takes plain pixels",
            )

    @property
    def channels(self) -> int:
        return 1 if self.colour == "gray" else 3

    def tensor_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """The shape of one row (no batch) for a tensor of that size, in this spec's layout."""
        c = self.channels
        return (c, height, width) if self.layout == "nchw" else (height, width, c)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; every field, so that a later default cannot change an old bundle.

        Only ``baked`` is left out where it is empty, as in bundles written before there was any.
        """
        return _without_empty("baked", _jsonable(asdict(self)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> InputSpec:
        """The inverse of `to_dict`; missing fields take their default."""
        return _build(
            cls,
            data,
            "input",
            {"size": tuple, "max_size": tuple, "mean": _floats, "std": _floats, "baked": tuple},
        )


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """How tensors become a result.

    Attributes:
        decoder: Registry name.
        params: The decoder's own parameters.
        baked: What the graph does by itself, so that no decoder has to: ``nms``.
    """

    decoder: str
    params: Mapping[str, Any] = field(default_factory=dict)
    baked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_baked(self.baked, ("nms",))
        _check(
            isinstance(self.decoder, str) and self.decoder != "",
            "decoder",
            self.decoder,
            "a decoder's name",
        )
        _check(isinstance(self.params, Mapping), "params", self.params, "a table")

    def to_dict(self) -> dict[str, Any]:
        data = {"decoder": self.decoder, "params": dict(self.params), "baked": list(self.baked)}
        return _without_empty("baked", data)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OutputSpec:
        return _build(cls, data, "output", {"baked": tuple})


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything needed to run one variant on pictures: task, labels, input spec, output spec.

    Labels that are read from a file are made printable: they go to terminals, pictures and reports.
    """

    task: str
    input: InputSpec
    output: OutputSpec
    labels: tuple[str, ...] = ()

    @property
    def baked(self) -> tuple[str, ...]:
        """What the graph does by itself: of ``colour``, ``normalization``, ``nms``."""
        return self.input.baked + self.output.baked

    def to_dict(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "labels": list(self.labels),
            "input": self.input.to_dict(),
            "output": self.output.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ModelSpec:
        _check(isinstance(data, Mapping), "spec", data, "a table")
        _check(isinstance(data.get("task"), str), "task", data.get("task"), "a task's name")
        labels = data.get("labels", ())
        _check(
            isinstance(labels, list | tuple) and all(isinstance(label, str) for label in labels),
            "labels",
            labels,
            "a list of names",
        )
        return cls(
            task=data["task"],
            input=InputSpec.from_dict(data.get("input", {})),
            output=OutputSpec.from_dict(data.get("output", {})),
            labels=tuple(printable(label) for label in labels),
        )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check(fine: bool, name: str, received: object, expected: str) -> None:
    if not fine:
        raise SpecError(
            f"the spec's {name!r} is not usable", received=repr(received)[:200], expected=expected
        )


def _check_baked(value: object, known: tuple[str, ...]) -> None:
    fine = isinstance(value, tuple) and len(value) == len(set(map(str, value)))
    fine = fine and set(map(str, value)) <= set(known)  # type: ignore[call-overload]
    _check(fine, "baked", value, f"a list of: {', '.join(known)}")


def _check_size(name: str, value: object) -> None:
    if value is None:
        return
    fine = (
        isinstance(value, tuple)
        and len(value) == 2
        and all(_is_int(v) and 1 <= v <= 16384 for v in value)
    )
    _check(fine, name, value, "two whole numbers (height, width) from 1 to 16384")


def _floats(value: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in (value if isinstance(value, list | tuple) else [value]))


def _build(cls: type[T], data: Any, what: str, convert: Mapping[str, Any]) -> T:
    _check(isinstance(data, Mapping), what, data, "a table")
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    _check(
        set(data) <= known,
        what,
        sorted(set(data) - known),
        f"only these fields: {', '.join(sorted(known))}",
    )
    try:
        values = {
            k: convert[k](v) if k in convert and v is not None else v for k, v in data.items()
        }
        return cls(**values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(
            f"the {what} spec is not usable: {error}", received=repr(dict(data))[:200]
        ) from error


def _without_empty(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name or value}


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
