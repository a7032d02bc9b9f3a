"""Memory that programs could still get, by ``/proc/meminfo`` (proc(5)); on a Jetson the GPU's comes out of it."""

from __future__ import annotations

import re

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import BaseSensor, Machine

__all__ = ["SERIES", "Sensor"]

SERIES = ("memory_available_mb",)
_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+) kB", re.MULTILINE)


class Sensor(BaseSensor):
    """``memory_available_mb``: of the whole machine, 10^6 bytes."""

    every_s = 0.5
    units = dict.fromkeys(SERIES, "MB")

    def __init__(self, machine: Machine) -> None:
        self._file = opened(machine.root / "proc/meminfo", machine.root)

    def read(self) -> dict[str, float | None]:
        found = _AVAILABLE.search(self._file.text())
        return {"memory_available_mb": int(found[1]) * 1024 / 1e6} if found else {}
