"""Kernel times that TensorRT measured, kept for the next build on the same kind of GPU by the same version."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from edgevision.engine_key import DeviceFacts
from edgevision.whole_file import write_whole

__all__ = ["cache_file", "load_cache", "save_cache"]

#: What a cache of one device has ever grown to is a few MB.
_LARGEST = 2**28


def cache_file(folder: Path, facts: DeviceFacts) -> Path:
    """The file of one kind of device, library and version: times of another are not comparable."""
    parts = (facts.library, facts.version, f"sm{facts.cc}", facts.device, facts.l4t or facts.os)
    return folder / (re.sub(r"[^A-Za-z0-9.]+", "_", "-".join(parts)) + ".timings")


def load_cache(config: Any, path: Path) -> bool:
    """Gives a builder's config the times that are kept, else an empty cache; says whether there were any.

    What TensorRT does not take is left out, and replaced after the build.
    """
    empty = config.create_timing_cache(b"")
    cache = _kept(config, path)
    # Of bytes that it refuses TensorRT makes an empty cache, and warns in its log.
    holds = cache is not None and _size(cache) > _size(empty)
    if holds and config.set_timing_cache(cache, False):
        return True
    config.set_timing_cache(empty, False)
    return False


def save_cache(config: Any, path: Path) -> None:
    """Adds the times of a build to those that are kept, which other builds may have added to meanwhile.

    A folder that cannot be written costs the next build time, and nothing else.
    """
    cache = config.get_timing_cache()
    if cache is None:
        return
    with suppress(OSError), _locked(path):
        others = _kept(config, path)
        if others is not None:
            cache.combine(others, False)
        serialized = cache.serialize()
        if serialized is not None:
            write_whole(path, bytes(serialized))


def _kept(config: Any, path: Path) -> Any:
    """What is in the file; None where there is nothing, or nothing that is a cache."""
    try:
        kept = path.read_bytes() if path.stat().st_size <= _LARGEST else b""
    except OSError:
        return None
    try:
        return config.create_timing_cache(kept) if kept else None
    except (RuntimeError, TypeError, ValueError):
        return None


def _size(cache: Any) -> int:
    serialized = cache.serialize()
    return 0 if serialized is None else int(serialized.nbytes)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; not the file itself is locked, for it is replaced."""
    file = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # a file system without locks: the last one to write counts
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
