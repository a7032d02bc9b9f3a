"""Latency percentiles that say nothing they cannot know: below a least number of samples there is no value.

The least numbers come from MLPerf Inference's early stopping at confidence 0.99 with one allowed overrun
(https://github.com/mlcommons/inference_policies, appendix "Early Stopping Criterion"): the smallest ``n`` for
which the chance of at most one overrun among ``n`` queries, each overrunning with probability ``1 − p``, is
below 0.01 - for p50, p90, p95, p97, p99 and p99.9: 11, 64, 130, 219, 662, 6636. The value itself is
``sorted[int(n · p)]``, as in LoadGen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_SAMPLES", "percentile_ms", "summary_ms"]

LEAST_SAMPLES = {0.5: 11, 0.9: 64, 0.95: 130, 0.97: 219, 0.99: 662, 0.999: 6636}
_SHOWN = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def percentile_ms(sorted_ns: NDArray[np.int64], p: float) -> float | None:
    """The percentile of ascending nanoseconds, in milliseconds; None when there are too few to quote it."""
    n = len(sorted_ns)
    if n < LEAST_SAMPLES[p]:
        return None
    return float(sorted_ns[min(n - 1, int(n * p))]) / 1e6


def summary_ms(samples_ns: NDArray[np.int64]) -> dict[str, Any]:
    """``mean``, ``p50``, ``p90``, ``p95``, ``p99`` and ``max`` in milliseconds; None where there are too few."""
    if len(samples_ns) == 0:
        return {"mean": None, **dict.fromkeys(_SHOWN), "max": None}
    ordered = np.sort(samples_ns)
    shown = {name: percentile_ms(ordered, p) for name, p in _SHOWN.items()}
    rounded = {name: None if value is None else round(value, 4) for name, value in shown.items()}
    return {
        "mean": round(float(ordered.mean()) / 1e6, 4),
        **rounded,
        "max": round(float(ordered[-1]) / 1e6, 4),
    }
