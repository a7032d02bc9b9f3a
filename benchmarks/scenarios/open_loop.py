"""An open loop: queries come when they are due, whether or not the ones before are done.

A query's time counts from when it was *due*, not from when there was room for it, so a machine that falls
behind cannot hide it (coordinated omission). The pipeline's stamps are put right accordingly: what it waited
for a query that was not due yet belongs to nobody; what the query waited for the pipeline is `queue`.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.terms import KeptStages
from edgevision.clock import STAGES, Row, StageRing, now_ns

__all__ = ["DueRing"]

_READ, _QUEUE, _TOTAL = STAGES.index("read"), STAGES.index("queue"), len(STAGES)


class DueRing(StageRing):
    """What the pipeline stamps into; passes each query on, counted from when it was due.

    Args:
        kept: Gets the corrected rows.
    """

    def __init__(self, kept: KeptStages) -> None:
        super().__init__(1)
        self._kept = kept
        self._waiting: deque[tuple[int, int, int, int]] = deque()
        self._row = np.zeros(_TOTAL + 1, np.int64)

    def began(self, due_ns: int, asked_ns: int, outside_ns: int, queue_ns: int) -> None:
        """One more query was read; called in the order in which the pipeline stamps them.

        Args:
            due_ns: When it was due, monotonic.
            asked_ns: When the pipeline asked for it: where its stamps begin, or a little later.
            outside_ns: Time within the stamp `read` that was no reading.
            queue_ns: How long the query waited to be read.
        """
        self._waiting.append((due_ns, asked_ns, outside_ns, queue_ns))

    def add(self, row: Row) -> None:
        done = now_ns()
        due, asked, outside, queue = self._waiting.popleft()
        self._row[:] = row
        self._row[_TOTAL] += asked - due
        # On a busy machine this thread may be held up between the begin of its stamps and `asked`. That is in the
        # stamp `read`, and what of it lies behind `due` in `queue` too: nothing is complete later than now.
        twice = max(0, int(self._row[_TOTAL]) - (done - due))
        self._row[_TOTAL] -= twice
        self._row[_READ] -= outside + twice
        self._row[_QUEUE] += queue
        self.count += 1
        self.passed_on(self._row, due)

    def passed_on(self, row: NDArray[np.int64], due_ns: int) -> None:
        """A query is complete, its row corrected."""
        self._kept.add(row, due_ns)
