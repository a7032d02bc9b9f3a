"""The queries of one run as numbers to resample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Series"]


@dataclass(frozen=True, slots=True)
class Series:
    """One run, query by query.

    Attributes:
        latency_ns: float64 ``(n,)``, end to end, above 0.
        gap_ns: float64 ``(n,)``, by how much each query lengthened the run; their sum is the run. With one query in
            flight that is its latency, and what lay between two queries.
        pictures: Pictures in a query.
    """

    latency_ns: NDArray[np.float64]
    gap_ns: NDArray[np.float64]
    pictures: int = 1

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Series:
        """The series of a record that `edgevision.benchmarks.compare.records` has read."""
        latency = np.maximum(np.asarray(record["samples_ns"], np.float64), 1.0)
        begins = np.asarray(record.get("begins_ns") or [], np.float64)
        # Where blocks took turns, the time until the next query is also the other model's.
        told = len(begins) == len(latency) and not record.get("interleaved")
        gaps = _gaps(latency, begins if told else None)
        ran = float(record.get("duration_s") or 0) * 1e9
        if ran > 0:
            gaps = gaps * (ran / gaps.sum())
        return cls(latency, gaps, int(record.get("samples_per_query") or 1))

    def part(self, begin: int, end: int) -> Series:
        """Queries ``begin`` … ``end − 1``."""
        return Series(self.latency_ns[begin:end], self.gap_ns[begin:end], self.pictures)

    def __len__(self) -> int:
        return len(self.latency_ns)


def _gaps(latency: NDArray[np.float64], begins: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Time from one completion to the next where queries overlap, else the latencies themselves."""
    if begins is None or not (begins[1:] < (begins + latency)[:-1]).any():
        return latency
    ends = np.sort(begins + latency)
    return np.maximum(np.diff(ends, prepend=begins.min()), 1.0)
