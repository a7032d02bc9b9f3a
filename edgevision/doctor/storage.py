"""Probes of memory and of the folders that edgevision writes to."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from edgevision.doctor import Finding, Remark
from edgevision.doctor.machine import Machine
from edgevision.system_files import meminfo
from edgevision.text import printable

__all__ = ["probe_disk", "probe_memory"]

#: MiB. A small detector in INT8 with its engine takes a few hundred; building an engine, thousands.
_LEAST_MEMORY, _GOOD_MEMORY = 400, 1500
_LEAST_DISK, _GOOD_DISK = 200, 2000


def probe_memory(machine: Machine) -> Finding:
    """What there is and what is free; a Jetson's GPU takes from the same."""
    sizes = meminfo(machine.root)
    facts = {
        "total_mb": sizes.get("MemTotal"),
        "available_mb": sizes.get("MemAvailable"),
        "swap_mb": sizes.get("SwapTotal"),
    }
    total, available = facts["total_mb"], facts["available_mb"]
    if total is None or available is None:
        return Finding("not told", facts, known=False)
    text = f"{available:,} of {total:,} MiB are free"
    text += f", {facts['swap_mb']:,} MiB of swap" if facts["swap_mb"] else ", no swap"
    if available >= _GOOD_MEMORY:
        return Finding(text, facts)
    fix = "sudo systemctl isolate multi-user.target  # ends the desktop" if machine.jetson else _TOP
    few = f"only {available:,} MiB of memory are free"
    building = f"{few}: building an engine may take more"
    if available < _LEAST_MEMORY:
        return Finding(text, facts, (Remark(few, fix),))
    return Finding(text, facts, (Remark(building, fix, advice=True),))


_TOP = "ps aux --sort=-rss | head  # who has it"


def probe_disk(machine: Machine) -> Finding:
    """Can the folders be written, and is there room; nothing is made or written for it."""
    facts = {name: _folder(machine, path) for name, path in machine.folders.items()}
    remarks = [r for name, fact in facts.items() for r in _remarks(name, fact)]
    # Folders on the same disk are told once, by the first of them.
    told = {
        fact["disk"]: f"{_TITLES[name]} {_size(fact)}" for name, fact in reversed(facts.items())
    }
    text = ", ".join(reversed(told.values())) or "no folders"
    return Finding(text, facts, tuple(dict.fromkeys(remarks)))


def _folder(machine: Machine, path: Path | None) -> dict[str, Any]:
    """A folder, or the one it would be made in."""
    if path is None:
        return {"path": None, "exists": False, "writable": False, "free_mb": None, "disk": None}
    place = next((p for p in (path, *path.parents) if _seen(p)), path)
    try:
        disk = os.statvfs(place)
        free, number = disk.f_bavail * disk.f_frsize // 2**20, place.stat().st_dev
    except (OSError, AttributeError):
        free, number = None, None
    return {
        "path": str(path),
        "exists": place == path and path.is_dir(),
        "writable": place.is_dir() and machine.access(place, os.W_OK | os.X_OK),
        "free_mb": free,
        "disk": number,
    }


def _seen(path: Path) -> bool:
    """Whether it is there; what lies in a folder that this user may not enter cannot be told."""
    try:
        return path.exists()
    except OSError:
        return False


def _size(fact: dict[str, Any]) -> str:
    free = fact["free_mb"]
    room = "unknown room" if free is None else f"{free / 1024:.1f} GiB free"
    return f"{printable(fact['path'] or 'nowhere', 40)}: {room}"


def _remarks(name: str, fact: dict[str, Any]) -> list[Remark]:
    path, title = fact["path"], _TITLES[name]
    if path is None:
        text = f"there is no {title}: the user has no home folder"
        return [Remark(text, f"export {_VARIABLES.get(name, 'HOME')}=/path/you/can/write")]
    if not fact["writable"]:
        text = f"the {title} cannot be written: {path}"
        fix = f"sudo install -d -o $USER {shlex.quote(path)}"
        if name in _VARIABLES:
            fix += f"  # or: export {_VARIABLES[name]}=/path/you/can/write"
        return [Remark(text, fix)]
    free = fact["free_mb"]
    if free is None or free >= _GOOD_DISK:
        return []
    text = f"only {free:,} MiB are free for the {title} ({path})"
    fix = f"df -h {shlex.quote(path)} && sudo apt clean"
    return [Remark(text, fix, advice=free >= _LEAST_DISK)]


_TITLES = {"cache": "cache folder", "state": "state folder", "engines": "engine folder"}
_VARIABLES = {"cache": "XDG_CACHE_HOME", "state": "XDG_STATE_HOME"}
