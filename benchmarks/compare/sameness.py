"""Whether two records may be set against each other: what is different about how and where they were made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "differences"]

_Record = Mapping[str, Any]
#: What a server run writes beside what it was told: it is never twice the same.
_FOUND_OUT = ("overruns", "searched")
_SAID_ELSEWHERE = ("variant", "precision", "backend", "compute", "batch", "size", "threads", "hint")
#: Memory is sold in steps that are larger. What a kernel keeps for itself varies, and early records have MiB for MB.
_MEMORY, _SAME_MEMORY = "environment.memory_mb", 1.05


@dataclass(frozen=True, slots=True)
class Difference:
    """One fact that is not the same in both.

    Attributes:
        key: Where in the record.
        base: What the base says.
        new: What the new one says.
        refused: With it the two are no comparison, unless the user says so; else it is only told.
    """

    key: str
    base: Any
    new: Any
    refused: bool

    def __str__(self) -> str:
        return f"{self.key}: {_text(self.base)} → {_text(self.new)}"

    def to_json(self) -> dict[str, Any]:
        return {"key": self.key, "base": self.base, "new": self.new, "refused": self.refused}


def differences(base: _Record, new: _Record) -> list[Difference]:
    """What differs, what forbids a comparison first. What one of the two does not know is no difference."""
    found = []
    for facts, refused in ((_CONDITIONS, True), (_CIRCUMSTANCES, False)):
        for key, read in facts.items():
            found.append(Difference(key, read(base), read(new), refused))
    was, now = (_libraries(record) for record in (base, new))
    found += [
        Difference(f"environment.libraries.{name}", was[name], now[name], False)
        for name in sorted(was.keys() & now.keys())
    ]
    return [d for d in found if d.base is not None and d.new is not None and not _same(d)]


def _same(one: Difference) -> bool:
    if one.key != _MEMORY or not all(isinstance(mb, int | float) for mb in (one.base, one.new)):
        return bool(one.base == one.new)
    return bool(max(one.base, one.new) <= _SAME_MEMORY * min(one.base, one.new))


def _at(path: str) -> Callable[[_Record], Any]:
    """Reads ``a.b.c`` of a record; None where it ends early."""

    def read(record: _Record) -> Any:
        value: Any = record
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    return read


def _frames(record: _Record) -> str | None:
    """What was looked at, wherever the file lies."""
    source = record.get("source") or {}
    uri = source.get("uri")
    if not isinstance(uri, str):
        return None
    name = uri if re.match(r"\w+://", uri) else uri.rstrip("/").rpartition("/")[2]
    if name.startswith("memory://"):  # the bundle's own golden frames, whatever it is called
        name = "memory://golden"
    return f"{name}, {source.get('width')}×{source.get('height')}"


def _options(record: _Record) -> dict[str, Any] | None:
    """The user's choices that the record says nowhere else."""
    found = record.get("options")
    if not isinstance(found, Mapping):
        return None
    return {key: value for key, value in found.items() if key not in _SAID_ELSEWHERE}


def _told(record: _Record) -> dict[str, Any] | None:
    """What the scenario was told, without what it found out."""
    found = record.get("scenario_options")
    if not isinstance(found, Mapping):
        return None
    return {key: value for key, value in found.items() if key not in _FOUND_OUT}


def _libraries(record: _Record) -> dict[str, Any]:
    found = _at("environment.libraries")(record)
    return dict(found) if isinstance(found, Mapping) else {}


def _read_all(*paths: str) -> dict[str, Callable[[_Record], Any]]:
    return {path: _at(path) for path in paths}


#: Another machine, another way to measure, or another thing.
_CONDITIONS = {
    **_read_all(
        "schema", "bundle.name", "variant", "precision", "backend", "compute",
        "instance.batch", "instance.size", "samples_per_query", "hint", "in_flight", "threads.engine",
        "threads.opencv", "scenario", "boundary.kind",
    ),
    "scenario_options": _told,
    "source": _frames,
    **_read_all(
        "engine.device", "environment.os.arch", "environment.cpu.name",
        "environment.cpu.cores_usable", "environment.board", "environment.jetson.power_mode",
        "environment.cpu.governor", "environment.cpu.boost", "environment.cpu.max_mhz",
    ),
}  # fmt: skip
#: What one may want to compare, or what rarely matters: told, not refused.
_CIRCUMSTANCES = {"options": _options} | _read_all(
    "bundle.identity", "engine.library", "engine.version", "environment.nvidia_driver",
    "environment.jetson.l4t", "environment.python", "environment.os.name", "environment.os.kernel",
    "environment.os.container", "environment.os.virtual_machine", _MEMORY,
)  # fmt: skip


def _text(value: Any) -> str:
    """For people: a hash's beginning, a list's different members."""
    if isinstance(value, list):
        return ", ".join(map(str, dict.fromkeys(value)))
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,}", text) else text
