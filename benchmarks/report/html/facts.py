"""What a record says, however old, partial or damaged it is: a fact that is not there is empty."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.text import printable

__all__ = ["dig", "flat", "listed", "mapping", "nanoseconds", "number", "numbers", "text"]

_LONGEST = 160
#: No time, clock, temperature or count comes near it; what is above is no reading, and would break an axis.
_GREATEST = 1e18


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def dig(value: Any, *keys: str) -> Any:
    """What lies below the keys; None if one of them is not there."""
    for key in keys:
        value = mapping(value).get(key)
    return value


def number(value: Any) -> float | None:
    """The value if it is a number within reason, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_GREATEST <= value <= _GREATEST else None


def text(value: Any, limit: int = _LONGEST) -> str:
    """One printable line of at most ``limit`` characters; empty for what has no text of its own."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return printable(value[: limit + 1], limit)  # cut first: a name may be of any length
    known = number(value)
    if known is None:
        return ""
    return f"{known:,.0f}" if known == int(known) and abs(known) >= 1e4 else f"{known:g}"


def flat(value: Any, limit: int = _LONGEST) -> str:
    """Any JSON value as one line: lists joined by commas, objects as ``key value``."""
    if isinstance(value, Mapping):
        parts = [f"{text(key, 40)} {flat(item, limit)}" for key, item in _first(value.items())]
        return text(", ".join(parts), limit)
    if isinstance(value, list | tuple):
        return text(", ".join(flat(item, limit) for item in _first(value)), limit)
    return text(value, limit)


def nanoseconds(value: Any) -> NDArray[np.float64]:
    """A list of times; empty unless every one of them is a number within reason."""
    if not isinstance(value, list | tuple | np.ndarray):
        return np.empty(0)
    try:
        given = np.asarray(value)
    except ValueError:  # lists of different lengths
        return np.empty(0)
    if given.dtype.kind not in "iuf":
        return np.empty(0)
    found = given.astype(np.float64)
    within = found.ndim == 1 and bool((np.abs(found) <= _GREATEST).all())  # False for NaN too
    return found if within else np.empty(0)


def numbers(value: Any) -> NDArray[np.float64]:
    """A list of readings; NaN for each that is none."""
    items = listed(value)
    if set(map(type, items)) <= {int, float, NoneType}:  # a long list is read at once
        with contextlib.suppress(OverflowError):
            found = np.array(items, np.float64)
            return np.where(np.abs(found) <= _GREATEST, found, math.nan)
    read = [number(item) for item in items]
    return np.array([math.nan if item is None else item for item in read], np.float64)


def _first(items: Any, most: int = 24) -> list[Any]:
    return [item for item, _ in zip(items, range(most), strict=False)]
