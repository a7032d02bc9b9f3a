"""Sensors: one file each, and a name in `SENSORS`. A sensor that is not there says why.

A sensor's class is called ``Sensor``. Opening it raises `AbsentError` where this machine does not tell; reading it
gives what it knows at that moment. Names of series and their units are fixed once it is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

__all__ = ["SENSORS", "AbsentError", "BaseSensor", "Machine", "Power", "open_sensors"]

#: Files of this folder. Of two that know the same series, the first one gives it.
SENSORS = (
    "cpu",
    "process_cpu",
    "rss",
    "pss",
    "free_memory",
    "swap",
    "clocks",
    "temperatures",
    "throttle_counters",
    "cooling",
    "overcurrent",
    "raspberry",
    "rapl",
    "ina3221",
    "nvml",
    "devfreq",
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where sensors look.

    Attributes:
        root: Where the file system begins; tests put a folder of their own here.
        pid: The measured process.
        own: The sampler itself, which is no part of what is measured.
    """

    root: Path
    pid: int
    own: int = 0


@dataclass(frozen=True, slots=True)
class Power:
    """Which of a sensor's rails together are what it measures the power of.

    Attributes:
        source: What that is, in words.
        rails: Ends of series' names, ``power_w.RAIL``, that add up without counting anything twice.
        alone: It is the whole board, so no other sensor's power may be added to it.
    """

    source: str
    rails: tuple[str, ...]
    alone: bool = False


class AbsentError(Exception):
    """A sensor that this machine does not have, or does not let us read; the text says why."""


class BaseSensor:
    """One sensor that is open.

    Attributes:
        units: Series → unit.
        power: What its ``power_w`` series add up to; None where it has none.
        facts: What does not change and belongs in a record, JSON-ready.
        every_s: It is read so often at most: for what changes slowly, or costs the measured process something.
        absent: Series that this kind of sensor may have, and why this one has not.
    """

    units: Mapping[str, str]
    power: Power | None = None
    facts: Mapping[str, object] = MappingProxyType({})
    every_s: float = 0.0
    absent: Mapping[str, str] = MappingProxyType({})

    def read(self) -> dict[str, float | None]:
        """What is known now; a series that is left out is unknown now. May raise OSError or ValueError."""
        raise NotImplementedError


def open_sensors(
    machine: Machine, names: tuple[str, ...] = SENSORS
) -> tuple[list[BaseSensor], dict[str, str]]:
    """Opens what can be opened; also gives series → why it is not there."""
    found: list[BaseSensor] = []
    missing: dict[str, str] = {}
    reasons: Mapping[str, str]
    for name in names:
        module = import_module(f"{__name__}.{name}")
        try:
            found.append(module.Sensor(machine))
            reasons = found[-1].absent
        except Exception as error:  # whatever a sensor does must not take the others with it
            text = str(error) if isinstance(error, AbsentError) else f"unexpected: {error!r}"
            reasons = dict.fromkeys(module.SERIES, text)
        missing |= {name: why for name, why in reasons.items() if name not in missing}
    known = {name for sensor in found for name in sensor.units}
    return found, {name: why for name, why in missing.items() if name not in known}
