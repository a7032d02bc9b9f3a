"""What the driver's errors mean: each becomes one `BackendError` with the next step; a lost GPU is remembered."""

from __future__ import annotations

import ctypes
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from edgevision.cuda.driver import call, code_text, error_text, refused
from edgevision.errors import BackendError, EdgevisionError

__all__ = [
    "checked",
    "exhausted",
    "explained",
    "explaining",
    "forget_frames",
    "lost",
    "lost_error",
    "not_started",
]

_OUT_OF_MEMORY = 2
#: Why no more work can be done on the GPU in this process; empty while it can. Such errors stick to a context.
_lost: list[str] = []

#: After these no call of the process works any more. Those from 700 on stick to the context, and so does 214.
_CAUSES = {
    4: "the driver is shutting down",
    46: "the GPU cannot be used any more",
    100: "the GPU is gone",
    101: "the GPU is gone",
    214: "the GPU's memory has an uncorrectable error",
    220: "a link between GPUs has an uncorrectable error",
    226: "the GPU had a hardware error, which was contained",
    700: "something on the GPU read or wrote memory that is not its own",
    702: "the GPU's watchdog ended a kernel that took too long",
    709: "another library in this process destroyed the GPU's context",
    710: "a kernel on the GPU stopped by itself",
    714: "a kernel's stack on the GPU is damaged",
    715: "the GPU met an instruction that it does not know: the code is for another one",
    716: "something on the GPU used an address that is not aligned",
    717: "something on the GPU used an address of the wrong kind of memory",
    718: "a kernel on the GPU ran out of its code",
    719: "a kernel on the GPU failed",
    999: "the driver met an error it cannot name",
}


def lost() -> bool:
    """Whether the GPU failed so badly that this process cannot use it any more."""
    return bool(_lost)


def lost_error() -> BackendError:
    """What every later call says."""
    return BackendError(
        f"this process cannot use the GPU any more: {_lost[0]}",
        hint="start the program again; if it comes back: dmesg names hardware errors (Xid), --backend ort runs without",
    )


def checked(code: int, doing: str) -> None:
    """Nothing for success.

    Raises:
        BackendError: Of a CUresult that is an error.
    """
    if code != 0:
        raise _of_code(code, doing)


@contextmanager
def explaining(doing: str) -> Iterator[None]:
    """Turns pycuda's errors inside into a `BackendError`; ``doing`` completes "while …"."""
    try:
        yield
    except EdgevisionError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith("pycuda"):
            raise
        raise explained(error, doing) from error


def explained(error: BaseException, doing: str) -> BackendError:
    """What an error of pycuda means."""
    if type(error).__name__ == "MemoryError":
        return _of_code(_OUT_OF_MEMORY, doing)
    code = _code_of(error)
    return _of_code(code, doing) if code else BackendError(f"CUDA failed while {doing}: {error}")


def not_started(error: BaseException) -> BackendError:
    """What an error of pycuda means where the context was to be made: the GPU may be free later."""
    code = _code_of(error)
    return refused(code) if code in _CAUSES else explained(error, "the GPU's context was made")


def exhausted(doing: str) -> BackendError:
    """What is said when the GPU has no memory left."""
    return BackendError(
        f"the GPU's memory is exhausted while {doing}",
        received=_memory(),
        hint="end other programs on the GPU, take --hint latency (fewer buffers), or build a smaller batch",
    )


def forget_frames(error: BaseException | None) -> None:
    """Lets go of what the functions that failed had in hand: buffers are freed now, not with the error."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _of_code(code: int, doing: str) -> BackendError:
    if code == _OUT_OF_MEMORY:
        return exhausted(doing)
    if code not in _CAUSES:
        return BackendError(f"CUDA failed while {doing}: {code_text(code)}")
    if not _lost:
        _lost.append(f"{_CAUSES[code]}, while {doing}: {code_text(code)}")
    return lost_error()


def _code_of(error: BaseException) -> int:
    """Which of `_CAUSES` it is; 0 for others. pycuda keeps a code to itself, and tells its text at the end.

    To ask the driver by waiting for the context would stall other cameras, and is not allowed while one captures.
    """
    return next((code for code in _CAUSES if _told(error_text(code), str(error))), 0)


def _told(text: str, message: str) -> bool:
    return bool(text) and f" failed: {text}" in message


def _memory() -> str:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total)) != 0:
        return ""
    return f"{free.value / 2**20:.0f} MiB free of {total.value / 2**20:.0f}"
