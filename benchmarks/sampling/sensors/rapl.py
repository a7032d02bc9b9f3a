"""Energy of an x86 processor and its memory, by RAPL's counters (kernel.org, power/powercap/powercap)."""

from __future__ import annotations

import time
from pathlib import Path

from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine, Power
from edgevision.system_files import number, read

__all__ = ["SERIES", "Sensor"]

SERIES = ("power_w.rapl",)
#: Counters step once a millisecond; over a shorter time the quotient is noise.
_LEAST_S = 0.01


class Sensor(BaseSensor):
    """``energy_j.ZONE``: since the first sample; ``power_w.ZONE``: its mean since the sample before.

    A counter begins again at 0 behind its ``max_energy_range_uj``, on a busy processor after some minutes. Zones
    are the packages, what is in them (``core``, ``uncore``), ``dram`` and the platform (``psys``). The sum is that
    of packages and their ``dram``, which is no part of them; ``psys`` holds them all, but few boards have it wired.
    """

    def __init__(self, machine: Machine) -> None:
        folder = machine.root / "sys/class/powercap"
        # Not intel-rapl-mmio: the same package once more.
        paths = sorted(folder.glob("intel-rapl:*"), key=lambda path: path.name)
        self._counters: dict[str, _Counter] = {}
        refused: OSError | None = None
        for path in paths:
            counter = _opened(path)
            if isinstance(counter, OSError):
                refused = counter
            else:
                self._counters[_zone(path, paths)] = counter
        if not self._counters:
            place = paths[0] / "energy_uj" if paths else folder / "intel-rapl:0"
            raise AbsentError(why_absent(place, machine.root, refused))
        rails = tuple(
            zone for zone in self._counters if zone.split(" ")[0].startswith(("package-", "dram"))
        )
        self.power = Power(f"RAPL counters of {' + '.join(rails)}", rails) if rails else None
        self.units = {f"energy_j.{zone}": "J" for zone in self._counters}
        self.units |= {f"power_w.{zone}": "W" for zone in self._counters}

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for zone, counter in self._counters.items():
            watts = counter.watts()
            found[f"energy_j.{zone}"] = counter.joules
            found[f"power_w.{zone}"] = watts
        return found


class _Counter:
    """One zone's counter, unwound.

    Raises:
        OSError: It may not be read: since 2020 that takes root (CVE-2020-8694).
    """

    def __init__(self, zone: Path) -> None:
        self._file = KernelFile(zone / "energy_uj")
        self._range = number(zone / "max_energy_range_uj") or 0
        self._last = self._file.number()
        self._read_at = time.monotonic()
        self.joules = 0.0

    def watts(self) -> float | None:
        """Reads on; the mean power since the last time."""
        value, now = self._file.number(), time.monotonic()
        step = value - self._last
        if step < 0:
            step += self._range + 1
        passed, self._last, self._read_at = now - self._read_at, value, now
        if step < 0:  # a counter without a range that went back
            return None
        self.joules += step / 1e6
        return step / 1e6 / passed if passed >= _LEAST_S else None


def _opened(zone: Path) -> _Counter | OSError:
    try:
        return _Counter(zone)
    except OSError as error:
        return error


def _zone(path: Path, paths: list[Path]) -> str:
    """The zone's name; of two zones with one name also that of the package it is in."""
    name = read(path / "name") or path.name
    above = path.with_name(path.name.rpartition(":")[0])
    alike = [other for other in paths if read(other / "name") == name]
    return f"{name} of {read(above / 'name')}" if len(alike) > 1 and above in paths else name
