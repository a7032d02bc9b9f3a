"""When queries are due in an open loop, and waiting for that without being late."""

from __future__ import annotations

import time

import numpy as np

from edgevision.clock import now_ns

__all__ = ["Poisson", "wait_until"]

#: A sleep ends some 50 to 100 µs late on Linux; the last part is waited out awake.
_AWAKE_NS = 150_000
#: A sleep is no longer than this, so that a signal ends the run soon.
_LOOK_NS = 50_000_000
_CHUNK = 1024


class Poisson:
    """Arrivals that do not know of each other: gaps are exponential, the same for the same seed and rate.

    As in LoadGen's Server, the seed decides the gaps in units of the mean one.

    Args:
        rate: Mean arrivals a second.
        seed: Of the gaps.
    """

    def __init__(self, rate: float, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._mean_ns = 1e9 / rate
        self._due: list[int] = []
        self._last = 0.0

    def due_ns(self, number: int) -> int:
        """When an arrival is due, nanoseconds after the begin; numbers from 0, the first after one gap."""
        while number >= len(self._due):
            gaps = self._random.exponential(self._mean_ns, _CHUNK)
            times = self._last + np.cumsum(gaps)
            self._last = float(times[-1])
            self._due += times.astype(np.int64).tolist()
        return self._due[number]


def wait_until(due_ns: int) -> bool:
    """Waits for a moment of the monotonic clock, at the most a while; whether it has come."""
    left = due_ns - now_ns()
    if left > _AWAKE_NS:
        time.sleep(min(left - _AWAKE_NS, _LOOK_NS) / 1e9)
        if left > _LOOK_NS:
            return False
    while now_ns() < due_ns:
        pass
    return True
