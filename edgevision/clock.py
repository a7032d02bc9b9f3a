"""One clock: monotonic nanoseconds, and the ring where a frame's way through the pipeline is stamped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["STAGES", "Row", "StageRing", "now_ns"]

#: The boundaries of a frame's way, in order. A stamp is the time at which that stage *ended*.
STAGES = ("read", "queue", "load", "h2d", "compute", "d2h", "decode", "sink")

now_ns = time.monotonic_ns

#: A frame's durations: one number a stage, and the end-to-end time; nanoseconds.
Row: TypeAlias = Sequence[int] | NDArray[np.int64]


class StageRing:
    """Durations of the last ``capacity`` frames, in nanoseconds, one column a stage.

    The array is allocated once. Row ``i % capacity`` belongs to frame ``i``; older rows are overwritten.
    The column after the stages holds the end-to-end time: from the start of the read to the end of the
    sink, waiting included. It is therefore at least the sum of the stages.

    Attributes:
        count: Frames stamped since the start, those overwritten included.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._ns = np.zeros((capacity, len(STAGES) + 1), np.int64)
        self.count = 0

    def add(self, row: Row) -> None:
        """Copies one frame's durations (``len(STAGES) + 1`` values, ns) into the ring."""
        self._ns[self.count % len(self._ns)] = row
        self.count += 1

    def stages_ns(self) -> NDArray[np.int64]:
        """Durations, oldest first: int64 ``(min(count, capacity), len(STAGES))``, a copy."""
        return self._ordered()[:, :-1]

    def total_ns(self) -> NDArray[np.int64]:
        """End-to-end times, oldest first: int64 ``(min(count, capacity),)``, a copy."""
        return self._ordered()[:, -1]

    def _ordered(self) -> NDArray[np.int64]:
        size = len(self._ns)
        if self.count <= size:
            return np.array(self._ns[: self.count])
        start = self.count % size
        ordered: NDArray[np.int64] = np.concatenate([self._ns[start:], self._ns[:start]])
        return ordered
