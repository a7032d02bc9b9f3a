"""What the machine moved between memory and swap, by ``/proc/vmstat``."""

from __future__ import annotations

import os
import re

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine

__all__ = ["SERIES", "Sensor"]

SERIES = ("swap_in_mb", "swap_out_mb")
_PAGES = re.compile(r"^pswp(in|out) (\d+)", re.MULTILINE)
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


class Sensor(BaseSensor):
    """``swap_in_mb``, ``swap_out_mb``: of all processes, since the first sample, 10^6 bytes."""

    every_s = 0.5
    units = dict.fromkeys(SERIES, "MB")

    def __init__(self, machine: Machine) -> None:
        self._file = opened(machine.root / "proc/vmstat", machine.root)
        self._first = self._pages()
        if not self._first:
            raise AbsentError("/proc/vmstat does not count swapped pages")

    def read(self) -> dict[str, float | None]:
        now = self._pages()
        return {
            f"swap_{way}_mb": (now[way] - first) * _PAGE_MB
            for way, first in self._first.items()
            if way in now
        }

    def _pages(self) -> dict[str, int]:
        return {way: int(pages) for way, pages in _PAGES.findall(self._file.text())}
