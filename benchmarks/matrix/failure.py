"""What a configuration that gave no numbers leaves behind: its error as data, its status, and a record of it."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevision import errors
from edgevision.errors import EdgevisionError

__all__ = [
    "error_data",
    "error_from",
    "oom_kills",
    "says_no_memory",
    "status_and_error",
    "status_of",
]

#: What allocators and engines say when there is no memory left.
_NO_MEMORY = (
    "memoryerror",
    "allocate memory",
    "bad_alloc",
    "bad allocation",
    "out of memory",
    "outofmemory",
    "cannot allocate",
    "unable to allocate",
    "not enough memory",
)
_ROOT = Path("/")


def error_data(error: BaseException) -> dict[str, str]:
    """An error as JSON: ``kind``, ``problem``, ``received``, ``expected``, ``hint``."""
    from edgevision.cli import explained

    if isinstance(error, MemoryError):
        parts = {"problem": "there is not enough memory", "received": str(error)}
        return {"kind": "MemoryError", "expected": "", "hint": "", **parts}
    known = error if isinstance(error, EdgevisionError) else explained(error)
    if known is None:
        return {
            "kind": type(error).__name__,
            "problem": f"{type(error).__name__}: {error}",
            "received": _where(error),
            "expected": "",
            "hint": "this is a fault of edgevision or of a plug-in: please report it",
        }
    parts = {
        name: str(getattr(known, name)) for name in ("problem", "received", "expected", "hint")
    }
    return {"kind": type(known).__name__, **parts}


def _where(error: BaseException) -> str:
    """The line that raised it, and the function; without the folders, which say where somebody's home is."""
    calls = traceback.extract_tb(error.__traceback__)
    if not calls:
        return ""
    last = calls[-1]
    return f"raised in {Path(last.filename).name}, line {last.lineno}, in {last.name}"


def error_from(data: Mapping[str, str]) -> EdgevisionError:
    """The error that `error_data` made data of."""
    kind = getattr(errors, data["kind"], EdgevisionError)
    made: EdgevisionError = (kind if issubclass(kind, EdgevisionError) else EdgevisionError)(
        data["problem"],
        received=data["received"],
        expected=data["expected"],
        hint=data["hint"],
    )
    return made


def says_no_memory(text: str) -> bool:
    """Whether an allocator or an engine says so in these words."""
    lower = text.lower()
    return any(words in lower for words in _NO_MEMORY)


def status_of(error: Mapping[str, str]) -> str:
    """``out-of-memory`` or ``failed``: which of them an error is, as `error_data` gives it."""
    said = f"{error['kind']} {error['problem']} {error['received']}"
    return "out-of-memory" if says_no_memory(said) else "failed"


def oom_kills(root: Path = _ROOT) -> int | None:
    """How many processes the kernel has ended for want of memory; None if it does not tell.

    Source: ``oom_kill`` in /proc/vmstat, https://docs.kernel.org/filesystems/proc.html
    """
    try:
        lines = (root / "proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def status_and_error(ended: Any, kills: int | None) -> tuple[str, dict[str, str]]:
    """What became of a child that gave no result: one of the record's statuses, and the error.

    Args:
        ended: An `edgevision.benchmarks.matrix.child.Ended`.
        kills: How many processes the kernel ended for want of memory meanwhile; None if unknown.
    """
    if ended.error is not None:
        return status_of(ended.error), dict(ended.error)
    if ended.stopped:
        return "interrupted", _error("interrupted; it did not end by itself, and was ended", ended)
    if ended.silent:
        problem = f"it gave no sign of life for {ended.silent:g} s, and was ended"
        return "timed-out", _error(problem, ended, hint="--timeout gives it longer")
    how = _ending(ended.status)
    if ended.status == -signal.SIGKILL and kills != 0:
        return "out-of-memory", _error(
            f"its process was ended by {how}, which the kernel does when memory runs out",
            ended,
            hint="a smaller --size or --batch, fewer --threads",
        )
    if says_no_memory(ended.words):
        return "out-of-memory", _error(
            f"there was not enough memory: its process ended with {how}", ended
        )
    return "crashed", _error(f"its process ended with {how}", ended)


def _ending(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def _error(problem: str, ended: Any, *, hint: str = "") -> dict[str, str]:
    lines = [line for line in ended.words.splitlines() if line.strip()]
    received = "it said: " + "\n".join(lines[:12]) if lines else ""
    kind = "BackendError"
    return {"kind": kind, "problem": problem, "received": received, "expected": "", "hint": hint}
