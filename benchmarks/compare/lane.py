"""One of two models that take turns: its source stays open, and it runs so many queries when it is asked to."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import Slot
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.driving import first_frame, ring_of, timed
from edgevision.benchmarks.scenarios.measurement import MakeSource
from edgevision.benchmarks.terms import KeptStages, StopSign
from edgevision.clock import STAGES, now_ns
from edgevision.errors import DataError
from edgevision.frame import Frame
from edgevision.model import Model
from edgevision.sources import Source, SourceInfo

__all__ = ["Block", "Lane"]

_COMPUTE = STAGES.index("compute")


@dataclass(frozen=True, slots=True)
class Block:
    """Some queries in a row.

    Attributes:
        begin: Row of the first one that counts.
        end: Row behind the last.
        ran_ns: From the first one's begin to the last one's completion, without opening the source again.
    """

    begin: int
    end: int
    ran_ns: int


class Lane:
    """Runs blocks; entered and left by ``with``, which opens and closes the source.

    Attributes:
        info: The source.
        passes: How often it was opened.
        problems: What it had to say.
        blocks: Those that are complete.
        first_ns: The first inference, nanoseconds.
    """

    def __init__(self, model: Model, make_source: MakeSource, plan: Plan) -> None:
        self._model, self._make_source, self._plan = model, make_source, plan
        self._kept = KeptStages()
        self._feed = _Feed()
        self._source: Source | None = None
        self._slot: Slot | None = None
        self._warm = 0
        self.blocks: list[Block] = []
        self.problems: list[str] = []
        self.passes = self.counted = self.ran_ns = self.first_ns = 0
        self.info: SourceInfo | None = None

    def __enter__(self) -> Lane:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close_source()

    @property
    def slots(self) -> int:
        """Queries in flight at a time."""
        return 1 if self._plan.inference_only else self._model.session.slots

    @property
    def samples_per_query(self) -> int:
        """Pictures in a query."""
        return self._slot.rows if self._slot is not None else 1

    @property
    def query_ns(self) -> float:
        """What a query takes, by the median of the latter half of the warm-up; 0 if there was none."""
        warm = self.warmup_ns()
        return float(np.median(warm[len(warm) // 2 :]) / self.slots) if len(warm) else 0.0

    def warm_up(self, stop: StopSign) -> None:
        """The first inference, and the plan's warm-up; at least two queries, to learn how long one takes."""
        frame, self.info = first_frame(self._make_source)
        if frame is None:
            raise DataError("the source gave no frame", received=self.info.uri)
        if self._plan.inference_only:
            self._slot = self._model.pipeline.loaded_slot(frame.image)
            for row in range(1, self._slot.rows):
                self._slot.load(frame.image, row=row)
            self.first_ns = timed(self._query)
        else:
            self.first_ns = timed(lambda: self._model(frame.image))
        self._run(max(2, self._plan.warmup), stop)
        self._warm = self._kept.count

    def block(self, queries: int, lead_in: int, stop: StopSign) -> None:
        """Runs a block; one that a signal cut short is not kept."""
        self._feed.skip = lead_in
        before = self._kept.count + lead_in
        ran_ns = self._run(lead_in + queries, stop)
        if self._kept.count == before + queries:
            self.blocks.append(Block(before, self._kept.count, ran_ns))
            self.counted += queries
            self.ran_ns += ran_ns

    def warmup_ns(self) -> NDArray[np.int64]:
        """int64 ``(warm-up queries,)``."""
        return self._kept.total_ns()[: self._warm or self._kept.count]

    def counted_queries(
        self, blocks: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], int]:
        """Of the first so many blocks: stages ``(n, len(STAGES))``, end to end ``(n,)``, ends ``(n,)``, time run."""
        kept, rows = self.blocks[:blocks], self._kept
        own = np.concatenate([np.arange(0), *(np.arange(b.begin, b.end) for b in kept)]).astype(int)
        ran_ns = sum(block.ran_ns for block in kept)
        return rows.stages_ns()[own], rows.total_ns()[own], rows.ends_ns()[own], ran_ns

    def _run(self, queries: int, stop: StopSign) -> int:
        """So many queries, over the source's end if need be; returns the time from the first counted one on."""
        if self._slot is not None:
            return self._run_engine(queries, stop)
        feed, ran_ns = self._feed, 0
        feed.left = queries
        with ring_of(self._model, self._kept):
            while feed.left and not stop.number:
                feed.source, feed.began_ns, before = self._opened(), 0, feed.left
                deque(self._model.pipeline.stream(feed), maxlen=0)
                ran_ns += max(0, self._kept.last_ns - feed.began_ns) if feed.began_ns else 0
                if feed.left:  # the source has ended; opening it again is in no query's time
                    self._close_source()
                    if feed.left == before and feed.fresh:
                        raise DataError("the source gave no frame when it was opened again")
        return ran_ns

    def _run_engine(self, queries: int, stop: StopSign) -> int:
        """The engine alone: submit until wait returns."""
        row = np.zeros(len(STAGES) + 1, np.int64)
        skip, began_ns = self._feed.skip, 0
        with self._model.session.attach():
            for number in range(queries):
                if stop.number:
                    break
                begin = now_ns()
                began_ns = begin if number == skip else began_ns
                self._query()
                row[_COMPUTE] = row[-1] = now_ns() - begin
                self._kept.add(row)
        return max(0, self._kept.last_ns - began_ns) if began_ns else 0

    def _query(self) -> None:
        assert self._slot is not None
        self._slot.submit()
        self._slot.wait()

    def _opened(self) -> Source:
        self._feed.fresh = self._source is None
        if self._source is None:
            self._source = self._make_source()
            self.info = self._source.open()
            self.passes += 1
        return self._source

    def _close_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self.problems = list(dict.fromkeys([*self.problems, *source.problems]))
            source.close()


class _Feed:
    """The source that the pipeline sees: the real one, which stays open, for so many frames.

    Attributes:
        left: Frames that it still gives.
        skip: Of these, how many do not count.
        began_ns: When the first one that counts was begun; 0 before that.
        fresh: The source was opened for this stream.
    """

    live = False

    def __init__(self) -> None:
        self.source: Source | None = None
        self.problems: list[str] = []
        self.left = self.skip = self.began_ns = 0
        self.fresh = False

    def read(self, into: Frame) -> bool:
        begin = now_ns()
        if not self.left or self.source is None or not self.source.read(into):
            return False
        self.left -= 1
        if self.skip:
            self.skip -= 1
        elif not self.began_ns:
            self.began_ns = begin
        return True

    def cancel(self) -> None:
        if self.source is not None:
            self.source.cancel()

    def close(self) -> None:
        """The lane closes the source."""
