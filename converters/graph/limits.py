"""Stops what onnxruntime does for a model when it takes longer, or more memory, than any model should."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgevision.clock import now_ns
from edgevision.errors import StoppedError

__all__ = ["limited"]

#: One inference, or one load. A loop that never ends is no input that onnxruntime refuses.
_LONGEST_S = 300.0
#: Of the memory that is free when it begins. A loop may keep something of every turn.
_MEMORY_SHARE = 0.9
_TICK_S = 0.1
_GIB = 2**30


@contextmanager
def limited(what: str, stop: Callable[[], None]) -> Iterator[None]:
    """Calls ``stop`` from another thread when what runs inside takes too much.

    Args:
        what: What runs, for the message: ``inference``.
        stop: Makes it end with an exception, as soon as it can.

    Raises:
        StoppedError: It was stopped.
    """
    excess: list[str] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(excess, ended, stop), daemon=True)
    watcher.start()
    try:
        yield
    except Exception as exc:
        if not excess:
            raise
        raise StoppedError(
            "the model was stopped while it was tried",
            received=f"one {what} that takes {excess[0]}",
            expected=f"one {what} that ends, within {_LONGEST_S:g} s and the memory there is",
            hint="look for a Loop in it whose condition never becomes false, or for constants that "
            "are computed from huge ones",
        ) from exc
    finally:
        ended.set()
        watcher.join()


def _watch(excess: list[str], ended: threading.Event, stop: Callable[[], None]) -> None:
    """Looks every now and then; the first that is too much goes into ``excess``."""
    allowed, before, start = _MEMORY_SHARE * _free_memory(), _own_memory(), now_ns()
    while not ended.wait(_TICK_S):
        grown = _own_memory() - before
        if now_ns() - start >= _LONGEST_S * 1e9:
            excess.append(f"longer than {_LONGEST_S:g} s")
        elif grown > allowed:
            excess.append(f"more than {allowed / _GIB:.1f} GiB of memory")
        if excess:
            stop()
            return


def _own_memory() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _free_memory() -> float:
    """Bytes of memory left on this machine, and in the container around; no end where neither says."""
    return min(_free_on_machine(), _free_in_container())


def _free_on_machine() -> float:
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return float("inf")
    return int(found[1]) * 1024 if found is not None else float("inf")


def _free_in_container(group: Path = Path("/sys/fs/cgroup")) -> float:
    """By docs.kernel.org/admin-guide/cgroup-v2.html; a limit of ``max`` is none, and cached files give way."""
    try:
        most = float((group / "memory.max").read_text().strip().replace("max", "inf"))
        used = int((group / "memory.current").read_text())
        stat = (group / "memory.stat").read_text()
        cached = re.findall(r"^(?:in)?active_file (\d+)$", stat, re.MULTILINE)
        return most - used + sum(map(int, cached))
    except (OSError, ValueError):
        return float("inf")
