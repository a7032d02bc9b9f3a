"""How often an Intel processor slowed down because of heat, by ``thermal_throttle`` (kernel.org, ABI/testing)."""

from __future__ import annotations

from contextlib import suppress

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import cores

__all__ = ["SERIES", "Sensor"]

SERIES = ("throttle_events.cores",)


class Sensor(BaseSensor):
    """``throttle_events.cores`` and ``.package``: since the first sample, over all cores."""

    def __init__(self, machine: Machine) -> None:
        self._files: dict[str, list[KernelFile]] = {}
        for core in cores(machine.root):
            for name, kind in (("cores", "core"), ("package", "package")):
                with suppress(OSError):
                    file = KernelFile(core / f"thermal_throttle/{kind}_throttle_count")
                    self._files.setdefault(f"throttle_events.{name}", []).append(file)
        if not self._files:
            path = machine.root / "sys/devices/system/cpu/cpu0/thermal_throttle"
            raise AbsentError(why_absent(path, machine.root))
        self.units = dict.fromkeys(self._files, "events")
        files = [file for one in self._files.values() for file in one]
        self._first = {file.path: file.number() for file in files}
        self._last = dict(self._first)

    def read(self) -> dict[str, float | None]:
        # Every core of a package repeats the package's count.
        return {
            name: max(events) if name.endswith("package") else sum(events)
            for name, files in self._files.items()
            for events in [[self._events(file) for file in files]]
        }

    def _events(self, file: KernelFile) -> int:
        """Since the first sample; of a core that was switched off meanwhile what it had counted until then."""
        with suppress(OSError, ValueError):
            self._last[file.path] = file.number()
        return self._last[file.path] - self._first[file.path]
