"""A folder of a benchmark: its records as they come, and the reports that are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgevision.benchmarks.report.comma import csv_text
from edgevision.benchmarks.report.markdown import markdown_text
from edgevision.benchmarks.report.rows import ranked
from edgevision.errors import OutputError
from edgevision.whole_file import write_whole

__all__ = ["JOURNAL", "REPORTS", "claim_folder", "write_reports"]

JOURNAL = "records.jsonl"
REPORTS = ("report.html", "report.md", "records.csv")


def claim_folder(folder: Path) -> Path:
    """Makes the folder if need be, and returns where its records go.

    Raises:
        OutputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / JOURNAL).open("ab").close()
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror}", hint="choose another folder"
        ) from error
    return folder / JOURNAL


def write_reports(
    folder: Path,
    records: Sequence[Mapping[str, Any]],
    title: str,
    skipped: Sequence[tuple[str, str]] = (),
    all_runs: Sequence[Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Writes all reports of these records, each whole or not at all.

    Args:
        folder: It exists.
        records: At least one.
        title: Of the pages.
        skipped: What could not be measured, and why.
        all_runs: What the CSV holds; None is ``records``, which else speak for several runs each.

    Raises:
        OutputError: There is no room or no permission.
    """
    from edgevision.benchmarks.report.html import html_report

    texts = (
        html_report(ranked(records), title),  # numbered as in the other tables
        markdown_text(records, title, skipped),
        csv_text(records if all_runs is None else all_runs),
    )
    places = [folder / name for name in REPORTS]
    for place, text in zip(places, texts, strict=True):
        _write(place, text)
    return places


def _write(place: Path, text: str) -> None:
    try:
        write_whole(place, text.encode("utf-8", "backslashreplace"), mode=0o644)
    except OSError as error:
        raise OutputError(
            f"{place} cannot be written: {error.strerror}", hint="make room"
        ) from error
