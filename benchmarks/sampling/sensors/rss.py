"""Physical memory of the measured process, by ``/proc/PID/statm`` (proc(5))."""

from __future__ import annotations

import os

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import BaseSensor, Machine

__all__ = ["SERIES", "Sensor"]

SERIES = ("rss_mb",)
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Sensor(BaseSensor):
    """``rss_mb``: resident memory, 10^6 bytes; libraries that others use too count in full."""

    units = dict.fromkeys(SERIES, "MB")

    def __init__(self, machine: Machine) -> None:
        self._file = opened(machine.root / f"proc/{machine.pid}/statm", machine.root)

    def read(self) -> dict[str, float | None]:
        return {"rss_mb": int(self._file.text().split()[1]) * _PAGE_MB}
