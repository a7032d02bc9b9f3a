"""Where the time goes: the stages of all records beside each other, and of one as a waterfall."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.charts.bars import stacked, waterfall_bar
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, mapping, number, text
from edgevision.benchmarks.report.html.figures import bare, percent
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import legend
from edgevision.benchmarks.report.html.scales import from_zero
from edgevision.benchmarks.report.html.tables import row_head, table
from edgevision.clock import STAGES

__all__ = ["stage_means", "stages_compared", "waterfall"]

#: A stage with less of the whole is in the record, not in the picture.
_LEAST_SHARE = 0.0005


def stage_means(entry: Entry) -> dict[str, float]:
    """Stage → mean milliseconds, in the order of a frame's way; those that took no time are left out."""
    every = mapping(entry.record.get("stages_ms"))
    known = {name: number(dig(every, name, "mean")) for name in STAGES if name in every}
    found = {name: value for name, value in known.items() if value is not None and value > 0}
    total = sum(found.values())
    return {name: value for name, value in found.items() if value >= _LEAST_SHARE * total}


def stages_compared(entries: Sequence[Entry]) -> Markup | None:
    """One bar a record: the means of its stages, which add up to the mean latency."""
    means = {entry.number: stage_means(entry) for entry in entries}
    shown = [entry for entry in entries if means[entry.number]]
    if not shown:
        return None
    scale = from_zero(max(sum(means[entry.number].values()) for entry in shown))
    names = [name for name in STAGES if any(name in means[entry.number] for entry in shown)]
    rows = [
        [
            row_head(entry),
            stacked(scale, [(n, v, f"stage-{n}") for n, v in means[entry.number].items()]),
            *(bare(means[entry.number].get(name)) for name in names),
            bare(sum(means[entry.number].values())),
        ]
        for entry in shown
    ]
    heads = ["run", "mean time of each stage", *(f"{name}, ms" for name in names), "sum, ms"]
    return element(
        "div",
        legend((f"stage-{name}", name) for name in names),
        table("Mean time of each stage", heads, rows, wide=1, silent=True),
    )


def waterfall(entry: Entry) -> Markup | None:
    """One row a stage, each beginning where the one before ended, on the scale of the means."""
    means = stage_means(entry)
    if not means:
        return None
    total = sum(means.values())
    scale = from_zero(total)
    rows: list[list[str]] = []
    start = 0.0
    for name, mean in means.items():
        values = mapping(dig(entry.record, "stages_ms", name))
        quoted = [bare(number(values.get(key))) for key in ("p50", "p90", "p99", "max")]
        drawn = waterfall_bar(scale, start, mean, f"stage-{name}")
        rows.append([text(name), drawn, bare(mean), *quoted, percent(mean / total)])
        start += mean
    heads = ["stage", "mean, one after the other", "mean, ms", "p50", "p90", "p99", "max", "share"]
    return table("Stages: means add up to the whole, percentiles do not", heads, rows, wide=1)
