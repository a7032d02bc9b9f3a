"""The stationary bootstrap: resamples of a series whose neighbours resemble each other.

Latencies of consecutive queries do: a busy neighbour slows a hundred of them in a row. Drawn one by one, a hundred
such queries would count as a hundred witnesses, and the interval would come out far too narrow. So whole stretches
are drawn, of random length, geometric with a mean that the series itself tells.

Politis & Romano, "The Stationary Bootstrap", JASA 89 (1994). The mean length: Politis & White, "Automatic
Block-Length Selection for the Dependent Bootstrap", Econometric Reviews 23 (2004), as corrected by Patton, Politis &
White, Econometric Reviews 28 (2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_length", "resamples"]


def block_length(series: NDArray[np.float64]) -> float:
    """Mean length of the stretches to draw for this series, 1 (no dependence) … a third of it.

    Args:
        series: ``(n,)``.
    """
    n = len(series)
    longest = min(3 * math.sqrt(n), n / 3)
    if n < 9 or not np.ptp(series):
        return 1.0
    covariances = _autocovariances(series)
    lags = _significant_lags(covariances / covariances[0], n)
    window = covariances[: lags + 1] * _flat_top(np.arange(lags + 1) / max(1, lags))
    spectrum = float(window[0] + 2 * window[1:].sum())
    slope = float(2 * (np.arange(lags + 1) * window).sum())
    if spectrum <= 0:  # it alternates: stretches would only widen the interval
        return 1.0
    return float(min(max((slope**2 / spectrum**2 * n) ** (1 / 3), 1.0), longest))


def resamples(
    n: int, length: float, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """How often each of ``n`` queries was drawn, ``count`` times over.

    The series is a circle, so that its ends are drawn as often as its middle.

    Args:
        n: Length of the series.
        length: Mean length of a stretch.
        count: How many resamples.
        rng: Where chance comes from.

    Yields:
        int64 ``(n,)``, sum ``n``.
    """
    for _ in range(count):
        lengths = _stretches(n, length, rng)
        begins = rng.integers(n, size=len(lengths))
        ends = begins + lengths
        steps = np.bincount(begins, minlength=n + 1)
        steps -= np.bincount(np.minimum(ends, n), minlength=n + 1)
        around = ends[ends > n] - n
        steps[0] += len(around)
        steps -= np.bincount(around, minlength=n + 1)
        yield np.cumsum(steps[:n])


def _stretches(n: int, length: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Geometric lengths that add up to ``n``, the last one cut."""
    lengths = rng.geometric(1 / length, size=int(n / length * 1.2) + 10)
    while lengths.sum() < n:
        lengths = np.concatenate([lengths, rng.geometric(1 / length, size=len(lengths))])
    ends = np.cumsum(lengths)
    last = int(np.searchsorted(ends, n))
    lengths = lengths[: last + 1]
    lengths[-1] -= ends[last] - n
    return lengths


def _autocovariances(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of all lags from 0 to n − 1, each divided by n."""
    n = len(series)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(series - series.mean(), size)
    covariances: NDArray[np.float64] = np.fft.irfft(np.abs(spectrum) ** 2, size)[:n] / n
    return covariances


def _significant_lags(correlations: NDArray[np.float64], n: int) -> int:
    """Twice the lag behind which a run of correlations is no larger than chance makes them."""
    run = max(5, int(math.sqrt(math.log10(n))))
    most = min(math.ceil(math.sqrt(n)) + run, n - 1)
    small = np.abs(correlations[1 : most + 1]) < 2 * math.sqrt(math.log10(n) / n)
    for lag in range(len(small) - run + 1):
        if small[lag : lag + run].all():
            return min(2 * max(lag, 1), most)
    return most


def _flat_top(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """The window of Politis & Romano (1995): 1 up to one half, then down to 0 at 1."""
    window: NDArray[np.float64] = np.clip(2 * (1 - position), 0, 1)
    return window
