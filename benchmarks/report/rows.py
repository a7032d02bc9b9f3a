"""What a table of several records shows of each: one list of columns for the terminal, CSV and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["COLUMNS", "Column", "cells", "distinct", "ranked", "verdict"]

Data = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a record.

    Attributes:
        key: Its name in CSV.
        title: Its name for people.
        of: Its value, None where the record has none.
        digits: Decimals for people; None for text.
        in_tables: ``always``; ``varies`` where not all records have the same; ``any`` where one of them has it;
            ``never``: in CSV alone.
    """

    key: str
    title: str
    of: Callable[[Data], Any]
    digits: int | None = None
    in_tables: str = "never"


def _path(*keys: str) -> Callable[[Data], Any]:
    """The value behind nested keys; None as soon as there is nothing."""

    def of(record: Data) -> Any:
        value: Any = record
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    return of


def _size(record: Data) -> str | None:
    size = _path("instance", "size")(record)
    return None if not size else f"{size[0]}x{size[1]}"


def _threads(record: Data) -> Any:
    used = _path("threads", "engine")(record)
    return _path("instance", "threads")(record) if used is None else used


def verdict(record: Data) -> str:
    """``VALID``, or in a word why not."""
    if record["valid"]:
        return "VALID"
    status = record.get("status", "ok")
    return "INVALID" if status == "ok" else str(status).upper()


def _flags(record: Data) -> str:
    return " ".join(dict.fromkeys(str(flag["kind"]) for flag in record.get("flags") or []))


def _latency(name: str, in_tables: str) -> Column:
    return Column(f"{name}_ms", f"{name} ms", _path("latency_ms", name), 3, in_tables)


COLUMNS = [
    Column("model", "model", _path("bundle", "name"), None, "varies"),
    Column("variant", "variant", _path("variant"), None, "always"),
    Column("precision", "precision", _path("precision")),
    Column("backend", "backend", _path("backend"), None, "always"),
    Column("compute", "compute", _path("compute"), None, "varies"),
    Column("hint", "hint", _path("hint"), None, "varies"),
    Column("threads", "threads", _threads, 0, "varies"),
    Column("batch", "batch", _path("instance", "batch"), 0, "varies"),
    Column("size", "size", _size, None, "varies"),
    Column("scenario", "scenario", _path("scenario"), None, "varies"),
    Column("verdict", "verdict", verdict, None, "always"),
    Column("run", "run", _path("repetition", "number"), 0),
    Column("runs", "runs", _path("runs", "count"), 0, "any"),
    Column("spread_percent", "spread %", _path("runs", "spread_percent"), 1, "any"),
    Column("throughput_fps", "frames/s", _path("throughput_fps"), 1, "always"),
    Column("metric", "result", _path("result", "metric")),
    Column("result", "result", _path("result", "value"), 3),
    _latency("mean", "never"),
    _latency("p50", "always"),
    _latency("p90", "always"),
    _latency("p95", "never"),
    _latency("p99", "always"),
    _latency("max", "never"),
    Column("peak_rss_mb", "MB", _path("peak_rss_mb"), 0, "always"),
    Column("joules_per_frame", "J/frame", _path("energy", "joules_per_frame"), 3, "any"),
    Column("mean_watts", "W", _path("energy", "mean_watts"), 1),
    Column("age_p99_ms", "age p99", _path("camera", "age_ms", "p99"), 1),
    Column("drop_rate", "drop rate", _path("camera", "drop_rate"), 3, "any"),
    Column("measured_over_floor", "× floor", _path("floor", "measured_over_floor"), 2, "any"),
    Column("flags", "flags", _flags, None, "any"),
    Column("queries", "queries", _path("queries"), 0),
    Column("duration_s", "s", _path("duration_s"), 3),
    Column("load_ms", "load ms", _path("load_ms"), 1),
    Column("first_inference_ms", "first ms", _path("first_inference_ms"), 1),
    Column("status", "status", _path("status")),
    Column("invalid_reason", "reason", _path("invalid_reason")),
    Column("source", "source", _path("source", "uri"), None, "varies"),
    Column("bundle_identity", "identity", _path("bundle", "identity")),
    Column("instance_id", "instance", _path("instance", "instance_id")),
    Column("started_at", "started", _path("started_at")),
]


def distinct(records: Sequence[Data]) -> list[Column]:
    """The columns that a table of these records needs."""

    def wanted(column: Column) -> bool:
        values = {str(column.of(record)) for record in records}
        if column.in_tables == "varies":
            return len(values) > 1
        return column.in_tables == "always" or (
            column.in_tables == "any" and values - {"None", ""} != set()
        )

    return [column for column in COLUMNS if wanted(column)]


def ranked(records: Sequence[Data]) -> list[Data]:
    """By model and scenario, in the order they came; within them the fastest first, those without numbers last."""
    order: dict[tuple[Any, Any], int] = {}

    def place(record: Data) -> tuple[int, bool, float]:
        kind = (record["bundle"].get("name"), record["scenario"])
        fps = record.get("throughput_fps")
        return order.setdefault(kind, len(order)), not record["valid"], -(fps or 0.0)

    return sorted(records, key=place)


def cells(record: Data, columns: Sequence[Column]) -> list[str]:
    """The columns' values for people; ``—`` where there is none."""
    return [_cell(column, column.of(record)) for column in columns]


def _cell(column: Column, value: Any) -> str:
    if value is None or value == "":
        return "—"
    if column.digits is not None and isinstance(value, int | float):
        return f"{value:,.{column.digits}f}"
    return str(value)
