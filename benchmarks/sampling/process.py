"""The sampling process: reads all sensors at an interval and leaves a line for each time in a file.

It lives as long as its standard input is open, which is as long as the process that started it. It imports neither
numpy nor OpenCV. The first line says what is sampled (`edgevision.benchmarks.sampling.timeline` reads it); each other
one is ``[monotonic ns, wall clock − monotonic in ns or null, own processor seconds, own MB, [values]]``.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgevision.benchmarks.sampling.kernel_file import KernelFile
from edgevision.benchmarks.sampling.sensors import BaseSensor, Machine, open_sensors

__all__ = ["sample_until_told"]

#: A sensor may take a hundredth of one core: what costs more is read less often.
_PART = 100
#: The wall clock is read between two looks at the monotonic one; they may lie so far apart.
_SURE_NS = 1_000_000
_TRIES = 3
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def sample_until_told(arguments: str) -> None:
    """Runs in the child.

    Args:
        arguments: JSON: ``file`` (descriptor to write to), ``pid`` (the measured process), ``parent``,
            ``interval_s``, ``root``, ``most_samples`` (after so many the interval doubles, each time: a run that
            takes longer than planned must not fill the memory).
    """
    given = json.loads(arguments)
    _allow_many_files()
    machine = Machine(Path(given["root"]), given["pid"], os.getpid())
    sensors, missing = open_sensors(machine)
    rounds = _Rounds(sensors, given["file"])
    rounds.begin(missing, given["interval_s"])
    os.write(sys.stdout.fileno(), b"ready\n")
    ticks, samples = _Ticks(given["interval_s"]), 0
    while ticks.wait() and os.getppid() == given["parent"]:
        rounds.sample()
        samples += 1
        if samples % given["most_samples"] == 0:
            rounds.slow_down(ticks.slow_down())
    rounds.sample(all_of_them=True)


class _Ticks:
    """Waits for the next multiple of the interval; one that was missed is left out, so that there is no rush.

    The clock is the monotonic one: a wall clock that is set changes nothing.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_ns = int(interval_s * 1e9)
        self._next_ns = time.monotonic_ns()
        self._told = select.poll()
        self._told.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)

    def wait(self) -> bool:
        """False when it is time to end: the other end of the standard input is closed."""
        now = time.monotonic_ns()
        missed = max(0, now - self._next_ns) // self._interval_ns
        self._next_ns += (missed + 1) * self._interval_ns
        return not self._told.poll(max(0, self._next_ns - now) / 1e6)

    def slow_down(self) -> float:
        """Doubles the interval; gives the new one."""
        self._interval_ns *= 2
        return self._interval_ns / 1e9


class _Rounds:
    """Reads the sensors and writes what they say."""

    def __init__(self, sensors: list[BaseSensor], file: int) -> None:
        self._sensors = sensors
        self._due_ns = [0] * len(sensors)
        self._failed: set[int] = set()
        self._file = file
        self._early_ns = 0
        self._own: KernelFile | None = None
        with suppress(OSError):
            self._own = KernelFile(Path("/proc/self/statm"))
        self._digits: dict[str, int] = {}

    def begin(self, missing: Mapping[str, str], interval_s: float) -> None:
        """The line that says what follows, and the first sample."""
        # Ticks are never quite even: what is due within half of one is due now.
        self._early_ns = int(interval_s * 5e8)
        units: dict[str, str] = {}
        for sensor in self._sensors:
            units |= {name: unit for name, unit in sensor.units.items() if name not in units}
        self._digits = {name: 6 if unit == "J" else 3 for name, unit in units.items()}
        power = [asdict(sensor.power) for sensor in self._sensors if sensor.power is not None]
        facts = {
            type(sensor).__module__.rpartition(".")[2]: dict(sensor.facts)
            for sensor in self._sensors
            if sensor.facts
        }
        head = {"interval_s": interval_s, "units": units, "missing": missing}
        self._write({**head, "power": power, "facts": facts})
        self.sample(all_of_them=True)

    def slow_down(self, interval_s: float) -> None:
        """From now on samples come at this interval."""
        self._early_ns = int(interval_s * 5e8)
        self._write({"interval_s": interval_s})

    def sample(self, *, all_of_them: bool = False) -> None:
        """One line; a sensor that costs much is asked only when it is due."""
        now, wall = time.monotonic_ns(), _wall_offset_ns()
        found: dict[str, float | None] = {}
        for index, sensor in enumerate(self._sensors):
            if all_of_them or now >= self._due_ns[index]:
                found = {**self._read(index, sensor, now), **found}
        values = [_rounded(found.get(name), digits) for name, digits in self._digits.items()]
        self._write([now, wall, round(time.process_time(), 4), self._own_mb(), values])

    def _read(self, index: int, sensor: BaseSensor, now: int) -> dict[str, float | None]:
        before = time.process_time_ns()
        try:
            return sensor.read()
        except Exception as error:
            # Whatever a sensor does must not take the others with it; the timeline says what it was.
            if index not in self._failed:
                self._failed.add(index)
                self._write({"failed": list(sensor.units), "why": str(error)})
            return {}
        finally:
            cost = time.process_time_ns() - before
            pause_ns = max(int(sensor.every_s * 1e9), (_PART - 1) * cost)
            self._due_ns[index] = now + pause_ns - self._early_ns

    def _own_mb(self) -> float | None:
        if self._own is None:
            return None
        return round(int(self._own.text().split()[1]) * _PAGE_MB, 1)

    def _write(self, line: Any) -> None:
        os.write(self._file, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def _allow_many_files() -> None:
    """A machine of some hundred cores has more files to read than the usual limit of a process."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _wall_offset_ns() -> int | None:
    """How far the wall clock is ahead of the monotonic one; None if this process was held up in between."""
    for _ in range(_TRIES):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < _SURE_NS:
            return wall - (before + after) // 2
    return None


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
