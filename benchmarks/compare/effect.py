"""How large a difference is for whoever meets one query of each, beside how sure it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cliffs_delta", "delta_size", "shift"]

#: Romano et al., "Appropriate statistics for ordinal level data", FAIR 2006: below these |delta| it is called so.
_SIZES = ((0.147, "negligible"), (0.33, "small"), (0.474, "medium"))
#: `shift` looks at so many quantiles of each side: all pairs of all queries would be too many.
_QUANTILES = 501


def cliffs_delta(base: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Chance that a new query takes longer than one of the base, less the chance of the contrary: −1…1.

    Cliff, "Dominance statistics", Psychological Bulletin 114 (1993).

    Args:
        base: ``(n,)``.
        new: ``(m,)``.
    """
    ordered = np.sort(base)
    below = np.searchsorted(ordered, new, side="left").sum()
    above = (len(ordered) - np.searchsorted(ordered, new, side="right")).sum()
    return float((int(below) - int(above)) / (len(base) * len(new)))


def delta_size(delta: float) -> str:
    """``negligible``, ``small``, ``medium`` or ``large``."""
    return next((name for bound, name in _SIZES if abs(delta) < bound), "large")


def shift(base: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """By how much the new queries lie above those of the base, in their unit: the median of all differences.

    The two-sample estimate of Hodges & Lehmann (1963), between 501 quantiles of each side if there are more queries.
    """
    was, now = (_thinned(side) for side in (base, new))
    return float(np.median(now[:, None] - was[None, :]))


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(values) <= _QUANTILES:
        return values
    thin: NDArray[np.float64] = np.quantile(values, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    return thin
