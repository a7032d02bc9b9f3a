"""Latency percentiles that say nothing they cannot know: below a least number of samples there is no value.

The least numbers come from MLPerf Inference's early stopping at confidence 0.99 with one allowed overrun
(https://github.com/mlcommons/inference_policies, appendix "Early Stopping Criterion"): the smallest ``n`` for
which the chance of at most one overrun among ``n`` queries, each overrunning with probability ``1 − p``, is
below 0.01 - for p50, p90, p95, p97, p99 and p99.9: 11, 64, 130, 219, 662, 6636. The value itself is
``sorted[int(n · p)]``, as in LoadGen. `early_stopping_estimate` and `overruns_allowed` are the rest of that rule:
the value a run may claim for its percentile, and how many queries may miss a bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LEAST_SAMPLES",
    "early_stopping_estimate",
    "overruns_allowed",
    "percentile_ms",
    "queries_needed",
    "summary_ms",
]

LEAST_SAMPLES = {0.5: 11, 0.9: 64, 0.95: 130, 0.97: 219, 0.99: 662, 0.999: 6636}
#: One run in so many may claim what it should not: MLPerf's confidence is 0.99.
_DOUBT = 1 - 0.99
_SHOWN = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def percentile_ms(sorted_ns: NDArray[np.int64], p: float) -> float | None:
    """The percentile of ascending nanoseconds, in milliseconds; None when there are too few to quote it."""
    n = len(sorted_ns)
    if n < LEAST_SAMPLES[p]:
        return None
    return float(sorted_ns[min(n - 1, int(n * p))]) / 1e6


def early_stopping_estimate(sorted_ns: NDArray[np.int64], p: float) -> int | None:
    """What may be claimed for a percentile at confidence 0.99, in nanoseconds; None with too few queries.

    The true percentile is below it in 99 runs of 100. It is the ``overruns_allowed``-th highest latency, so never
    below ``sorted[int(n · p)]``, and it comes nearer to that the more queries there are. This is the result of
    LoadGen's SingleStream (p90) and MultiStream (p99).

    Args:
        sorted_ns: int64 ``(queries,)``, ascending.
        p: The percentile, 0…1.
    """
    allowed = overruns_allowed(len(sorted_ns), p)
    return int(sorted_ns[-allowed]) if allowed >= 1 else None


def overruns_allowed(queries: int, p: float) -> int:
    """How many of these queries may exceed a bound that the percentile keeps, at confidence 0.99; -1: too few queries.

    The largest ``t`` for which ``t`` overruns or fewer, each query overrunning with probability ``1 − p``, have a
    chance below 1 %. With 0 overruns allowed a bound may be kept, but no percentile can be quoted.
    """
    # Some way past the mean the sum is above any doubt, so the rest of the terms need not be made.
    most = min(queries, int(queries * (1 - p)) + 1)
    overruns = np.arange(1, most + 1)
    ratios = np.log((queries - overruns + 1) / overruns) + np.log((1 - p) / p)
    chances = np.exp(queries * np.log(p) + np.concatenate([[0.0], np.cumsum(ratios)]))
    return int(np.searchsorted(np.cumsum(chances), _DOUBT)) - 1


def queries_needed(overruns: int, p: float) -> int:
    """The fewest queries with which so many overruns are allowed."""
    least, most = overruns, int((overruns + 10) / (1 - p)) * 2
    while overruns_allowed(most, p) < overruns:
        most *= 2
    while least < most:
        middle = (least + most) // 2
        if overruns_allowed(middle, p) < overruns:
            least = middle + 1
        else:
            most = middle
    return least


def summary_ms(samples_ns: NDArray[np.int64]) -> dict[str, Any]:
    """``mean``, ``p50``, ``p90``, ``p95``, ``p99`` and ``max`` in milliseconds; None where there are too few.

    They are exact to the nanosecond: rounded sooner, one number would read as two where it is rounded again.
    """
    if len(samples_ns) == 0:
        return {"mean": None, **dict.fromkeys(_SHOWN), "max": None}
    ordered = np.sort(samples_ns)
    shown = {name: percentile_ms(ordered, p) for name, p in _SHOWN.items()}
    rounded = {name: None if value is None else round(value, 6) for name, value in shown.items()}
    return {
        "mean": round(float(ordered.mean()) / 1e6, 6),
        **rounded,
        "max": round(float(ordered[-1]) / 1e6, 6),
    }
