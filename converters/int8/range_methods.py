"""How the range of an activation is taken from what was seen of it."""

from __future__ import annotations

from collections.abc import Mapping

from edgevision.converters.int8.histograms import Histogram
from edgevision.converters.int8.ranges import TensorRange

__all__ = ["METHODS", "PLAIN", "TUNED", "Interval", "interval_of", "needs_histogram"]

Interval = tuple[float, float]

#: Takes what another method does, tensor by tensor.
TUNED = "tuned"
#: Name → what it does, for reports. No method is best everywhere.
METHODS: Mapping[str, str] = {
    "minmax": "takes the extremes of all calibration pictures",
    "mean": "takes the mean of each picture's extremes",
    "p99.99": "leaves the outermost 0.01 % of the values out",
    "p99.999": "leaves the outermost 0.001 % of the values out",
    "mse": "takes the interval whose steps err least in the mean of squares",
    TUNED: "takes for each tensor what any of the others does, whichever disturbs the outputs least",
}
#: Those that say for themselves what a tensor's range is.
PLAIN = tuple(name for name in METHODS if name != TUNED)


def needs_histogram(method: str) -> bool:
    """Whether the extremes alone do not say it."""
    return method not in ("minmax", "mean")


def interval_of(
    method: str, seen: TensorRange, histogram: Histogram | None, *, symmetric: bool
) -> Interval:
    """The range of one tensor, in its own unit.

    Args:
        method: One of `PLAIN`.
        seen: Its extremes.
        histogram: What lies between; needed where `needs_histogram` says so. A tensor that was never
            finite has none.
        symmetric: Its steps will lie around zero.
    """
    if method == "mean":
        # Means that are both 0 would give a tensor that is not always 0 no room: then all counts.
        means = seen.mean_low, seen.mean_high
        return means if any(means) else (seen.low, seen.high)
    if histogram is None or method == "minmax":
        return seen.low, seen.high
    if method == "mse":
        return histogram.least_error(symmetric=symmetric)
    low, high = histogram.percentile(float(method.removeprefix("p")))
    return (low, high) if low < 0 or high > 0 else (seen.low, seen.high)
