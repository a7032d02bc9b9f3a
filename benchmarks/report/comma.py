"""Records as CSV: one a line, one figure a column, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from edgevision.benchmarks.report.rows import COLUMNS

__all__ = ["csv_text"]

#: A spreadsheet takes a text that begins like this for a formula, and runs it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """All columns, whether they differ or not; numbers as they are in the records, an empty field for none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in COLUMNS])
    writer.writerows([_field(column.of(record)) for column in COLUMNS] for record in records)
    return file.getvalue()


def _field(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
