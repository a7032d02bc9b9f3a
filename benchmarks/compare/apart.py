"""Runs that were made one after the other, or on different days: what their difference is worth.

The interval comes from the stationary bootstrap of each run, and of the runs where there are several of the same thing.
It knows what happened within the runs only, and two runs of the same thing differ by more: each process lies in another
place in memory, and meets another clock, temperature and neighbour. So there is a noise floor beside it.

1. Of fewer than five runs of each side nobody knows by how much whole runs differ. So it is assumed that their levels
   vary by `SPREAD`, and the floor is never below what that makes of the difference of two means
   (benchmarks/studies/compare_runs.py). It is higher where the runs say so themselves: their range, or twice the
   largest difference between the eighths of a run, of a far percentile between longer parts (twice was found by
   benchmarks/studies/compare_noise.py).
2. From five runs of the same thing on their own variation tells it: the level that varies most decides, as in Kalibera
   & Jones, "Rigorous Benchmarking in Reasonable Time", ISMM 2013. What all of them share shows in none of them, so the
   floor is never below `LEAST_FLOOR`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.compare.bootstrap import block_length, resamples
from edgevision.benchmarks.compare.estimate import LEAST_FLOOR, Estimate, interval
from edgevision.benchmarks.compare.metrics import Metric, Pool
from edgevision.benchmarks.compare.series import Series

__all__ = ["RUNS_TELL", "SPREAD", "assumed_floor", "estimate_apart"]

_DRAWS = 1000
_LEAST_DRAWS = 300
#: Queries times resamples: beyond it there are fewer resamples, so that it takes seconds.
_MOST_WORK = 200_000_000
#: Parts of a run whose differences are its noise floor.
_PARTS = 8
#: Of a far percentile, which takes longer parts; the range of two or three alone would be small too often.
_LEAST_PARTS = 4
#: By how much more two runs may differ than the parts of one.
_WIDER = 2.0
#: From so many runs of the same thing on, their own differences tell more than what is assumed of them.
RUNS_TELL = 5
#: By so much the levels of whole runs are assumed to vary where too few of them tell: standard deviation of their
#: logarithms.
SPREAD = 0.04
#: Standard deviations of a difference that chance exceeds less than three times in a hundred, which with several
#: metrics is less than five.
_USUAL = 2.2
#: Student's t at 0.9975 for 4, 5, … degrees of freedom: 0.5 % for each of six metrics that mostly move together. Beyond
#: the last one that of 30 is on the safe side.
_STUDENT = (
    5.598, 4.773, 4.317, 4.029, 3.833, 3.690, 3.581, 3.497, 3.428, 3.372, 3.326, 3.286, 3.252, 3.222, 3.197,
    3.174, 3.153, 3.135, 3.119, 3.104, 3.091, 3.078, 3.067, 3.057, 3.047, 3.038, 3.030,
)  # fmt: skip
#: Fewer independent stretches than this are no witness.
_LEAST_STRETCHES = 6


def estimate_apart(
    base: Sequence[Series],
    new: Sequence[Series],
    metrics: Sequence[Metric],
    rng: np.random.Generator,
) -> list[Estimate]:
    """One estimate for each metric.

    Args:
        base: Runs of the base, oldest first; at least one, none of them empty.
        new: Likewise.
        metrics: What to estimate.
        rng: Where chance comes from.
    """
    sides = [_Side([_Run(series, metrics) for series in runs], metrics) for runs in (base, new)]
    was, now = sides
    change = now.logs() - was.logs()
    queries = sum(len(series) for series in (*base, *new))
    count = int(min(_DRAWS, max(_LEAST_DRAWS, _MOST_WORK / queries)))
    low, high = interval(now.draws(count, rng) - was.draws(count, rng))
    floor = _floor(was, now)
    untold = [was.untold(metric) or now.untold(metric) for metric in metrics]
    values = [np.exp(side.logs()) for side in sides]
    return [
        Estimate(metric, float(values[0][i]), float(values[1][i]), float(change[i]), float(low[i]),
                 float(high[i]), float(floor[i]))
        if untold[i] is None
        else Estimate(metric, was.quoted(i), now.quoted(i), untold=untold[i])
        for i, metric in enumerate(metrics)
    ]  # fmt: skip


class _Run:
    """One run with what is needed to resample it."""

    def __init__(self, series: Series, metrics: Sequence[Metric]) -> None:
        self.series, self._metrics = series, metrics
        self._pool = Pool(series.latency_ns, series.gap_ns, series.pictures, metrics)
        self.logs = self._pool.logs()
        self._length = _stretch(series)

    @property
    def stretches(self) -> float:
        """How many independent stretches there are in it."""
        return len(self.series) / self._length

    def draws(self, count: int, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
        for weights in resamples(len(self.series), self._length, count, rng):
            yield self._pool.logs(weights)

    def wander(self) -> NDArray[np.float64]:
        """Largest difference of each metric between parts of the run."""
        return np.array([self._range(metric) for metric in self._metrics])

    def _range(self, metric: Metric) -> float:
        n = len(self.series)
        count = int(np.clip(4 * n // metric.least, _LEAST_PARTS, _PARTS))
        ends = np.linspace(0, n, count + 1).astype(int)
        parts = [self.series.part(a, b) for a, b in pairwise(ends) if b > a]
        logs = [Pool(p.latency_ns, p.gap_ns, p.pictures, [metric]).logs()[0] for p in parts]
        return float(np.ptp(logs))


@dataclass(frozen=True, slots=True)
class _Side:
    """All runs of one thing; its value is the geometric mean of theirs."""

    runs: list[_Run]
    metrics: Sequence[Metric]

    def logs(self) -> NDArray[np.float64]:
        mean: NDArray[np.float64] = np.mean([run.logs for run in self.runs], axis=0)
        return mean

    def draws(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """``(count, metrics)``: of the runs some are drawn, and of each its queries."""
        drawn = np.array([list(run.draws(count, rng)) for run in self.runs])
        chosen = rng.integers(len(self.runs), size=(count, len(self.runs)))
        mean: NDArray[np.float64] = drawn[chosen, np.arange(count)[:, None]].mean(axis=1)
        return mean

    def wander(self) -> NDArray[np.float64]:
        """What few runs show themselves: their range, or twice that of a run's parts."""
        within = np.max([run.wander() for run in self.runs], axis=0)
        wander: NDArray[np.float64] = np.maximum(self.range(), _WIDER * within)
        return wander

    def range(self) -> NDArray[np.float64]:
        """Largest difference between two runs."""
        largest: NDArray[np.float64] = np.ptp([run.logs for run in self.runs], axis=0)
        return largest

    def variance(self) -> NDArray[np.float64]:
        """Between the runs; there are at least two."""
        between: NDArray[np.float64] = np.var([run.logs for run in self.runs], axis=0, ddof=1)
        return between

    def quoted(self, index: int) -> float | None:
        """A metric's value, if there are enough queries to quote it."""
        least = min(len(run.series) for run in self.runs)
        return float(np.exp(self.logs()[index])) if least >= self.metrics[index].least else None

    def untold(self, metric: Metric) -> str | None:
        """Why this side says nothing of a metric."""
        least = min(len(run.series) for run in self.runs)
        if least < metric.least:
            return f"{metric.name} takes {metric.least} queries; there are {least}"
        if len(self.runs) == 1 and self.runs[0].stretches < _LEAST_STRETCHES:
            return (
                f"neighbouring queries are so alike that {least} of them are worth "
                f"{self.runs[0].stretches:.0f}; run longer"
            )
        return None


def assumed_floor(base: int, new: int) -> float:
    """The least noise floor of so many runs, where they are too few to tell it, as a logarithm."""
    return _USUAL * SPREAD * math.sqrt(1 / base + 1 / new)


def _floor(was: _Side, now: _Side) -> NDArray[np.float64]:
    """By how much the same thing would differ from itself, measured as these two were."""
    many = [side for side in (was, now) if len(side.runs) >= RUNS_TELL]
    if not many:
        assumed = np.full(len(was.metrics), assumed_floor(len(was.runs), len(now.runs)))
        return np.max([assumed, was.wander(), now.wander()], axis=0)  # type: ignore[no-any-return]
    freedom = sum(len(side.runs) - 1 for side in many)
    pooled = sum(
        ((len(side.runs) - 1) * side.variance() for side in many), np.zeros(len(was.metrics))
    )
    student = _STUDENT[min(freedom, len(_STUDENT) + RUNS_TELL - 2) - RUNS_TELL + 1]
    apart = 1 / len(was.runs) + 1 / len(now.runs)
    floor = np.maximum(student * np.sqrt(pooled / freedom * apart), LEAST_FLOOR)
    few = [side.range() for side in (was, now) if len(side.runs) < RUNS_TELL]
    return np.max([floor, *few], axis=0)  # type: ignore[no-any-return]


def _stretch(series: Series) -> float:
    """Mean length of the stretches to draw: the longer one that all queries, or the slow ones alone, need."""
    logs = np.log(series.latency_ns)
    slow = (series.latency_ns > np.quantile(series.latency_ns, 0.9)).astype(np.float64)
    return max(block_length(logs), block_length(slow))
