"""How often a Jetson slowed down because of too much current or too little voltage: hwmon ``soctherm_oc``.

NVIDIA's Jetson Linux Developer Guide, Platform Power and Performance: OC1 is under-voltage, OC2 the average and
OC3 the momentary current.
"""

from __future__ import annotations

import re
from contextlib import suppress

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import read

__all__ = ["SERIES", "Sensor"]

SERIES = ("throttle_events.oc",)


class Sensor(BaseSensor):
    """``throttle_events.oc1`` …: since the first sample."""

    def __init__(self, machine: Machine) -> None:
        self._files: dict[str, KernelFile] = {}
        folder = machine.root / "sys/class/hwmon"
        for monitor in sorted(folder.glob("hwmon*")):
            if read(monitor / "name") == "soctherm_oc":
                for path in sorted(monitor.glob("oc*_event_cnt")):
                    name = re.sub("_event_cnt$", "", path.name)
                    with suppress(OSError):
                        self._files[f"throttle_events.{name}"] = KernelFile(path)
        if not self._files:
            raise AbsentError(
                "no hardware monitor counts over-current"
                if any(folder.glob("hwmon*"))
                else why_absent(folder, machine.root)
            )
        self.units = dict.fromkeys(self._files, "events")
        self._first = {name: file.number() for name, file in self._files.items()}

    def read(self) -> dict[str, float | None]:
        return {name: file.number() - self._first[name] for name, file in self._files.items()}
