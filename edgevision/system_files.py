"""Small files by which a system tells of itself: ``/proc``, ``/sys``, ``/etc`` below a root.

What is not told is None, never an error: a container hides sensors, a PC has no device tree.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = [
    "cores",
    "in_container",
    "meminfo",
    "number",
    "os_name",
    "per_core",
    "read",
    "temperatures",
]

_CONTAINER = re.compile(r"docker|kubepods|containerd|libpod|lxc")


def read(path: Path) -> str | None:
    """A small file's text without what surrounds it; device trees end theirs with a NUL."""
    try:
        return path.read_text(errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A file that holds one integer."""
    text = read(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def os_name(root: Path) -> str | None:
    """The system's name for people, such as ``Ubuntu 22.04.5 LTS`` (os-release(5))."""
    found = re.search(
        r'^PRETTY_NAME="?([^"\n]*)', read(root / "etc/os-release") or "", re.MULTILINE
    )
    return found[1] if found else None


def in_container(root: Path) -> bool | None:
    """Whether this is a container, by its marker file or the first process's cgroup."""
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    groups = read(root / "proc/1/cgroup")
    return None if groups is None else _CONTAINER.search(groups) is not None


def cores(root: Path) -> list[Path]:
    """The processor's cores as folders of sysfs, in order."""
    folder = root / "sys/devices/system/cpu"
    return sorted(
        folder.glob("cpu[0-9]*"),
        key=lambda path: int(path.name[3:]) if path.name[3:].isdigit() else 0,
    )


def per_core(root: Path, name: str) -> list[str] | None:
    """A cpufreq file's text for each core (kernel.org, admin-guide/pm/cpufreq), or None."""
    found = [read(core / "cpufreq" / name) for core in cores(root)]
    texts = [text for text in found if text is not None]
    return texts or None


def temperatures(root: Path) -> dict[str, float] | None:
    """Thermal zones in degrees Celsius by type; a zone that is switched off does not answer."""
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value, kind = number(zone / "temp"), read(zone / "type") or zone.name
        if value is not None:
            found[kind if kind not in found else f"{kind} {zone.name}"] = value / 1000
    return found or None


def meminfo(root: Path) -> dict[str, int]:
    """The sizes of ``/proc/meminfo`` (proc(5)) by name, MiB."""
    lines = re.findall(r"^(\w+):\s*(\d+) kB", read(root / "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) // 1024 for name, kilobytes in lines}
