"""An NVIDIA GPU by NVML: load, memory, power, energy, clock, temperature, and what holds its clock back.

The Python side is NVIDIA's own nvidia-ml-py (BSD, module ``pynvml``), where it is installed; the library comes with
the driver. Functions and bits: NVIDIA's NVML API Reference Guide.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, cast

from edgevision.benchmarks.sampling.sensors import AbsentError, BaseSensor, Machine, Power

__all__ = ["FUNCTIONS", "SERIES", "Sensor"]

#: ``nvmlClocksEventReason…`` → what it is called here; idle and clocks that the user set hold nothing back.
_REASONS = {
    "SwPowerCap": "gpu-power-cap",
    "HwSlowdown": "gpu-hardware",
    "SwThermalSlowdown": "gpu-heat",
    "HwThermalSlowdown": "gpu-heat-hardware",
    "HwPowerBrakeSlowdown": "gpu-power-brake",
}
#: Series → unit, NVML's functions that know it (newest first), their other arguments, value → unit.
_QUERIES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], Callable[[Any], float]]] = {
    "gpu_percent": ("%", ("nvmlDeviceGetUtilizationRates",), (), lambda rates: float(rates.gpu)),
    "gpu_memory_mb": ("MB", ("nvmlDeviceGetMemoryInfo",), (), lambda memory: memory.used / 1e6),
    "gpu_clock_mhz": ("MHz", ("nvmlDeviceGetClockInfo",), ("NVML_CLOCK_SM",), float),
    "temperature_c.gpu": (
        "°C",
        ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature"),
        ("NVML_TEMPERATURE_GPU",),
        float,
    ),
    "power_w.gpu": ("W", ("nvmlDeviceGetPowerUsage",), (), lambda milliwatts: milliwatts / 1e3),
    "energy_j.gpu": (
        "J",
        ("nvmlDeviceGetTotalEnergyConsumption",),
        (),
        lambda millijoules: millijoules / 1e3,
    ),
    "throttled.gpu": (
        "state",
        ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        (),
        float,
    ),
}
SERIES = tuple(_QUERIES)
#: All of NVML that is called here.
FUNCTIONS = (
    *("nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlDeviceGetHandleByUUID", "nvmlDeviceGetName"),
    *("nvmlSystemGetDriverVersion", "nvmlDeviceGetEnforcedPowerLimit"),
    *(name for _, names, _, _ in _QUERIES.values() for name in names),
)


class Sensor(BaseSensor):
    """``gpu_percent``, ``gpu_memory_mb`` (of all processes), ``gpu_clock_mhz``, ``temperature_c.gpu``,
    ``power_w.gpu``, ``energy_j.gpu`` (since the first sample) and ``throttled.gpu-REASON``.

    It is the first GPU that CUDA would see: that of ``CUDA_VISIBLE_DEVICES``, else number 0.
    """

    def __init__(self, machine: Machine) -> None:
        self._nvml = _library(machine)
        self._asks: dict[str, Callable[[], float]] = {}
        absent = {}
        try:
            self._nvml.nvmlInit()
            self._gpu = _first_visible(self._nvml)
        except self._nvml.NVMLError as error:
            raise AbsentError(f"NVML: {error}") from error
        for series in _QUERIES:
            ask = self._ask(series)
            if isinstance(ask, str):
                absent[series] = ask
            else:
                self._asks[series] = ask
        self.absent = absent
        self._first_j = self._asks["energy_j.gpu"]() if "energy_j.gpu" in self._asks else 0.0
        self.units = {name: _QUERIES[name][0] for name in self._asks if name != "throttled.gpu"}
        if "throttled.gpu" in self._asks:
            self.units |= {f"throttled.{name}": "state" for name in _REASONS.values()}
        self.facts = self._facts()
        if {"energy_j.gpu", "power_w.gpu"} & self._asks.keys():
            self.power = Power(f"NVML: {self.facts['name'] or 'the GPU'}", ("gpu",))

    def read(self) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for series, ask in self._asks.items():
            value = self._told(ask)
            if value is None:
                continue
            if series == "throttled.gpu":
                found |= self._reasons(int(value))
            else:
                found[series] = value - self._first_j if series == "energy_j.gpu" else value
        return found

    def _ask(self, series: str) -> Callable[[], float] | str:
        """What asks for one series, tried once: of its functions the first that answers; or why none does."""
        _, names, constants, convert = _QUERIES[series]
        arguments = [getattr(self._nvml, name) for name in constants]
        why = "this nvidia-ml-py is too old to ask"
        for name in names:
            function = getattr(self._nvml, name, None)
            if function is None:
                continue
            ask = partial(_asked, function, convert, self._gpu, *arguments)
            failed = self._failure(ask)
            if failed is None:
                return ask
            why = f"this GPU does not tell it: {failed}"
        return why

    def _failure(self, ask: Callable[[], Any]) -> Exception | None:
        try:
            ask()
        except self._nvml.NVMLError as error:
            return cast("Exception", error)
        return None

    def _reasons(self, bits: int) -> dict[str, float | None]:
        return {
            f"throttled.{name}": float(
                bool(bits & getattr(self._nvml, f"nvmlClocksThrottleReason{reason}"))
            )
            for reason, name in _REASONS.items()
        }

    def _facts(self) -> dict[str, object]:
        limit = self._told(lambda: self._nvml.nvmlDeviceGetEnforcedPowerLimit(self._gpu))
        return {
            "name": _text(self._told(lambda: self._nvml.nvmlDeviceGetName(self._gpu))),
            "driver": _text(self._told(self._nvml.nvmlSystemGetDriverVersion)),
            "power_limit_w": limit / 1e3 if limit is not None else None,
        }

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except self._nvml.NVMLError:
            return None


def _asked(function: Callable[..., Any], convert: Callable[[Any], float], *given: Any) -> float:
    return convert(function(*given))


def _library(machine: Machine) -> Any:
    try:
        return import_module("pynvml")
    except ImportError as error:
        if not any((machine.root / path).exists() for path in ("dev/nvidiactl", "dev/nvidia0")):
            raise AbsentError("no NVIDIA GPU with a driver") from error
        raise AbsentError(
            "nvidia-ml-py is not installed: pip install 'edgevision[nvidia]'"
        ) from error


def _first_visible(nvml: Any) -> Any:
    """The GPU that is CUDA's number 0, if it is named by number or UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first.startswith("GPU-"):
        return nvml.nvmlDeviceGetHandleByUUID(first)
    return nvml.nvmlDeviceGetHandleByIndex(int(first) if first.isdigit() else 0)


def _text(value: Any) -> str | None:
    """Names are bytes in nvidia-ml-py before version 12."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
