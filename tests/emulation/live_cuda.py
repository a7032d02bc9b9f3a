"""The emulated driver's report and settings from inside a program that runs on it."""

from __future__ import annotations

import ctypes
import json
from typing import Any

__all__ = ["fail", "is_live", "report", "set"]

_LIBRARY = ctypes.CDLL("libcuda.so.1")
_LIBRARY.emulated_cuda_report.restype = ctypes.c_void_p
_LIBRARY.emulated_cuda_free.argtypes = [ctypes.c_void_p]
_LIBRARY.emulated_cuda_is_live.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


def report() -> dict[str, Any]:
    """What the report would be if the program ended now."""
    text = _LIBRARY.emulated_cuda_report()
    try:
        return dict(json.loads(ctypes.string_at(text)))
    finally:
        _LIBRARY.emulated_cuda_free(text)


def set(name: str, value: str) -> None:
    """``faults``, ``delay_us`` or ``device``, as in the environment; new faults count from now."""
    if not _LIBRARY.emulated_cuda_set(name.encode(), value.encode()):
        raise ValueError(f"{name}={value} is not understood")


def is_live(address: int, size: int) -> bool:
    """Whether all the bytes lie in one allocation: for native work to ask before it touches them."""
    return bool(_LIBRARY.emulated_cuda_is_live(address, size))


def fail(code: int) -> None:
    """Breaks the primary context, as a kernel does that fails with this code."""
    _LIBRARY.emulated_cuda_fail(code)
