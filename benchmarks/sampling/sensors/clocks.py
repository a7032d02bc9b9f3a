"""The cores' clock, by cpufreq (kernel.org, admin-guide/pm/cpufreq)."""

from __future__ import annotations

from contextlib import suppress

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import cores

__all__ = ["SERIES", "Sensor"]

SERIES = ("clock_mhz",)
# Not cpuinfo_cur_freq: drivers measure for it, some by keeping the core busy for half a millisecond.
_NAME = "cpufreq/scaling_cur_freq"


class Sensor(BaseSensor):
    """``clock_mhz``: the mean over all cores."""

    units = dict.fromkeys(SERIES, "MHz")

    def __init__(self, machine: Machine) -> None:
        self._files = []
        for core in cores(machine.root):
            with suppress(OSError):  # a core that is switched off
                self._files.append(KernelFile(core / _NAME))
        if not self._files:
            path = machine.root / "sys/devices/system/cpu/cpu0" / _NAME
            raise AbsentError(why_absent(path, machine.root))

    def read(self) -> dict[str, float | None]:
        found = []
        for file in self._files:
            with suppress(OSError, ValueError):  # switched off meanwhile
                found.append(file.number())
        return {"clock_mhz": sum(found) / len(found) / 1000} if found else {}
