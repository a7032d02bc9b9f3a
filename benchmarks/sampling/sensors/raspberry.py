"""Whether a Raspberry Pi holds its clock back, by its firmware's ``get_throttled`` (its manual, vcgencmd)."""

from __future__ import annotations

from edgevision.benchmarks.sampling.kernel_file import opened
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine
from edgevision.system_files import read

__all__ = ["SERIES", "Sensor"]

SERIES = ("throttled.firmware",)
_BITS = {"undervoltage": 1, "capped": 2, "firmware": 4, "soft-temperature": 8}


class Sensor(BaseSensor):
    """``throttled.undervoltage``, ``.capped`` (clock), ``.firmware``, ``.soft-temperature``: 0 or 1."""

    def __init__(self, machine: Machine) -> None:
        if "Raspberry" not in (read(machine.root / "proc/device-tree/model") or ""):
            raise AbsentError("not a Raspberry Pi")
        path = machine.root / "sys/devices/platform/soc/soc:firmware/get_throttled"
        self._file = opened(path, machine.root)
        self.units = {f"throttled.{name}": "state" for name in _BITS}

    def read(self) -> dict[str, float | None]:
        bits = int(self._file.text(), 16)
        return {f"throttled.{name}": float(bool(bits & bit)) for name, bit in _BITS.items()}
