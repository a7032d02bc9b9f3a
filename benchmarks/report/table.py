"""Several records as one table for the terminal: what differs and what counts, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgevision.benchmarks.repeated import told_of_runs
from edgevision.benchmarks.report.rows import COLUMNS, cells, distinct, ranked
from edgevision.text import counted, printable

__all__ = ["common", "notes", "table_text"]

_WIDEST_CELL = 24
#: Texts that say nothing without the column's title.
_TITLED = ("compute", "hint")


def table_text(
    records: Sequence[Mapping[str, Any]], skipped: Sequence[tuple[str, str]] = ()
) -> str:
    """The whole table, with what all records share above it and what to know below.

    Args:
        records: At least one.
        skipped: What could not be measured, and why.
    """
    records = ranked(records)
    columns = distinct(records)
    rows = [["#", *(column.title for column in columns)]]
    rows += [
        [str(number), *(printable(cell, _WIDEST_CELL) for cell in cells(record, columns))]
        for number, record in enumerate(records, 1)
    ]
    right = [True, *(column.digits is not None for column in columns)]
    parts = [common(records), "", *_lines(rows, right)]
    parts += [f"{which}: {text}" for which, text in notes(records)]
    if skipped:
        parts.append(
            f"not measured: {counted(len(skipped), 'combination')}, as told before the run"
        )
    return "\n".join(parts)


def common(records: Sequence[Mapping[str, Any]]) -> str:
    """What all of them have in common, in one line."""
    told = [
        f"{column.title} {value}"
        if column.digits is not None or column.key in _TITLED
        else str(value)
        for column in COLUMNS
        if column.in_tables == "varies"
        and len({str(column.of(record)) for record in records}) == 1
        and (value := column.of(records[0])) not in (None, "")
    ]
    return printable(" · ".join(told), 200)


def notes(records: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What must be known of single rows, and of which: why one is invalid, and what its flags say."""
    found: dict[str, list[int]] = {}
    for number, record in enumerate(records, 1):
        reason = record.get("invalid_reason")
        texts = [*([reason] if reason else []), *(f["text"] for f in record.get("flags") or [])]
        texts += told_of_runs(record)
        for text in dict.fromkeys(printable(str(text), 400) for text in texts):
            found.setdefault(text, []).append(number)
    return [(", ".join(map(str, numbers)), text) for text, numbers in found.items()]


def _lines(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(right))]
    lines = []
    for row in rows:
        parts = [
            text.rjust(width) if at_right else text.ljust(width)
            for text, width, at_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    return lines
