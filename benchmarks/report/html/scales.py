"""From a value to a place on an axis, and where the axis has its ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Scale", "around", "from_zero"]

#: Above this ratio of greatest to least an axis is logarithmic: on a linear one the least is a blot.
_LINEAR_UP_TO = 12.0
#: An axis is at least so long, in its own unit.
_LEAST_ROOM = 1e-6
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
#: Digits of a decade that get a tick, the more of them the fewer decades there are.
_IN_DECADE = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis.

    Attributes:
        low: Value at 0.
        high: Value at 1; more than ``low``.
        log: Equal ratios are equal distances; ``low`` is then more than 0.
    """

    low: float
    high: float
    log: bool = False

    def at(self, values: ArrayLike) -> NDArray[np.float64]:
        """Places 0…1; what lies outside is put on the edge."""
        found = np.asarray(values, np.float64)
        low, high = self.low, self.high
        if self.log:
            found = np.log(np.maximum(found, low))
            low, high = math.log(low), math.log(high)
        return np.clip((found - low) / (high - low), 0.0, 1.0)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Places and labels, at most so many."""
        values = _log_ticks(self, most) if self.log else _linear_ticks(self, most)
        return [(float(self.at(value)), _label(value)) for value in values]


def around(least: float, most: float) -> Scale:
    """An axis for positive values that need not show 0; logarithmic if they are far apart."""
    if least > 0 and most / least > _LINEAR_UP_TO:
        return Scale(least * 0.95, most * 1.05, log=True)
    room = max((most - least) * 0.04, abs(most) * 0.01, _LEAST_ROOM)
    low = least - room
    return Scale(max(0.0, low) if least >= 0 else low, most + room)


def from_zero(most: float) -> Scale:
    """An axis on which lengths can be compared."""
    return Scale(0.0, most * 1.02 if most > _LEAST_ROOM else 1.0)


def _linear_ticks(scale: Scale, most: int) -> list[float]:
    span = scale.high - scale.low
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next((power * s for s in _STEPS if span / (power * s) <= most), power * 20)
    first = math.ceil(scale.low / step - 1e-9)
    last = math.floor(scale.high / step + 1e-9)
    return [step * n for n in range(first, last + 1)][: most + 1]


def _log_ticks(scale: Scale, most: int) -> list[float]:
    decades = range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1)
    found: list[float] = []
    for within in _IN_DECADE:
        all_of_them = [digit * 10.0**power for power in decades for digit in within]
        found = [value for value in all_of_them if scale.low <= value <= scale.high]
        if len(found) <= most:
            return found
    return found[:: -(-len(found) // most)]


def _label(value: float) -> str:
    if value and (abs(value) >= 1e7 or abs(value) < 1e-4):
        return f"{value:.3g}"
    return f"{round(value, 6):,g}" if abs(value) < 1e4 else f"{value:,.0f}"
