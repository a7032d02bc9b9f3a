"""Memory on both sides of the bus, which only grows: page-locked on the host, plain on the device, or one for both."""

from __future__ import annotations

import ctypes
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.cuda.context import primary_context
from edgevision.cuda.driver import call
from edgevision.cuda.failures import checked, explaining
from edgevision.cuda.library import pycuda_driver
from edgevision.errors import BackendError

__all__ = ["ALIGNMENT", "DeviceMemory", "Twin", "aligned"]

#: What TensorRT asks of the addresses of tensors.
ALIGNMENT = 256
#: CU_MEMHOSTALLOC_DEVICEMAP
_MAPPED = 2


def aligned(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class DeviceMemory:
    """Bytes on the device.

    Attributes:
        address: Of the first one; 0 before there are any. It changes only when they grow.
        size: How many.
    """

    def __init__(self, size: int = 0) -> None:
        self._allocation: Any = None
        self.address = self.size = 0
        if size:
            self.reserve(size)

    def reserve(self, size: int) -> bool:
        """Makes room for that many bytes, whose content is lost if they move; whether they moved.

        Nothing may be under way that uses them.
        """
        if size <= self.size:
            return False
        self.close()
        with explaining(f"{size / 2**20:.1f} MiB were allocated"):
            self._allocation = pycuda_driver().mem_alloc(size)
        self.address, self.size = int(self._allocation), size
        return True

    def clear(self, stream: Any) -> None:
        """Makes all of them 0, in the stream's order."""
        if self.size:
            pycuda_driver().memset_d8_async(self.address, 0, self.size, stream)

    def close(self) -> None:
        """Frees them; may be called twice."""
        allocation, self._allocation = self._allocation, None
        self.address = self.size = 0
        if allocation is not None:
            allocation.free()


class Twin:
    """Bytes that the processor and the GPU both see: page-locked memory and its copy on the device.

    With ``mapped`` there is one memory, which the GPU uses where it is: nothing is ever copied.

    Attributes:
        host: uint8 ``(size,)``; views of it stay valid for as long as they are kept.
        address: Of the same on the device.
        mapped: Whether they are one.
    """

    def __init__(self, size: int = 0, *, mapped: bool = False) -> None:
        self.mapped = mapped
        self.host: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.address = 0
        self._device = DeviceMemory()
        if size:
            self.reserve(size)

    def reserve(self, size: int) -> bool:
        """As `DeviceMemory.reserve`."""
        if size <= self.host.size:
            return False
        self.close()
        try:
            self.host, self.address = _page_locked(size, mapped=self.mapped)
            if not self.mapped:
                self._device.reserve(size)
                self.address = self._device.address
        except BaseException:
            self.close()
            raise
        return True

    def upload(self, size: int, stream: Any) -> None:
        """The first ``size`` bytes from the host to the device, in the stream's order."""
        if not self.mapped:
            pycuda_driver().memcpy_htod_async(self.address, self.host[:size], stream)

    def download(self, size: int, stream: Any) -> None:
        """The other way round."""
        if not self.mapped:
            pycuda_driver().memcpy_dtoh_async(self.host[:size], self.address, stream)

    def close(self) -> None:
        """Frees them; may be called twice. What somebody still holds a view of is freed with the view."""
        self.host, self.address = np.empty(0, np.uint8), 0
        self._device.close()


def _page_locked(size: int, *, mapped: bool) -> tuple[NDArray[np.uint8], int]:
    """Page-locked memory, uint8 ``(size,)``, and its address on the device, 0 if it is not mapped there.

    It is freed with the last view of it, in whichever thread that goes. pycuda's own is freed only by a thread that
    has pushed the context, or has made it: in all others it is lost, with a warning.
    """
    host, device = ctypes.c_void_p(), ctypes.c_uint64()
    doing = f"{size / 2**20:.1f} MiB of page-locked memory were allocated"
    flags = ctypes.c_uint(_MAPPED if mapped else 0)
    checked(call("cuMemHostAlloc", ctypes.byref(host), ctypes.c_size_t(size), flags), doing)
    assert host.value is not None
    memory = (ctypes.c_ubyte * size).from_address(host.value)
    weakref.finalize(memory, _free_page_locked, host).atexit = False
    if mapped:
        place = ctypes.byref(device)
        checked(call("cuMemHostGetDevicePointer_v2", place, host, ctypes.c_uint(0)), doing)
    return np.ctypeslib.as_array(memory), device.value


def _free_page_locked(host: ctypes.c_void_p) -> None:
    with suppress(BackendError):  # a lost GPU's goes with the process
        primary_context().free([], [lambda: call("cuMemFreeHost", host)])
