"""What the kernel holds back because of heat: cooling devices (kernel.org, driver-api/thermal/sysfs-api)."""

from __future__ import annotations

import re
from contextlib import suppress

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import read

__all__ = ["SERIES", "Sensor"]

SERIES = ("throttled.cooling",)
#: Those that slow a processor down, and a Jetson's alerts; a fan that turns faster holds nothing back.
_SLOWS = re.compile(
    r"(thermal-)?(cpufreq|devfreq)-|Processor$|.*-throttle-alert$|hot-surface-alert$"
)


class Sensor(BaseSensor):
    """``throttled.DEVICE``: its state, 0 for not at all."""

    def __init__(self, machine: Machine) -> None:
        folder = machine.root / "sys/class/thermal"
        self._files: dict[str, list[KernelFile]] = {}
        for device in sorted(folder.glob("cooling_device*")):
            kind = read(device / "type") or ""
            if _SLOWS.match(kind):
                with suppress(OSError):
                    file = KernelFile(device / "cur_state")
                    self._files.setdefault(f"throttled.{kind}", []).append(file)
        if not self._files:
            raise AbsentError(
                "no cooling device slows a processor down"
                if any(folder.glob("cooling_device*"))
                else why_absent(folder / "cooling_device0", machine.root)
            )
        self.units = dict.fromkeys(self._files, "state")

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, files in self._files.items():
            with suppress(OSError, ValueError):
                found[name] = max(file.number() for file in files)
        return found
