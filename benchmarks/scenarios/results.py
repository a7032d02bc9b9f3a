"""A scenario's own figure, as MLPerf Inference has it, and what may be claimed for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.percentiles import (
    LEAST_SAMPLES,
    early_stopping_estimate,
    overruns_allowed,
    percentile_ms,
    queries_needed,
)

__all__ = ["latency_result", "over_the_bound", "rate_result", "too_few"]


def latency_result(total_ns: NDArray[np.int64], p: float) -> dict[str, Any]:
    """The percentile of the latencies; ``estimate_ms`` is LoadGen's early-stopping estimate of it.

    Args:
        total_ns: int64 ``(queries,)``, in any order.
        p: The percentile, 0…1.
    """
    ordered = np.sort(total_ns)
    return {
        "metric": f"p{100 * p:g}_ms",
        "value": percentile_ms(ordered, p),
        "percentile": p,
        "estimate_ms": _estimate_ms(ordered, p),
        "queries_needed": LEAST_SAMPLES[p],
    }


def rate_result(
    metric: str,
    value: float | None,
    total_ns: NDArray[np.int64],
    p: float | None,
    overruns: int = 0,
) -> dict[str, Any]:
    """A rate a second; with a percentile also what may be claimed for that, and the queries that it takes.

    Args:
        metric: ``qps`` or ``samples_per_s``.
        value: The rate; None if there is none.
        total_ns: int64 ``(queries,)``, in any order.
        p: The percentile that a bound was set for, 0…1; None if there was no bound.
        overruns: Queries that took longer than the bound.
    """
    return {
        "metric": metric,
        "value": None if value is None else round(value, 3),
        "percentile": p,
        "estimate_ms": None if p is None else _estimate_ms(np.sort(total_ns), p),
        "queries_needed": 1 if p is None else queries_needed(overruns, p),
    }


def too_few(scenario: str, queries: int, p: float) -> str | None:
    """Why the percentile cannot be quoted; None if it can."""
    least = LEAST_SAMPLES[p]
    if queries >= least:
        return None
    return (
        f"the result of {scenario} is p{100 * p:g}, which needs {least} queries; {queries} were run"
    )


def over_the_bound(
    total_ns: NDArray[np.int64] | NDArray[np.float64], bound_ms: float, p: float
) -> str | None:
    """Why these latencies do not show that the percentile keeps a bound; None if they do: LoadGen's rule.

    The percentile itself must keep it, and no more queries may have missed it than early stopping
    allows among so many.
    """
    queries = len(total_ns)
    overruns = int((total_ns > bound_ms * 1e6).sum())
    name, missed = f"p{100 * p:g}", f"{overruns} of {queries} queries took longer"
    if queries and np.sort(total_ns)[min(queries - 1, int(queries * p))] > bound_ms * 1e6:
        return f"{name} is over the bound of {bound_ms:g} ms: {missed}"
    if overruns_allowed(queries, p) < overruns:
        return (
            f"too few queries to say that {name} keeps the bound of {bound_ms:g} ms: {missed}; "
            f"that takes {queries_needed(overruns, p)} queries"
        )
    return None


def _estimate_ms(ordered_ns: NDArray[np.int64], p: float) -> float | None:
    estimate = early_stopping_estimate(ordered_ns, p)
    return None if estimate is None else estimate / 1e6
