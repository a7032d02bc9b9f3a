"""When the work on a stream reached which point, told by CUDA events: what the stages of a run took on the device."""

from __future__ import annotations

import time
from typing import Any

from edgevision.clock import now_ns
from edgevision.cuda.library import pycuda_driver

__all__ = ["Marks"]

#: Between two looks at an event, where a wait has an end.
_NAP_S = 0.0002


class Marks:
    """Events in a stream: the start, and the ends of copying in, computing and copying back.

    Args:
        stream: pycuda's stream.
        blocking: Sleep until the last one (``--hint throughput``); else the driver spins where there are cores
            to spare, which wakes sooner and keeps one busy.
    """

    def __init__(self, stream: Any, *, blocking: bool) -> None:
        cuda = pycuda_driver()
        kind = cuda.event_flags.BLOCKING_SYNC if blocking else cuda.event_flags.DEFAULT
        self._stream = stream
        self._events: list[Any] = [*(cuda.Event() for _ in range(3)), cuda.Event(kind)]

    def record(self, place: int) -> None:
        """Marks a place, 0…3, behind all that the stream was given so far."""
        self._events[place].record(self._stream)

    def wait(self, timeout_s: float | None) -> bool:
        """Waits until the last mark is reached; False if it was not, in that time.

        Raises:
            pycuda.driver.Error: What was under way failed.
        """
        last = self._events[-1]
        if timeout_s is None:
            last.synchronize()
            return True
        end = now_ns() + int(timeout_s * 1e9)
        while not last.query():
            if now_ns() >= end:
                return False
            time.sleep(_NAP_S)
        return True

    def durations_ns(self) -> tuple[int, int, int]:
        """Copying in, computing and copying back, nanoseconds; after `wait` only."""
        first, second, third, last = self._events
        return (
            int(second.time_since(first) * 1e6),
            int(third.time_since(second) * 1e6),
            int(last.time_since(third) * 1e6),
        )

    def close(self) -> None:
        """Frees the events; may be called twice."""
        self._events = []
        self._stream = None
