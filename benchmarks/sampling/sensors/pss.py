"""The measured process's fair share of memory, by ``/proc/PID/smaps_rollup`` (proc(5))."""

from __future__ import annotations

import re

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine

__all__ = ["SERIES", "Sensor"]

SERIES = ("pss_mb", "process_swap_mb")
_SIZES = re.compile(r"^(Pss|SwapPss):\s*(\d+) kB", re.MULTILINE)
_KIB_MB = 1024 / 1e6


class Sensor(BaseSensor):
    """``pss_mb``: a page that n processes share counts for 1/n. ``process_swap_mb``: what of it lies in swap.

    The kernel walks through all of the process's pages for it, and whoever maps or unmaps memory there waits
    meanwhile: some milliseconds for a large process.
    """

    every_s = 1.0
    units = dict.fromkeys(SERIES, "MB")

    def __init__(self, machine: Machine) -> None:
        self._file = opened(machine.root / f"proc/{machine.pid}/smaps_rollup", machine.root)
        if not self.read():
            raise AbsentError(f"/proc/{machine.pid}/smaps_rollup has no Pss")

    def read(self) -> dict[str, float | None]:
        sizes = {name: int(size) * _KIB_MB for name, size in _SIZES.findall(self._file.text())}
        if "Pss" not in sizes:
            return {}
        return {"pss_mb": sizes["Pss"], "process_swap_mb": sizes.get("SwapPss")}
