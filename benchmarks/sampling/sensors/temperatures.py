"""Temperatures: thermal zones, and the processor's own sensor where it is no zone (kernel.org, driver-api/thermal)."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import read

__all__ = ["SERIES", "Sensor"]

SERIES = ("temperature_c",)
#: hwmon drivers of processors (kernel.org, hwmon/coretemp and hwmon/k10temp); the first value is the package's.
_PROCESSORS = ("coretemp", "k10temp", "zenpower")


class Sensor(BaseSensor):
    """``temperature_c.ZONE``; a zone that is switched off, as a Jetson's idle GPU, is unknown meanwhile."""

    every_s = 0.5

    def __init__(self, machine: Machine) -> None:
        self._files: dict[str, KernelFile] = {}
        for zone in sorted((machine.root / "sys/class/thermal").glob("thermal_zone*")):
            self._add(read(zone / "type") or zone.name, zone / "temp", zone.name)
        for folder in sorted((machine.root / "sys/class/hwmon").glob("hwmon*")):
            name = read(folder / "name")
            if name in _PROCESSORS:
                self._add(name, folder / "temp1_input", folder.name)
        if not self._files:
            raise AbsentError(
                why_absent(machine.root / "sys/class/thermal/thermal_zone0", machine.root)
            )
        self.units = dict.fromkeys(self._files, "°C")

    def _add(self, name: str, path: Path, place: str) -> None:
        series = f"temperature_c.{name}"
        with suppress(OSError):
            self._files[series if series not in self._files else f"{series} {place}"] = KernelFile(
                path
            )

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, file in self._files.items():
            with suppress(OSError, ValueError):
                found[name] = file.number() / 1000
        return found
