"""Power of a Jetson's rails, by its INA3221 and INA238 monitors (kernel.org, hwmon/ina3221 and hwmon/ina238).

JetPack 5, 6 and 7 show them as hardware monitors, in millivolts and milliamperes (NVIDIA's Jetson Linux Developer
Guide, Platform Power and Performance). Channels 4 to 7 are voltages over shunts and sums, and no rails.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edgevision import jetson
from edgevision.benchmarks.sampling.kernel_file import KernelFile, why_absent
from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine, Power
from edgevision.system_files import read

__all__ = ["SERIES", "Sensor"]

SERIES = ("power_w.ina3221",)
_CHANNELS = (1, 2, 3)
#: The module's or the board's input: all other rails are behind it. Thor's is the INA238 on its carrier board.
_INPUTS = ("VIN", "VDD_IN")


class Sensor(BaseSensor):
    """``power_w.RAIL`` by the names on the rails' labels.

    The whole is the input's rail, or where there is none (AGX modules) the sum of all rails.
    """

    def __init__(self, machine: Machine) -> None:
        if not jetson.is_jetson(machine.root):
            raise AbsentError("not a Jetson")
        self._rails: dict[str, tuple[KernelFile, ...]] = {}
        folder = machine.root / "sys/class/hwmon"
        refused: OSError | None = None
        for monitor in sorted(folder.glob("hwmon*")):
            found = _rails(monitor)
            if isinstance(found, OSError):
                refused = found
            else:
                self._rails |= found
        if not self._rails:
            place = folder / "hwmon*/in1_input" if refused else folder
            raise AbsentError(
                why_absent(place, machine.root, refused)
                if refused or not folder.exists()
                else "no hardware monitor is an INA3221"
            )
        whole = next(((rail,) for rail in _INPUTS if rail in self._rails), tuple(self._rails))
        kind = "the input" if len(whole) == 1 else "the sum of"
        self.power = Power(f"power monitor: {kind} {' + '.join(whole)}", whole, alone=True)
        self.units = {f"power_w.{rail}": "W" for rail in self._rails}

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for rail, files in self._rails.items():
            with suppress(OSError, ValueError):
                found[f"power_w.{rail}"] = _watts(files)
        return found


def _rails(monitor: Path) -> dict[str, tuple[KernelFile, ...]] | OSError:
    """Rail → voltage and current, or power, of one monitor; nothing if it is of another kind."""
    try:
        return _opened_rails(monitor, read(monitor / "name"))
    except OSError as error:
        return error


def _opened_rails(monitor: Path, kind: str | None) -> dict[str, tuple[KernelFile, ...]]:
    if kind == "ina238":
        return {"VIN": (KernelFile(monitor / "power1_input"),)}
    found: dict[str, tuple[KernelFile, ...]] = {}
    for channel in _CHANNELS if kind == "ina3221" else ():
        label = read(monitor / f"in{channel}_label")
        if label and label != "NC":  # not connected
            found[label] = (
                KernelFile(monitor / f"in{channel}_input"),
                KernelFile(monitor / f"curr{channel}_input"),
            )
    return found


def _watts(files: tuple[KernelFile, ...]) -> float:
    """From microwatts, or from millivolts and milliamperes."""
    if len(files) == 1:
        return files[0].number() / 1e6
    return files[0].number() * files[1].number() / 1e6
