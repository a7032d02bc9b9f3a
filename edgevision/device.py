"""Facts about the machine at hand: its processor, what it can compute, and how much of it this process may use."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

__all__ = [
    "cpu_count",
    "cpu_features",
    "cpu_name",
    "has_avx2",
    "has_nvidia_gpu",
    "has_vnni",
    "memory_mb",
]

_CPUINFO = Path("/proc/cpuinfo")
#: Of a card, and of a Jetson.
_GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/nvhost-gpu"), Path("/dev/nvgpu"))


def cpu_count() -> int:
    """Cores this process may use: its affinity, bounded by the container's quota."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota() or cores))


@cache
def cpu_features() -> frozenset[str]:
    """Flags of the processor as Linux names them (``avx2``, ``avx512_vnni``, ``asimddp``, …); empty if unknown."""
    return frozenset(_cpuinfo("flags", "Features").split())


@cache
def cpu_name() -> str:
    """What the processor calls itself, else the machine's architecture."""
    return _cpuinfo("model name") or platform.machine()


def has_avx2() -> bool:
    """Whether the 256-bit integer instructions are there that int8 kernels on x86 are made for."""
    return "avx2" in cpu_features()


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver made its device files: cheap, and no proof that it works."""
    return any(path.exists() for path in _GPU_FILES)


def has_vnni() -> bool:
    """Whether int8 products of unsigned and signed values accumulate without saturating (x86 only)."""
    return bool(cpu_features() & {"avx512_vnni", "avx_vnni", "avx512vnni", "avxvnni"})


def memory_mb() -> int:
    """Installed memory, MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def _cpuinfo(*keys: str) -> str:
    try:
        text = _CPUINFO.read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def _quota() -> int | None:
    """Whole cores in the cgroup's CPU quota (version 2), rounded up; None without one."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        return None
