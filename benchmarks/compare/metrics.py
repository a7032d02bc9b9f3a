"""What can be compared: percentiles, the mean and the rate, of any resample of a run's queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.percentiles import LEAST_SAMPLES

__all__ = ["METRICS", "Metric", "Pool"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a run.

    Attributes:
        name: As in ``--max-regression``.
        unit: ``ms`` or ``frames/s``.
        percentile: 0…1; None for what is no percentile.
        higher_is_better: True for a rate.
        least: Fewest queries from which it may be quoted.
    """

    name: str
    unit: str = "ms"
    percentile: float | None = None
    higher_is_better: bool = False
    least: int = 11

    def worse(self, log_ratio: float) -> float:
        """The logarithm of new ÷ base, turned so that more is worse."""
        return -log_ratio if self.higher_is_better else log_ratio


def _percentiles() -> list[Metric]:
    return [Metric(f"p{100 * p:g}", percentile=p, least=LEAST_SAMPLES[p]) for p in _QUOTED]


_QUOTED = (0.5, 0.9, 0.95, 0.99, 0.999)
METRICS = {
    metric.name: metric
    for metric in [
        *_percentiles(),
        Metric("mean"),
        Metric("fps", unit="frames/s", higher_is_better=True),
    ]
}


class Pool:
    """Queries, sorted once, so that the metrics of a resample take no sorting.

    Args:
        latency_ns: ``(n,)``, end to end.
        gap_ns: ``(n,)``: by how much each query lengthened the run; with one in flight its latency.
        pictures: Pictures in a query.
        metrics: What `logs` returns, in this order.
    """

    def __init__(
        self,
        latency_ns: NDArray[np.float64],
        gap_ns: NDArray[np.float64],
        pictures: int,
        metrics: Sequence[Metric],
    ) -> None:
        self._order = np.argsort(latency_ns, kind="stable")
        self._sorted_ms = latency_ns[self._order] / 1e6
        # One product gives all sums: of latencies and of gaps.
        self._sums = np.stack([latency_ns / 1e6, gap_ns / 1e9], axis=1)
        self._pictures = pictures
        named = [(i, m.percentile) for i, m in enumerate(metrics) if m.percentile is not None]
        self._ranked = np.array([i for i, _ in named], int)
        self._percentiles = np.array([p for _, p in named])
        self._means = np.array([i for i, m in enumerate(metrics) if m.name == "mean"], int)
        self._rates = np.array([i for i, m in enumerate(metrics) if m.name == "fps"], int)
        self._count = len(metrics)

    def values(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """One value for each metric; a percentile is ``sorted[int(n · p)]`` as everywhere.

        Args:
            weights: How often each query counts; None for once.
        """
        counts = np.ones(len(self._order), np.int64) if weights is None else weights
        upto = counts[self._order].cumsum()
        total = int(upto[-1])
        ranks = np.minimum(total - 1, (total * self._percentiles).astype(np.int64))
        latency_ms, gap_s = counts.astype(np.float64) @ self._sums
        values = np.empty(self._count)
        values[self._ranked] = self._sorted_ms[upto.searchsorted(ranks, side="right")]
        values[self._means] = latency_ms / total
        values[self._rates] = total * self._pictures / gap_s
        return values

    def logs(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Logarithms of `values`: their differences are ratios, whatever the unit."""
        logs: NDArray[np.float64] = np.log(self.values(weights))
        return logs
