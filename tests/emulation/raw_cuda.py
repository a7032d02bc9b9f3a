"""The driver's functions by ctypes alone, for programs that test the emulation: codes are returned, not raised.

Import it in a program that runs on the emulated driver. Handles and addresses are plain integers.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

__all__ = ["Gate", "Stream", "alloc", "call", "event", "expect", "made", "pinned", "start", "stop"]

NON_BLOCKING = 1
GLOBAL, THREAD_LOCAL, RELAXED = range(3)
_LIBRARY = ctypes.CDLL("libcuda.so.1")
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def call(name: str, *arguments: Any) -> int:
    """The function's code. Integers are passed as 64 bits, which suits every integer argument of the driver."""
    passed = [ctypes.c_uint64(each) if isinstance(each, int) else each for each in arguments]
    return int(getattr(_LIBRARY, name)(*passed))


def expect(code: int, name: str, *arguments: Any) -> None:
    got = call(name, *arguments)
    assert got == code, f"{name} gave {got}, not {code}"


def made(name: str, *arguments: Any) -> int:
    """What a function that makes something writes through its first argument."""
    handle = ctypes.c_uint64()
    expect(0, name, ctypes.byref(handle), *arguments)
    return handle.value


def start() -> int:
    expect(0, "cuInit", 0)
    context = made("cuDevicePrimaryCtxRetain", 0)
    expect(0, "cuCtxPushCurrent_v2", context)
    return context


def stop() -> None:
    expect(0, "cuCtxPopCurrent_v2", None)
    expect(0, "cuDevicePrimaryCtxRelease_v2", 0)


def alloc(size: int) -> int:
    return made("cuMemAlloc_v2", size)


def pinned(size: int) -> Any:
    """Pinned memory as an array of bytes."""
    return (ctypes.c_ubyte * size).from_address(made("cuMemHostAlloc", size, 0))


def event() -> int:
    return made("cuEventCreate", 0)


class Stream:
    """A non-blocking stream, unless flags say otherwise."""

    def __init__(self, flags: int = NON_BLOCKING) -> None:
        self.handle = made("cuStreamCreate", flags)

    def upload(self, to: int, source: Any) -> int:
        return call("cuMemcpyHtoDAsync_v2", to, source, len(source), self.handle)

    def download(self, to: Any, source: int) -> int:
        return call("cuMemcpyDtoHAsync_v2", to, source, len(to), self.handle)

    def fill(self, to: int, value: int, size: int) -> int:
        return call("cuMemsetD8Async", to, value, size, self.handle)

    def synchronize(self) -> int:
        return call("cuStreamSynchronize", self.handle)

    def begin(self, mode: int = GLOBAL) -> None:
        expect(0, "cuStreamBeginCapture_v2", self.handle, mode)

    def end(self) -> tuple[int, int]:
        """The code and the graph."""
        graph = ctypes.c_uint64()
        code = call("cuStreamEndCapture", self.handle, ctypes.byref(graph))
        return code, graph.value

    def destroy(self) -> None:
        expect(0, "cuStreamDestroy_v2", self.handle)


class Gate:
    """Holds a stream up until it is opened, so that a test of order needs no clock."""

    def __init__(self, stream: Stream | None) -> None:
        self._opened = threading.Event()
        self.passed = 0
        self._function = _HOST_FUNCTION(self._wait)
        expect(0, "cuLaunchHostFunc", stream.handle if stream else 0, self._function, None)

    def _wait(self, _user: object) -> None:
        self._opened.wait(30)
        self.passed += 1

    def open(self) -> None:
        self._opened.set()
