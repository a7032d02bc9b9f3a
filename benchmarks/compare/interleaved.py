"""Two things whose short blocks took turns in one run: pairs of neighbours, which share the noise.

In each pair chance decided which side went first. So if both sides are the same thing, swapping their names in any pair
changes nothing, whatever the noise does: it may drift, burst or jump. That is the noise floor here: what comes out when
names are swapped by chance (a randomization test, Fisher 1935; Edgington & Onghena, "Randomization Tests", 2007). It is
so high that only one swapped comparison in a hundred has any metric beyond it: who looks at six metrics would else see
a false alarm six times as often (Westfall & Young, "Resampling-Based Multiple Testing", 1993).

The median's change is the Hodges-Lehmann estimate of the pairs' log ratios with the interval of Wilcoxon's signed ranks
(Hodges & Lehmann, Ann. Math. Stat. 34, 1963; Hollander, Wolfe & Chicken, "Nonparametric Statistical Methods", 3.2-3.3),
which a few wild pairs do not move. The others are ratios of the pooled queries; their intervals come from the
stationary bootstrap of whole pairs. Why turns at all: Kalibera & Jones, "Rigorous Benchmarking in Reasonable Time",
ISMM 2013.

What turns cannot see is where chance put the two in memory: each is opened once, and two sessions of one and the same
file differ by up to about one percent as long as they live (NanoDet against itself on a quiet machine: 0.7 %, far
beyond its noise). So the floor is never below `LEAST_FLOOR` (Mytkowicz et al., "Producing Wrong Data Without Doing
Anything Obviously Wrong!", ASPLOS 2009).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.compare.bootstrap import block_length, resamples
from edgevision.benchmarks.compare.estimate import CONFIDENCE, LEAST_FLOOR, Estimate, interval
from edgevision.benchmarks.compare.metrics import Metric, Pool
from edgevision.benchmarks.compare.series import Series

__all__ = ["LEAST_PAIRS", "estimate_interleaved", "signed_rank_interval"]

#: From here on the normal approximation of the signed ranks is good to the second digit.
LEAST_PAIRS = 20
_DRAWS = 1000
_LEAST_DRAWS = 300
_MOST_WORK = 100_000_000
#: More pairs are averaged with their neighbours first: the estimate looks at all means of two.
_MOST_PAIRS = 1500
#: Quantile of the normal distribution at (1 + CONFIDENCE) / 2.
_NORMAL = 2.5758


def estimate_interleaved(
    base: Series, new: Series, block: int, metrics: Sequence[Metric], rng: np.random.Generator
) -> list[Estimate]:
    """One estimate for each metric.

    Args:
        base: Queries of all its blocks, in order.
        new: Likewise; its block ``i`` was run beside block ``i`` of the base.
        block: Queries in a block.
        metrics: What to estimate.
        rng: Where chance comes from.
    """
    pairs = min(len(base), len(new)) // block
    base, new = base.part(0, pairs * block), new.part(0, pairs * block)
    if pairs == 0:
        return [
            Estimate(metric, None, None, untold="there is no pair of blocks") for metric in metrics
        ]
    was, now = (Pool(s.latency_ns, s.gap_ns, s.pictures, metrics) for s in (base, new))
    values = was.values(), now.values()
    logs = _log_ratios(base, new, block)
    low, high = interval(_draws(was, now, pairs, block, block_length(logs), rng))
    floor, widened = _swapped(base, new, block, metrics, rng)
    change = np.log(values[1] / values[0])
    estimates = []
    for i, metric in enumerate(metrics):
        told = float(values[0][i]), float(values[1][i])
        untold = _untold(metric, pairs, block)
        if untold is not None:
            enough = pairs * block >= metric.least
            was_told, now_told = told if enough else (None, None)
            estimates.append(Estimate(metric, was_told, now_told, untold=untold))
        elif metric.percentile == 0.5:
            estimates.append(_median(metric, *told, logs, widened))
        else:
            ends = float(low[i]), float(high[i]), max(LEAST_FLOOR, float(floor[i]))
            estimates.append(Estimate(metric, *told, float(change[i]), *ends))
    return estimates


def signed_rank_interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Hodges-Lehmann estimate of the differences' centre, and the ends of its interval at `CONFIDENCE`.

    Args:
        differences: ``(n,)``, at least `LEAST_PAIRS`; symmetric around their centre.
    """
    n = len(differences)
    means = (differences[:, None] + differences[None, :])[np.triu_indices(n)] / 2
    means.sort()
    spread = _NORMAL * math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    skipped = max(0, math.floor(len(means) / 2 - spread))
    return float(np.median(means)), float(means[skipped]), float(means[-1 - skipped])


def _median(
    metric: Metric, base: float, new: float, logs: NDArray[np.float64], widened: float
) -> Estimate:
    change, low, high = signed_rank_interval(_thinned(logs))
    return Estimate(
        metric, base, new, change, low, high, max(LEAST_FLOOR, (high - low) / 2 * widened)
    )


def _log_ratios(base: Series, new: Series, block: int) -> NDArray[np.float64]:
    """Logarithm of the ratio of the blocks' medians, pair by pair."""
    was, now = (np.median(np.log(s.latency_ns).reshape(-1, block), axis=1) for s in (base, new))
    ratios: NDArray[np.float64] = now - was
    return ratios


def _thinned(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `_MOST_PAIRS`, means of neighbours: what was symmetric stays so."""
    together = math.ceil(len(logs) / _MOST_PAIRS)
    means: NDArray[np.float64] = (
        logs[: len(logs) // together * together].reshape(-1, together).mean(axis=1)
    )
    return means


def _draws(
    was: Pool, now: Pool, pairs: int, block: int, length: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """``(resamples, metrics)``: the change in pairs that were drawn together."""
    return np.array(
        [
            now.logs(counts) - was.logs(counts)
            for counts in (
                np.repeat(weights, block)
                for weights in resamples(pairs, length, _count(pairs * block), rng)
            )
        ]
    )


def _swapped(
    base: Series, new: Series, block: int, metrics: Sequence[Metric], rng: np.random.Generator
) -> tuple[NDArray[np.float64], float]:
    """The changes that any metric exceeds once in a hundred times if names mean nothing.

    Returns:
        One for each metric, and by how much wider than for one metric alone that is.
    """
    latency = np.concatenate([base.latency_ns, new.latency_ns])
    pool = Pool(latency, np.concatenate([base.gap_ns, new.gap_ns]), base.pictures, metrics)
    changes = []
    for _ in range(_count(len(base))):
        swapped = np.repeat(rng.integers(2, size=len(base) // block), block)
        sides = np.concatenate([swapped, 1 - swapped])
        changes.append(pool.logs(sides) - pool.logs(1 - sides))
    spread = np.std(changes, axis=0)
    scaled = np.abs(changes) / np.where(spread > 0, spread, np.inf)
    times = max(_NORMAL, float(np.quantile(scaled.max(axis=1), CONFIDENCE)))
    return times * spread, times / _NORMAL


def _count(queries: int) -> int:
    return int(min(_DRAWS, max(_LEAST_DRAWS, _MOST_WORK / queries)))


def _untold(metric: Metric, pairs: int, block: int) -> str | None:
    if pairs < LEAST_PAIRS:
        return f"it takes {LEAST_PAIRS} pairs of blocks; there are {pairs}"
    if pairs * block < metric.least:
        return f"{metric.name} takes {metric.least} queries; there are {pairs * block}"
    return None
