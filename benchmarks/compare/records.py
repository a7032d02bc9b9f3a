"""Records as `edgevision bench` wrote them, read back: one file, a matrix, a history or a report's folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgevision.benchmarks.history import read_history
from edgevision.errors import DataError

__all__ = ["instance_key", "read_records", "title"]

Say = Callable[[str], None]

_HINT = "edgevision bench MODEL --output FILE.json writes one"
_FOLDER_FILE = "records.jsonl"
#: What makes two records of one model the same configuration, where an old record does not say it in one place.
_CHOICES = ("variant", "precision", "backend", "compute", "hint", "scenario", "samples_per_query")


def read_records(path: Path, say: Say = lambda _: None) -> list[dict[str, Any]]:
    """All records of a file or a report's folder, in its order.

    Args:
        path: The file or the folder.
        say: Told of lines of a history that are no record, such as one that a crash cut; they are left out.

    Raises:
        DataError: There is no record, or something in it is no record.
    """
    file = path / _FOLDER_FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}", expected="a benchmark's record", hint=_HINT
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is no text", expected="a benchmark's record", hint=_HINT
        ) from error
    records = [_checked(item, f"{file}{where}") for where, item in _items(text, file, say)]
    if not records:
        raise DataError(f"{file} holds no record", hint=_HINT)
    return records


def instance_key(record: Mapping[str, Any]) -> str:
    """What is the same in two records of the same configuration."""
    instance = record.get("instance") or {}
    if instance.get("instance_id"):
        return str(instance["instance_id"])
    choices = {key: record.get(key) for key in _CHOICES} | {"threads": record.get("threads")}
    return json.dumps(choices, sort_keys=True)


def title(record: Mapping[str, Any]) -> str:
    """The configuration in one line."""
    instance = record.get("instance") or {}
    told = [record.get("variant"), record.get("backend")]
    if record.get("compute") != record.get("precision"):
        told.append(record.get("compute"))
    if instance.get("batch") is not None:
        told.append(f"batch {instance['batch']}")
    if instance.get("size") is not None:
        told.append("x".join(map(str, instance["size"])))
    threads = (record.get("threads") or {}).get("engine")
    told += [f"{threads} thread{'' if threads == 1 else 's'}" if threads else None]
    told += [record.get("hint"), record.get("scenario")]
    return " · ".join(str(part) for part in told if part)


def _items(text: str, file: Path, say: Say) -> list[tuple[str, Any]]:
    """Where and what: the file as one JSON text, else as a history."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return _of_history(file, say)
    several = whole.get("records") if isinstance(whole, dict) and "schema" not in whole else whole
    if isinstance(several, list):
        return [(f", record {number}", item) for number, item in enumerate(several, 1)]
    return [("", whole)]


def _of_history(file: Path, say: Say) -> list[tuple[str, Any]]:
    history = read_history(file)
    if history.records and history.damaged:
        numbers = ", ".join(map(str, history.damaged[:5]))
        more = ", …" if len(history.damaged) > 5 else ""
        say(f"{file}: left out, being cut or no record: line {numbers}{more}")
    return [(f", record {number}", item) for number, item in enumerate(history.records, 1)]


def _checked(item: Any, where: str) -> dict[str, Any]:
    """The record, having all that the comparison touches."""
    problem = _problem(item)
    if problem:
        raise DataError(
            f"{where} is no record of a benchmark: {problem}",
            received=", ".join(map(str, item))[:100]
            if isinstance(item, dict)
            else type(item).__name__,
            expected="what edgevision bench --output writes",
            hint=_HINT,
        )
    record: dict[str, Any] = item
    return record


def _problem(item: Any) -> str | None:
    if not isinstance(item, dict):
        return "it is no object"
    if not isinstance(item.get("schema"), int):
        return "it has no 'schema'"
    if "samples_ns" not in item:
        return "it has no 'samples_ns'"
    for key in ("environment", "bundle", "boundary", "threads", "instance", "source", "stages_ns"):
        if not isinstance(item.get(key), dict | None):
            return f"its {key!r} is no object"
    for key in ("samples_ns", "begins_ns"):
        if not _whole_numbers(item.get(key) or []):
            return f"its {key!r} are no whole numbers of nanoseconds"
    if not all(_whole_numbers(values) for values in (item.get("stages_ns") or {}).values()):
        return "its 'stages_ns' are no whole numbers of nanoseconds"
    duration, pictures = item.get("duration_s") or 0.0, item.get("samples_per_query") or 1
    if not isinstance(duration, int | float) or not 0 <= duration < 1e9:
        return "its 'duration_s' is no time"
    if not isinstance(pictures, int) or pictures < 1:
        return "its 'samples_per_query' is no count"
    return None


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, Sequence) and all(
        type(value) is int and abs(value) < 1 << 62 for value in values
    )
