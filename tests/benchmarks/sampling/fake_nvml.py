"""A module in the place of nvidia-ml-py, of the functions that the sampler asks; `test_nvml` holds it to the real one."""

from __future__ import annotations

from types import SimpleNamespace

NVML_CLOCK_SM = 1
NVML_TEMPERATURE_GPU = 0
nvmlClocksThrottleReasonSwPowerCap = 0x4
nvmlClocksThrottleReasonHwSlowdown = 0x8
nvmlClocksThrottleReasonSwThermalSlowdown = 0x20
nvmlClocksThrottleReasonHwThermalSlowdown = 0x40
nvmlClocksThrottleReasonHwPowerBrakeSlowdown = 0x80


class NVMLError(Exception):
    pass


class Gpu:
    """What a test may set."""

    name: str | bytes = "Fake GPU"
    percent = 97
    millijoules = 1_000_000
    reasons = 0
    refused: frozenset[str] = frozenset()
    asked: list[object]


def _refuse(name: str) -> None:
    if name in Gpu.refused:
        raise NVMLError("Not Supported")


def nvmlInit():
    _refuse("nvmlInit")
    Gpu.asked = []


def nvmlDeviceGetHandleByIndex(index):
    Gpu.asked.append(index)
    return "handle"


def nvmlDeviceGetHandleByUUID(uuid):
    Gpu.asked.append(uuid)
    return "handle"


def nvmlDeviceGetName(handle):
    return Gpu.name


def nvmlSystemGetDriverVersion():
    return "580.00"


def nvmlDeviceGetEnforcedPowerLimit(handle):
    return 75_000


def nvmlDeviceGetUtilizationRates(handle):
    _refuse("nvmlDeviceGetUtilizationRates")
    return SimpleNamespace(gpu=Gpu.percent, memory=12)


def nvmlDeviceGetMemoryInfo(handle, version=None):
    return SimpleNamespace(total=8_000_000_000, free=6_766_000_000, used=1_234_000_000)


def nvmlDeviceGetClockInfo(handle, type):
    return 1710 if type == NVML_CLOCK_SM else 405


def nvmlDeviceGetTemperatureV(handle, sensor, version=1):
    return 61


def nvmlDeviceGetTemperature(handle, sensor):
    raise AssertionError("the newer function answers")


def nvmlDeviceGetPowerUsage(handle):
    _refuse("nvmlDeviceGetPowerUsage")
    return 50_500


def nvmlDeviceGetTotalEnergyConsumption(handle):
    _refuse("nvmlDeviceGetTotalEnergyConsumption")
    return Gpu.millijoules


def nvmlDeviceGetCurrentClocksEventReasons(handle):
    _refuse("nvmlDeviceGetCurrentClocksEventReasons")
    return Gpu.reasons


def nvmlDeviceGetCurrentClocksThrottleReasons(handle):
    return Gpu.reasons
