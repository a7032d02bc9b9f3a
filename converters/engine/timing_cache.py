"""Kernel times that TensorRT measured, kept for the next build on the same kind of GPU by the same version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgevision.engines import EngineKey
from edgevision.whole_file import write_whole

__all__ = ["cache_file", "load_cache", "save_cache"]

#: What a cache of one device has ever grown to is a few MB.
_LARGEST = 2**28


def cache_file(folder: Path, key: EngineKey, device: str) -> Path:
    """The file of one kind of device, library and version: times of another are not comparable."""
    parts = (key.library, key.version, f"sm{key.cc}", device or "gpu", key.l4t or key.os)
    return folder / (re.sub(r"[^A-Za-z0-9.]+", "_", "-".join(parts)) + ".timings")


def load_cache(config: Any, path: Path) -> bool:
    """Gives a builder's config the times that are kept, else an empty cache; says whether there were any.

    What TensorRT does not take is left out, and replaced after the build.
    """
    kept = b""
    try:
        if path.stat().st_size <= _LARGEST:
            kept = path.read_bytes()
    except OSError:
        pass
    if kept:
        try:
            if config.set_timing_cache(config.create_timing_cache(kept), False):
                return True
        except (RuntimeError, TypeError, ValueError):  # None is no cache: it refused the bytes
            pass
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def save_cache(config: Any, path: Path) -> None:
    """Keeps the times of a build. A folder that cannot be written costs the next build time, and nothing else."""
    cache = config.get_timing_cache()
    plan = None if cache is None else cache.serialize()
    if plan is None:
        return
    try:
        write_whole(path, bytes(plan))
    except OSError:
        return
