"""Long series made short without hiding anything: the least, the middle and the greatest of each span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Envelope", "envelope_of", "thinned"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One value for each span of the x axis that has any; all float64 ``(spans,)``.

    Attributes:
        x: Middle of the span.
        low: Least value in it.
        middle: Median.
        high: Greatest.
    """

    x: NDArray[np.float64]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]


def envelope_of(x: NDArray[np.float64], y: NDArray[np.float64], spans: int) -> Envelope:
    """Splits the x axis in spans of equal length.

    Args:
        x: float64 ``(n,)``, n ≥ 1, in any order.
        y: float64 ``(n,)``, without NaN.
        spans: At most so many.
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    edges = np.linspace(x[0], x[-1], spans + 1)
    starts = np.unique(np.searchsorted(x, edges[:-1]))
    pieces = np.split(y, starts[1:])
    middles = [(piece[0] + piece[-1]) / 2 for piece in np.split(x, starts[1:])]
    return Envelope(
        np.array(middles),
        np.array([piece.min() for piece in pieces]),
        np.array([np.median(piece) for piece in pieces]),
        np.array([piece.max() for piece in pieces]),
    )


def thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], points: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A line of at most about so many points that reaches the same extremes; NaN stay gaps.

    Of each span the least and the greatest value are kept, in the order in which they came.
    """
    if len(x) <= points:
        return x, y
    kept = {0, len(x) - 1}
    for piece in np.array_split(np.arange(len(x)), max(1, points // 2)):
        known = piece[~np.isnan(y[piece])]
        if len(known):
            kept |= {int(known[np.argmin(y[known])]), int(known[np.argmax(y[known])])}
        else:
            kept.add(int(piece[0]))
    order = sorted(kept)
    return x[order], y[order]
