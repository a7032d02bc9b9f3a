"""When a run starts to count, when it may end, and the samples it keeps meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgevision.clock import StageRing, now_ns
from edgevision.errors import UsageError
from edgevision.percentiles import LEAST_SAMPLES

__all__ = ["KeptStages", "Plan", "StopSign", "Terms"]

_CHUNK = 4096
_TELL_EVERY_NS = 500_000_000


class StopSign(Protocol):
    """What asks a run to end early: `edgevision.signals.Stop`, or anything with its ``number``."""

    @property
    def number(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a run.

    Attributes:
        scenario: How work is sent; ``single-stream`` sends the next query when one is done.
        inference_only: Time only the engine, on one frame that was loaded before.
        duration_s: The counted queries together last at least so long, seconds.
        min_queries: And there are at least so many of them.
        warmup: Queries that come first and are not counted.
        percentile: The one that is this scenario's result: MLPerf's for single-stream is p90.
    """

    scenario: str = "single-stream"
    inference_only: bool = False
    duration_s: float = 10.0
    min_queries: int = 100
    warmup: int = 10
    percentile: float = 0.9

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s >= 0):
            raise UsageError(
                "a run cannot last that long",
                received=f"--duration {self.duration_s}",
                expected="seconds: a finite number, 0 or more",
            )
        if self.min_queries < 1 or self.warmup < 0 or self.percentile not in LEAST_SAMPLES:
            raise UsageError(f"this plan cannot be run: {self}", expected="at least one query")


class KeptStages(StageRing):
    """A stage ring that loses nothing: it grows by chunks, so that no old sample is ever moved.

    `add` runs after a query's last stamp and, with one slot, before the next one's first: what
    happens in it is in no query's time. So this is also where progress is told.

    Args:
        tell: Called about twice a second, between queries.

    Attributes:
        last_ns: When the latest query was complete, monotonic; 0 before the first.
    """

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        super().__init__(1)
        self._chunks = [StageRing(_CHUNK)]
        self._tell = tell
        self._tell_at = 0
        self.last_ns = 0

    def add(self, row: NDArray[np.int64]) -> None:
        self.last_ns = now_ns()
        chunk = self._chunks[-1]
        if chunk.count == _CHUNK:
            chunk = StageRing(_CHUNK)
            self._chunks.append(chunk)
        chunk.add(row)
        self.count += 1
        if self._tell is not None and self.last_ns >= self._tell_at:
            self._tell_at = self.last_ns + _TELL_EVERY_NS
            self._tell()

    def stages_ns(self) -> NDArray[np.int64]:
        return np.concatenate([chunk.stages_ns() for chunk in self._chunks])

    def total_ns(self) -> NDArray[np.int64]:
        return np.concatenate([chunk.total_ns() for chunk in self._chunks])


class Terms:
    """Asked before each query whether it may begin; knows which of them count.

    The warm-up is over when so many queries are complete. Those that were begun until then are not
    counted, complete or not: with several slots some of them still make their buffers.

    Time is counted in stretches, each from the first query's begin to the last one's completion.
    Between two stretches a source is opened again, which is neither a query's time nor the run's.

    Attributes:
        kept: Where complete queries are.
        skipped: How many of the first rows in ``kept`` are warm-up.
        met: The plan's terms were met, so the run is over.
        ran_ns: Length of the closed stretches, nanoseconds.
    """

    def __init__(self, plan: Plan, kept: KeptStages, stop: StopSign) -> None:
        self._plan, self.kept, self._stop = plan, kept, stop
        self._least_ns = int(plan.duration_s * 1e9)
        self._begun = 0
        self._warm = False
        self._stretch = 0
        self.skipped = self.ran_ns = 0
        self.met = False

    @property
    def over(self) -> bool:
        """No more queries: the terms are met, or somebody asked for the end."""
        return self.met or self._stop.number != 0

    @property
    def counted(self) -> int:
        """Complete queries that count."""
        return max(0, self.kept.count - self.skipped) if self._warm else 0

    def may_begin(self) -> bool:
        """Whether one more query may begin now."""
        now = now_ns()
        if not self._stretch:
            self._stretch = now
        if not self._warm and self.kept.count >= self._plan.warmup:
            self._warm, self.skipped, self._stretch = True, self._begun, now
        if self._warm and self.counted >= self._plan.min_queries:
            self.met = self.ran_ns + now - self._stretch >= self._least_ns
        return not self.over

    def begun(self) -> None:
        """One more query was begun."""
        self._begun += 1

    def pause(self) -> None:
        """Closes the stretch, all of its queries being complete; `may_begin` opens the next."""
        if self._warm:
            self.ran_ns += max(0, self.kept.last_ns - self._stretch)
        self._stretch = 0

    def part_done(self) -> float:
        """How much of the run is behind, 0…1; the warm-up counts as nothing."""
        if not self._warm:
            return 0.0
        elapsed = self.ran_ns + (now_ns() - self._stretch if self._stretch else 0)
        by_time = elapsed / self._least_ns if self._least_ns else 1.0
        return min(1.0, by_time, self.counted / self._plan.min_queries)
