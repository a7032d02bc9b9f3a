"""What is known of one metric's change, and what may be said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.compare.metrics import Metric

__all__ = ["CONFIDENCE", "LEAST_FLOOR", "Estimate", "interval", "noise_text"]

#: Of the intervals. Half a dozen metrics are looked at in each comparison, so 0.95 would cry wolf too often.
CONFIDENCE = 0.99
#: No noise floor is below it: what chance, such as a place in memory, makes of two processes or sessions, and neither
#: turns nor runs in a row show. Twice the difference that was seen between two sessions of one file. A logarithm.
LEAST_FLOOR = math.log(1.015)


@dataclass(frozen=True, slots=True)
class Estimate:
    """One metric's change from base to new. Ratios are natural logarithms of new ÷ base.

    Attributes:
        metric: Which.
        base: Its value in the base, in the metric's unit; None where there are too few queries to quote one.
        new: Likewise.
        change: The change; None if there is nothing to say.
        low: Lower end of its confidence interval.
        high: Upper end.
        floor: The noise floor: a change that the same thing shows against itself; 0 or more.
        untold: Why it cannot be told; None if it can.
    """

    metric: Metric
    base: float | None
    new: float | None
    change: float | None = None
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan
    untold: str | None = None

    @property
    def verdict(self) -> str:
        """``slower``, ``faster``, ``no difference`` or ``cannot tell``."""
        if self.change is None:
            return "cannot tell"
        if abs(self.change) <= self.floor or self.low <= 0 <= self.high:
            return "no difference"
        return "slower" if self.metric.worse(self.change) > 0 else "faster"

    @property
    def worse(self) -> tuple[float, float]:
        """The least and the most by which it may have got worse, noise included, as logarithms; below 0 is better."""
        if self.change is None:
            return math.nan, math.nan
        told = self.low, self.high, self.change - self.floor, self.change + self.floor
        worse = [self.metric.worse(end) for end in told]
        return min(worse), max(worse)

    @property
    def resolution(self) -> float:
        """The smallest change that would have been told from none, as a logarithm."""
        return max(self.floor, (self.high - self.low) / 2)


def noise_text(log_ratio: float) -> str:
    """How large noise is: ``±12.0 %``; where it doubles and halves, ``×5.3``."""
    ratio = math.exp(log_ratio)
    return f"±{100 * (ratio - 1):.1f} %" if ratio < 2 else f"×{ratio:,.1f}"


def interval(draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile interval at `CONFIDENCE`.

    Args:
        draws: ``(resamples, metrics)``.

    Returns:
        ``(2, metrics)``: lower and upper ends.
    """
    ends: NDArray[np.float64] = np.quantile(
        draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0
    )
    return ends
