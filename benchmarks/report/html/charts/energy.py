"""Joules a frame, where the machine tells its power."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.charts.bars import bar
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, number, text
from edgevision.benchmarks.report.html.figures import bare, digits
from edgevision.benchmarks.report.html.markup import Markup
from edgevision.benchmarks.report.html.scales import from_zero
from edgevision.benchmarks.report.html.tables import row_head, table

__all__ = ["energies", "joules_per_frame"]


def joules_per_frame(entry: Entry) -> float | None:
    """What the record says; None where power was not read."""
    return number(dig(entry.record, "energy", "joules_per_frame"))


def energies(entries: Sequence[Entry]) -> Markup | None:
    """One bar a record."""
    known = [(e, joules) for e in entries if (joules := joules_per_frame(e)) is not None]
    if not known:
        return None
    scale = from_zero(max(joules for _, joules in known))
    rows = [
        [
            row_head(entry),
            bar(scale, max(0.0, joules), f"fill-solid {entry.kind}"),
            digits(joules),
            bare(number(dig(entry.record, "energy", "mean_watts"))),
            bare(number(dig(entry.record, "energy", "joules"))),
            text(dig(entry.record, "energy", "source"), 120),
        ]
        for entry, joules in known
    ]
    heads = ["run", "energy a frame", "J a frame", "mean, W", "whole run, J", "read from"]
    return table("Energy", heads, rows, wide=1, silent=True)
