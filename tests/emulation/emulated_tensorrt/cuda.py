"""The emulated driver as TensorRT uses it: memory of its own, the current context, and whether the GPU has failed."""

from __future__ import annotations

import ctypes
from typing import Any

from emulated_tensorrt.ledger import violation

__all__ = ["Memory", "call", "failed", "in_context"]


def call(name: str, *arguments: Any) -> int:
    """A function of the driver; its CUresult."""
    return int(getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments))


def failed() -> bool:
    """Whether an error sticks to the current context: a GPU ends what it is doing then."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    return call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total)) != 0


def in_context(what: str) -> None:
    """Notes what is done without a current context."""
    current = ctypes.c_void_p()
    call("cuCtxGetCurrent", ctypes.byref(current))
    if not current:
        violation(f"{what} without a current CUDA context")


class Memory:
    """Device memory as TensorRT takes it for itself; its address is 0 if there is none left."""

    def __init__(self, size: int) -> None:
        address = ctypes.c_uint64()
        code = call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self.address = address.value if code == 0 else 0

    def free(self) -> None:
        if self.address:
            call("cuMemFree_v2", ctypes.c_uint64(self.address))
        self.address = 0
