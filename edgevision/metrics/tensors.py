"""How far a tensor is from the one it should be: cosine and signal-to-quantization-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TensorAgreement"]

#: Elements that are converted to float64 at a time: the sums need the precision, a copy of the
#: whole does not.
_BLOCK = 1 << 16


class TensorAgreement:
    """Adds up over any number of tensors, as if they were one long vector.

    Positions at which either tensor is not finite are left out and counted in ``skipped``, pairs
    of tensors of different shape in ``sizes_differ``.

    Attributes:
        count: Positions compared.
        skipped: Positions left out.
        sizes_differ: Pairs left out: an output's size may follow from what is in the picture.
    """

    def __init__(self) -> None:
        self.count = 0
        self.skipped = 0
        self.sizes_differ = 0
        self._dot = self._signal = self._power = self._noise = 0.0

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Adds two tensors of any real dtype."""
        if reference.shape != candidate.shape:
            self.sizes_differ += 1
            return
        for ours, theirs in _blocks(reference, candidate):
            fine = np.isfinite(ours) & np.isfinite(theirs)
            kept = int(np.count_nonzero(fine))
            self.count += kept
            self.skipped += len(ours) - kept
            if kept < len(ours):
                ours, theirs = ours[fine], theirs[fine]
            self._add(ours, theirs)

    @property
    def cosine(self) -> float:
        """Cosine of the angle, −1…1; 1 when both are all zeros, 0 when only one is."""
        if self._signal == 0 or self._power == 0:
            return 1.0 if self._signal == self._power else 0.0
        value = self._dot / (math.sqrt(self._signal) * math.sqrt(self._power))
        return max(-1.0, min(1.0, value))

    @property
    def sqnr_db(self) -> float:
        """``10 · log10(Σ reference² / Σ (reference − candidate)²)``.

        ∞ when the tensors are equal, −∞ for noise on zeros.
        """
        if self._noise == 0:
            return math.inf
        if self._signal == 0:
            return -math.inf
        return 10 * (math.log10(self._signal) - math.log10(self._noise))

    def to_dict(self) -> dict[str, Any]:
        """``cosine`` and ``sqnr_db``, and what was left out, if anything was.

        The first is None when nothing was compared, the second also when it is infinite, which JSON
        cannot say.
        """
        sqnr = self.sqnr_db
        left_out = {"skipped": self.skipped, "sizes_differ": self.sizes_differ}
        return {
            "cosine": self.cosine if self.count else None,
            "sqnr_db": sqnr if math.isfinite(sqnr) else None,
            **{what: count for what, count in left_out.items() if count},
        }

    def _add(self, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> None:
        self._dot += float(ours @ theirs)
        self._signal += float(ours @ ours)
        self._power += float(theirs @ theirs)
        noise = ours - theirs
        self._noise += float(noise @ noise)


def _blocks(
    a: NDArray[Any], b: NDArray[Any]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for start in range(0, flat_a.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        yield flat_a[part].astype(np.float64), flat_b[part].astype(np.float64)
