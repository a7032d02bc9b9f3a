"""``multi-stream``: a query is several frames, as of several cameras at once; the next when all are done."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgevision.benchmarks.scenarios.driving import Call, drive
from edgevision.benchmarks.scenarios.feed import Feed
from edgevision.benchmarks.scenarios.measurement import Measurement
from edgevision.benchmarks.scenarios.single_stream import judged
from edgevision.benchmarks.terms import KeptStages, Terms
from edgevision.clock import STAGES, Row, StageRing, now_ns
from edgevision.frame import Frame

__all__ = ["multi_stream"]


def multi_stream(call: Call) -> Measurement:
    """End to end: a query lasts from before its first frame is read until its last result is handed over.

    Its stages are the sums over its frames; with frames in flight together they exceed the whole.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    samples = call.plan.samples_per_query or 1

    def make(terms: Terms) -> tuple[Feed, StageRing]:
        query = _Query(terms.kept, samples)
        return _QueryFeed(terms, query), query

    return judged(call, replace(drive(call, make), samples_per_query=samples))


class _Query(StageRing):
    """Adds up the frames of a query; the complete query is what is kept.

    Attributes:
        began_ns: When the query began, monotonic; moved on by the time in which a source is opened again.
        given: Frames of it that were read.
        done: Frames of it whose results were handed over.
    """

    def __init__(self, kept: KeptStages, samples: int) -> None:
        super().__init__(1)
        self._kept, self.samples = kept, samples
        self._sum = np.zeros(len(STAGES) + 1, np.int64)
        self.began_ns = self.given = self.done = 0

    def begin(self) -> None:
        self.began_ns = now_ns()
        self.given = self.done = 0
        self._sum[:] = 0

    def add(self, row: Row) -> None:
        self._sum += row
        self.done += 1
        self.count += 1
        if self.done == self.samples:
            self._sum[-1] = now_ns() - self.began_ns
            self._kept.add(self._sum)


class _QueryFeed(Feed):
    """Gives the frames of one query, and those of the next when the results of all are there."""

    def __init__(self, terms: Terms, query: _Query) -> None:
        super().__init__(terms)
        self._query = query

    def ready(self) -> bool:
        """Whether a frame can be read now: the query has more of them, or is complete."""
        query = self._query
        return query.given < query.samples or query.done == query.samples

    def resumed(self, stood_ns: int) -> None:
        self._query.began_ns += stood_ns  # it may have ended in the middle of a query

    def read(self, into: Frame) -> bool:
        query = self._query
        fresh = query.given in (0, query.samples)
        if fresh and not self.terms.may_begin():
            return False
        if fresh:
            query.begin()
        if not self._read(into):
            query.given = 0 if fresh else query.given
            return False
        query.given += 1
        if fresh:
            self.terms.begun()
        return True
