"""Records in a file that only grows: one JSON object a line, each written whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevision.errors import OutputError

__all__ = ["History", "append_record", "by_configuration", "read_history"]

_HINT = "make room, or choose another place"


@dataclass(frozen=True, slots=True)
class History:
    """What a file of records holds.

    Attributes:
        records: Each of them, in the file's order.
        damaged: Numbers of the lines that are no record: cut by a crash, or written by others.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


def read_history(path: Path) -> History:
    """Every record of a file; a line that is none is left out and counted.

    Args:
        path: A file of lines; one that is not there yet is an empty history.

    Raises:
        OutputError: It cannot be read.
    """
    history = History()
    if not path.exists():
        return history
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                record = _record(line)
                if record is not None:
                    history.records.append(record)
                elif line.strip():
                    history.damaged.append(number)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}", hint=_HINT) from error
    return history


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Adds a record as one whole line, and sees to it that the line is on the disk.

    Where a crash cut the last line, that line is ended first: it stays, and is no record. Several processes may
    append to one file.

    Raises:
        OutputError: There is no room or no permission; what could not be written whole is taken back.
    """
    line = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    try:
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
                line = b"\n" + line
            try:
                _write(file.fileno(), line)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", hint=_HINT) from error


def by_configuration(records: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The records of each configuration of each model on each source, in the order of the first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        told = (record["bundle"].get("name"), record.get("instance"), record["source"].get("uri"))
        found.setdefault(json.dumps(told, sort_keys=True), []).append(record)
    return list(found.values())


def _write(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("schema"), int):
        return None
    whole = all(isinstance(data.get(key), dict) for key in ("bundle", "source", "environment"))
    return data if whole else None
