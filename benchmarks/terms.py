"""When a run starts to count, when it may end, and the samples it keeps meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.plan import Plan
from edgevision.clock import Row, StageRing, now_ns

__all__ = ["KeptStages", "Plan", "StopSign", "Terms"]

_CHUNK = 4096
_TELL_EVERY_NS = 500_000_000


class StopSign(Protocol):
    """What asks a run to end early: `edgevision.signals.Stop`, or anything with its ``number``."""

    @property
    def number(self) -> int: ...


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
        self._begins = [np.zeros(_CHUNK, np.int64)]
        self._tell = tell
        self._tell_at = 0
        self.last_ns = 0

    def add(self, row: Row, began_ns: int | None = None) -> None:
        """Keeps a complete query; without ``began_ns`` (monotonic) it began so long ago as it took."""
        self.last_ns = now_ns()
        place = self.count % _CHUNK
        if self.count and not place:
            self._chunks.append(StageRing(_CHUNK))
            self._begins.append(np.zeros(_CHUNK, np.int64))
        self._chunks[-1].add(row)
        self._begins[-1][place] = self.last_ns - row[-1] if began_ns is None else began_ns
        self.count += 1
        if self._tell is not None and self.last_ns >= self._tell_at:
            self._tell_at = self.last_ns + _TELL_EVERY_NS
            self._tell()

    def stages_ns(self) -> NDArray[np.int64]:
        return np.concatenate([chunk.stages_ns() for chunk in self._chunks])

    def total_ns(self) -> NDArray[np.int64]:
        return np.concatenate([chunk.total_ns() for chunk in self._chunks])

    def begins_ns(self) -> NDArray[np.int64]:
        """When each query began, monotonic: int64 ``(count,)``, a copy."""
        begins: NDArray[np.int64] = np.concatenate(self._begins)[: self.count]
        return begins

    def ends_ns(self) -> NDArray[np.int64]:
        """When each query was complete, monotonic: int64 ``(count,)``, a copy."""
        return self.begins_ns() + self.total_ns()


class Terms:
    """Asked before each query whether it may begin; knows which of them count.

    The warm-up is over when so many queries are complete. Those that were begun until then are not
    counted, complete or not: with several slots some of them still make their buffers. The counted
    queries end when the plan is met; then so many more are begun for cool-down, so that the last
    ones that count have as much company as those before them.

    While a source is opened again, time stands still: that is neither a query's time nor the run's.

    Args:
        plan: What is asked.
        kept: Where complete queries are.
        stop: Ends the run early.
        cooldown: Queries that are begun after those that count.

    Attributes:
        kept: Where complete queries are.
        skipped: How many of the first rows in ``kept`` are warm-up.
        met: The plan's terms were met, so the run is over but for the cool-down.
        hopeless: Why it makes no sense to go on; None while it does.
    """

    def __init__(self, plan: Plan, kept: KeptStages, stop: StopSign, cooldown: int = 0) -> None:
        self._plan, self.kept, self._stop, self._cooldown = plan, kept, stop, cooldown
        self._least_ns = int(plan.duration_s * 1e9)
        self._begun = self._end = self._origin = 0
        self._pauses: list[tuple[int, int]] = []  # begin, length; since the warm-up
        self._paused_ns = self._pause_began = 0
        self.warm = self.met = False
        self.skipped = 0
        self.hopeless: str | None = None

    @property
    def over(self) -> bool:
        """No more queries: the terms are met, or somebody asked for the end."""
        cooled = self.met and self._begun >= self._end + self._cooldown
        return cooled or self._stop.number != 0 or self.hopeless is not None

    @property
    def counted(self) -> int:
        """Complete queries that count."""
        if not self.warm:
            return 0
        complete = min(self.kept.count, self._end) if self.met else self.kept.count
        return max(0, complete - self.skipped)

    @property
    def ran_ns(self) -> int:
        """From the first counted query's begin to the last one's completion, pauses left out."""
        if not self.counted:
            return 0
        last = int(self.kept.ends_ns()[self.skipped + self.counted - 1])
        paused = sum(length for begin, length in self._pauses if begin < last)
        return max(0, last - self._origin - paused)

    def may_begin(self, due_ns: int | None = None) -> bool:
        """Whether one more query may begin: now, or at the time at which it is due, monotonic."""
        now = now_ns() if due_ns is None else due_ns
        if not self.warm and self.kept.count >= self._plan.warmup:
            self.warm, self.skipped, self._origin = True, self._begun, now
        if self.warm and not self.met and self._begun - self.skipped >= self._plan.min_queries:
            self.met = now - self._origin - self._paused_ns >= self._least_ns
            self._end = self._begun
        return not self.over

    def begun(self) -> None:
        """One more query was begun."""
        self._begun += 1

    def pause(self) -> None:
        """Time stands still; no query is under way, but for one of several frames in the midst of them."""
        self._pause_began = now_ns()

    def resume(self) -> int:
        """Time goes on; returns how long it stood still, nanoseconds, 0 if it did not."""
        if not self._pause_began:
            return 0
        stood = now_ns() - self._pause_began
        if self.warm:
            self._pauses.append((self._pause_began, stood))
            self._paused_ns += stood
        self._pause_began = 0
        return stood

    def part_done(self) -> float:
        """How much of the run is behind, 0…1; the warm-up counts as nothing."""
        if not self.warm:
            return 0.0
        elapsed = now_ns() - self._origin - self._paused_ns
        by_time = elapsed / self._least_ns if self._least_ns else 1.0
        return max(0.0, min(1.0, by_time, self.counted / self._plan.min_queries))
