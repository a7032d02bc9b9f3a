"""How busy the measured process keeps the machine: it, its threads, and the processes it started."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine

__all__ = ["SERIES", "Sensor", "family"]

SERIES = ("process_cpu_percent",)
#: Looking for children costs a read for each thread; they come and go seldom.
_LOOK_EVERY_S = 1.0
#: Over a shorter time the quotient is noise.
_LEAST_S = 0.01


class Sensor(BaseSensor):
    """``process_cpu_percent`` in the unit of ``cpu_percent``: 100 is all cores busy.

    The processor time is that of the kernel's clock for a process, exact to the nanosecond; the ticks of
    ``/proc/PID/stat`` would be a tenth of an interval.
    """

    units = dict.fromkeys(SERIES, "% of all cores")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._cores = os.cpu_count() or 1
        self._used: dict[int, float] = {}
        try:
            self._used[machine.pid] = _used_s(machine.pid)
        except OSError as error:
            raise AbsentError(
                f"the process {machine.pid} tells no time: {error.strerror}"
            ) from error
        self._read_at = self._looked_at = time.monotonic()
        self._look()

    def read(self) -> dict[str, float | None]:
        now, spent = time.monotonic(), 0.0
        if now - self._read_at < _LEAST_S:
            return {}
        for pid, before in self._used.items():
            self._used[pid] = max(before, _used_s(pid, before))
            spent += self._used[pid] - before
        passed, self._read_at = now - self._read_at, now
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return {"process_cpu_percent": 100 * spent / passed / self._cores}

    def _look(self) -> None:
        """Newcomers count from now on: what they used before belongs to no interval. Who has ended is forgotten."""
        self._used = {
            pid: self._used[pid] if pid in self._used else _used_s(pid, 0.0)
            for pid in family(self._machine)
        }


def family(machine: Machine) -> list[int]:
    """The measured process and what it and its children started, without the sampler."""
    found, waiting = [], [machine.pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in _tasks(machine.root / f"proc/{pid}/task"):
            with suppress(OSError):  # it has ended meanwhile
                waiting += [int(child) for child in (task / "children").read_text().split()]
        waiting = [pid for pid in waiting if pid != machine.own and pid not in found]
    return found


def _tasks(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _used_s(pid: int, default: float | None = None) -> float:
    """Processor time of a process, all its threads, seconds.

    The number of the clock is the kernel's (include/linux/posix-timers.h, CPUCLOCK_SCHED), as
    clock_getcpuclockid(3) makes it.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        if default is None:
            raise
        return default
