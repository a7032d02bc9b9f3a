"""The CUDA driver by ctypes: whether there is a usable one, what the GPU is, and the few calls that pycuda lacks.

TensorRT without a working driver may end the process, so `probe` comes before anything of it is loaded.
https://docs.nvidia.com/cuda/cuda-driver-api/
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgevision.errors import BackendError
from edgevision.text import printable

__all__ = [
    "OLDEST",
    "Gpu",
    "call",
    "code_text",
    "driver_library",
    "error_text",
    "probe",
    "refused",
]

#: CUDA 11.4 brought cuGraphInstantiateWithFlags, the newest call used here.
OLDEST = (11, 4)
_NAME = "libcuda.so.1"

# CUdevice_attribute
_MULTIPROCESSORS, _INTEGRATED, _CAN_MAP_HOST_MEMORY, _CC_MAJOR, _CC_MINOR = 16, 18, 19, 75, 76

#: CUresult of cuInit, or of counting devices → what is wrong, and what to do.
_REASONS = {
    34: (
        "this is the CUDA toolkit's stub of a driver, which cannot compute",
        "take the folder 'stubs' out of LD_LIBRARY_PATH; the driver brings the real libcuda.so.1",
    ),
    35: ("the NVIDIA driver is too old", "install a newer driver"),
    46: ("the GPU is taken by another process", "end that process"),
    100: (
        "the driver sees no GPU",
        "nvidia-smi lists what there is; a container needs --gpus all; CUDA_VISIBLE_DEVICES may hide one",
    ),
    802: ("the GPU is not ready yet", "wait for the fabric manager, or restart it"),
    803: (
        "the driver's library and its kernel module are of different versions",
        "restart the machine after an update of the driver",
    ),
    804: (
        "the CUDA compatibility library cannot be used with this GPU",
        "take cuda-compat out of LD_LIBRARY_PATH and install a newer driver",
    ),
}


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as its driver describes it.

    Attributes:
        name: What it calls itself.
        cc: Compute capability, such as ``8.7``.
        multiprocessors: How many are switched on; a Jetson's power modes change it.
        integrated: Whether it shares the processor's memory, as on Jetson.
        can_map: Whether it can use the host's page-locked memory in place.
        driver: CUDA version of the driver, ``(major, minor)``.
    """

    name: str
    cc: str
    multiprocessors: int
    integrated: bool
    can_map: bool
    driver: tuple[int, int]

    @property
    def sm(self) -> str:
        """The architecture as compilers name it, such as ``87``."""
        return self.cc.replace(".", "")


@cache
def driver_library() -> ctypes.CDLL:
    """The driver's library.

    Raises:
        BackendError: There is none.
    """
    try:
        return ctypes.CDLL(_NAME)
    except OSError as error:
        raise BackendError(
            "there is no NVIDIA driver on this machine",
            received=str(error),
            expected=f"{_NAME}, which the driver brings",
            hint="--backend ort runs without a GPU; 'edgevision doctor' shows what this machine has",
        ) from error


def call(name: str, *arguments: Any) -> int:
    """Calls a function of the driver; its CUresult, 0 for success. A name that is not there is 500, not found.

    Integers are passed as C ints: addresses and sizes have to come as ctypes objects.
    """
    try:
        function = getattr(driver_library(), name)
    except AttributeError:
        return 500
    return int(function(*arguments))


def error_text(code: int) -> str:
    """What the driver says about a CUresult; empty if it does not know it."""
    text = ctypes.c_char_p()
    if call("cuGetErrorString", code, ctypes.byref(text)) != 0 or not text.value:
        return ""
    return printable(text.value.decode(errors="replace"))


def code_text(code: int) -> str:
    """The same with the number, for people."""
    text = error_text(code)
    return f"{text} ({code})" if text else f"error {code}"


def probe(ordinal: int = 0) -> Gpu:
    """Starts the driver and describes a GPU. Makes no context.

    Raises:
        BackendError: There is no driver, a stub, one too old, or no GPU; with what to do.
    """
    version = ctypes.c_int()
    driver_library()
    call("cuDriverGetVersion", ctypes.byref(version))
    found = (version.value // 1000, version.value % 1000 // 10)
    _succeed(call("cuInit", 0))
    if found < OLDEST:
        raise BackendError(
            "the NVIDIA driver is too old",
            received="CUDA {}.{}".format(*found),
            expected="CUDA {}.{} or later".format(*OLDEST),
            hint="install a newer driver; --backend ort runs without a GPU",
        )
    count, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    _succeed(call("cuDeviceGetCount", ctypes.byref(count)))
    if count.value <= ordinal:
        _succeed(100)
    _succeed(call("cuDeviceGet", ctypes.byref(device), ordinal))
    _succeed(call("cuDeviceGetName", name, len(name), device))
    return Gpu(
        printable(name.value.decode(errors="replace")),
        f"{_attribute(device, _CC_MAJOR)}.{_attribute(device, _CC_MINOR)}",
        _attribute(device, _MULTIPROCESSORS),
        _attribute(device, _INTEGRATED) == 1,
        _attribute(device, _CAN_MAP_HOST_MEMORY) == 1,
        found,
    )


def _attribute(device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    _succeed(call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device))
    return value.value


def refused(code: int) -> BackendError:
    """What it means that the driver did not start with a CUresult."""
    problem, hint = _REASONS.get(
        code, ("the NVIDIA driver does not start", "'dmesg' and nvidia-smi may say why")
    )
    return BackendError(
        problem,
        received=code_text(code),
        hint=f"{hint}; --backend ort runs without a GPU",
    )


def _succeed(code: int) -> None:
    if code != 0:
        raise refused(code)
