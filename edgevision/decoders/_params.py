"""Checks of decoder parameters and outputs: a wrong one is a `SpecError` with the right one."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import SpecError

__all__ = [
    "check_class_count",
    "choice",
    "class_mask",
    "flag",
    "fraction",
    "is_float",
    "keywords",
    "limit",
    "refuse_unknown",
    "selection",
    "shapes",
    "stride_list",
    "tensor_name",
    "whole",
    "wrong_layout",
]


_NO_NMS = (
    "leave it out: this decoder does no NMS. Where the graph does, its overlap is the one that it was exported "
    "with, or that convert --bake nms took from the preset or --config"
)


def keywords(plugin: type) -> list[str]:
    """The parameters of a decoder's class, without the labels, which are no parameter to users."""
    parameters = inspect.signature(plugin).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "labels"]


def refuse_unknown(decoder: str, unknown: Mapping[str, object], known: Iterable[str]) -> None:
    """Raises when there are parameters that the decoder does not have."""
    if unknown:
        raise SpecError(
            f"decoder {decoder!r} has no such parameter",
            received=", ".join(sorted(unknown)),
            expected=f"only: {', '.join(known)}",
            hint=_NO_NMS if "iou" in unknown else "",
        )


def selection(
    labels: tuple[str, ...], score: object, classes: object = None
) -> tuple[tuple[str, ...], float, tuple[int, ...] | None]:
    """What all detectors have: the labels, the least score, and the class ids to keep (None: all)."""
    labels = tuple(labels)
    return labels, fraction("score", score), class_mask(classes, labels)


def limit(value: object) -> int:
    """The parameter ``max_detections``."""
    return whole("max_detections", value, 1, 100_000)


def stride_list(value: Any, *, repeated: bool = False) -> tuple[int, ...]:
    """The parameter ``strides``: pixels a cell of each grid; they differ unless they may be repeated."""
    expected = f"a list of {'' if repeated else 'different '}whole numbers, such as [8, 16, 32]"
    _check(isinstance(value, list | tuple) and len(value) > 0, "strides", value, expected)
    found = tuple(whole("strides", stride, 1, 1024) for stride in value)
    _check(repeated or len(set(found)) == len(found), "strides", value, expected)
    return found


def fraction(name: str, value: object) -> float:
    """A number from 0 to 1."""
    fine = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    _check(fine, name, value, "a number from 0 to 1")
    return float(value)  # type: ignore[arg-type]


def whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from ``low`` to ``high``."""
    fine = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(fine, name, value, f"a whole number from {low} to {high}")
    return int(value)  # type: ignore[call-overload, no-any-return]


def flag(name: str, value: object) -> bool:
    """True or false."""
    _check(isinstance(value, bool), name, value, "true or false")
    return bool(value)


def choice(name: str, value: object, choices: Collection[str]) -> str:
    """One of several names."""
    _check(isinstance(value, str) and value in choices, name, value, " or ".join(choices))
    return str(value)


def tensor_name(name: str, value: object) -> str | None:
    """The name of a tensor, or None."""
    fine = value is None or (isinstance(value, str) and value != "")
    _check(fine, name, value, "the name of an output, or nothing")
    return None if value is None else str(value)


def class_mask(classes: object, labels: tuple[str, ...]) -> tuple[int, ...] | None:
    """Class ids to keep, from ids and names; None keeps all."""
    if classes is None:
        return None
    _check(isinstance(classes, list | tuple), "classes", classes, "a list of class names or ids")
    return tuple(sorted({_class_id(c, labels) for c in classes}))  # type: ignore[attr-defined]


def _class_id(value: object, labels: tuple[str, ...]) -> int:
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if number and (not labels or value < len(labels)):  # type: ignore[operator]
        return int(value)  # type: ignore[call-overload, no-any-return]
    raise SpecError(
        "the model has no such class", received=repr(value), expected=_known_classes(labels)
    )


def _known_classes(labels: tuple[str, ...]) -> str:
    if not labels:
        return "a class id from 0: this model carries no names"
    some = ", ".join(labels[:20]) + (", …" if len(labels) > 20 else "")
    return f"one of {some} or an id from 0 to {len(labels) - 1}"


def check_class_count(decoder: str, labels: tuple[str, ...], classes: int, shape: object) -> None:
    """The labels must be as many as the classes that the outputs hold, unless there are none."""
    if labels and len(labels) != classes:
        raise SpecError(
            f"decoder {decoder!r}: the labels do not match the model's outputs",
            received=f"{len(labels)} labels for {classes} classes (output of shape {shape})",
            expected=f"{classes} labels, or none",
            hint="--labels FILE, one name a line, in the order the model was trained with",
        )


def shapes(outputs: Mapping[str, NDArray[Any]]) -> str:
    """``name dtype (shape)`` of all outputs, for a message."""
    return "; ".join(f"{name} {a.dtype} {a.shape}" for name, a in outputs.items()) or "no outputs"


def wrong_layout(decoder: str, outputs: Mapping[str, NDArray[Any]], expected: str) -> SpecError:
    """The error for outputs that are not of a decoder's layout."""
    return SpecError(
        f"decoder {decoder!r} cannot read these outputs",
        received=shapes(outputs),
        expected=expected,
        hint="choose another preset or decoder, or name the output in the decoder's parameters",
    )


def is_float(array: NDArray[Any]) -> bool:
    """Whether a tensor holds floating point numbers."""
    return bool(np.issubdtype(array.dtype, np.floating))


def _check(fine: bool, name: str, received: object, expected: str) -> None:
    if not fine:
        raise SpecError(
            f"the decoder's parameter {name!r} is not usable",
            received=repr(received)[:200],
            expected=expected,
        )
