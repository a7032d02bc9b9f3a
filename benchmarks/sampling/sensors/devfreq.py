"""Load and clock of a Jetson's GPU (kernel.org, ABI/testing/sysfs-class-devfreq; ``load`` is the nvgpu driver's)."""

from __future__ import annotations

from contextlib import suppress

from edgevision import jetson
from edgevision.benchmarks.sampling.kernel_file import KernelFile
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import number, read

__all__ = ["SERIES", "Sensor"]

_UNITS = {"gpu_percent": "%", "gpu_clock_mhz": "MHz"}
SERIES = tuple(_UNITS)


class Sensor(BaseSensor):
    """``gpu_percent`` and ``gpu_clock_mhz``; the driver tells the load in thousandths."""

    def __init__(self, machine: Machine) -> None:
        folder = jetson.gpu_clock_folder(machine.root)
        if folder is None:
            raise AbsentError("no NVIDIA GPU among the machine's devfreq devices")
        self._files: dict[str, tuple[KernelFile, float]] = {}
        with suppress(OSError):
            self._files["gpu_percent"] = KernelFile(folder / "device/load"), 0.1
        with suppress(OSError):
            self._files["gpu_clock_mhz"] = KernelFile(folder / "cur_freq"), 1e-6
        if not self._files:
            raise AbsentError(f"{folder.name} tells neither load nor clock")
        self.absent = {
            name: f"{folder.name} does not tell it" for name in _UNITS if name not in self._files
        }
        self.units = {name: _UNITS[name] for name in self._files}
        limits = {key: number(folder / f"{key}_freq") for key in ("min", "max")}
        self.facts = {
            "name": folder.name,
            "governor": read(folder / "governor"),
            **{f"{key}_mhz": None if hz is None else hz // 10**6 for key, hz in limits.items()},
        }

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for name, (file, scale) in self._files.items():
            with suppress(OSError, ValueError):  # a GPU that is switched off does not answer
                found[name] = file.number() * scale
        return found
