"""The table of all runs: what was measured, whether it may be quoted, and the figures beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgevision.benchmarks.report.html.charts.accuracy import accuracy_of, metric_of
from edgevision.benchmarks.report.html.charts.bars import span
from edgevision.benchmarks.report.html.charts.energy import joules_per_frame
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, number
from edgevision.benchmarks.report.html.figures import NONE, digits
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.scales import Scale, around
from edgevision.benchmarks.report.html.tables import linked, swatch

__all__ = ["summary"]
_LEGEND = (
    "Latencies: a line from the fastest to the slowest query, a box from p50 to p99, or to the "
    "highest percentile that may be quoted. A dash: too few queries, or not measured."
)


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of numbers; one that is empty for all runs is left out."""

    head: str
    unit: str
    of: Callable[[Entry], float | None]
    shown: Callable[[float], str] = digits
    after: Callable[[Entry], str] | None = None

    @property
    def title(self) -> str:
        return f"{self.head}, {self.unit}" if self.unit else self.head


def _latency(name: str) -> _Column:
    return _Column(name, "ms", lambda entry: entry.latency(name))


def _fact(head: str, unit: str, *keys: str, shown: Callable[[float], str] = digits) -> _Column:
    return _Column(head, unit, lambda entry: number(dig(entry.record, *keys)), shown)


def _dropped(entry: Entry) -> float | None:
    rate = number(dig(entry.record, "camera", "drop_rate"))
    return None if rate is None else 100 * rate


_COLUMNS = (
    _latency("p50"),
    _latency("p90"),
    _latency("p99"),
    _latency("max"),
    _fact("throughput", "frames/s", "throughput_fps"),
    _Column("accuracy", "", accuracy_of, "{:.4f}".format, metric_of),
    _Column("energy", "J/frame", joules_per_frame),
    _fact("measured / floor", "×", "floor", "measured_over_floor"),
    _Column("dropped", "% of frames", _dropped),
    _fact("runs", "", "runs", "count", shown="{:,.0f}".format),
    _fact("spread of runs", "%", "runs", "spread_percent", shown="{:.1f}".format),
    _fact("peak memory", "MB", "peak_rss_mb", shown="{:,.0f}".format),
    _fact("queries", "", "queries", shown="{:,.0f}".format),
)


def summary(entries: Sequence[Entry]) -> Markup:
    """One row a run, sortable where there is a script."""
    columns = [c for c in _COLUMNS if any(c.of(entry) is not None for entry in entries)]
    scale = _scale(entries)
    heads = [_head("run", "text"), _head("verdict", "text")]
    if scale is not None:
        title = f"latencies{', logarithmic' if scale.log else ''}"
        heads.append(element("th", title, scope="col", class_="wide"))
    heads += [_head(column.title, "number") for column in columns]
    whole = element(
        "table",
        element("caption", "All runs", class_="silent"),
        element("thead", element("tr", *heads)),
        element("tbody", *(_row(entry, columns, scale) for entry in entries)),
        class_="summary",
    )
    return joined(
        [
            element(
                "div", whole, class_="scroll", role="region", tabindex="0", aria_label="All runs"
            ),
            element("p", _LEGEND, class_="hint roomy") if scale is not None else None,
        ]
    )


def _scale(entries: Sequence[Entry]) -> Scale | None:
    known = [entry.sorted_ms for entry in entries if len(entry.sorted_ms)]
    return (
        around(min(float(s[0]) for s in known), max(float(s[-1]) for s in known)) if known else None
    )


def _head(title: str, kind: str) -> Markup:
    return element(
        "th", element("button", title, type="button"), scope="col", class_=f"sorts {kind}"
    )


def _row(entry: Entry, columns: Sequence[_Column], scale: Scale | None) -> Markup:
    verdict = element("span", entry.label, class_=f"badge {entry.verdict}")
    cells = [element("td", verdict, data_v=f"{entry.verdict} {entry.number:06d}")]
    if scale is not None:
        cells.append(element("td", span(entry, scale), class_="wide"))
    cells += [_cell(column, entry) for column in columns]
    name = element(
        "th",
        _box(entry) if len(entry.samples_ms) else None,
        swatch(entry),
        " ",
        linked(entry),
        scope="row",
        data_v=f"{entry.number:06d}",
    )
    return element("tr", name, *cells, data_run=entry.number, class_=entry.verdict)


def _box(entry: Entry) -> Markup:
    return element("input", type="checkbox", checked=True, aria_label=f"show {entry.tag} in charts")


def _cell(column: _Column, entry: Entry) -> Markup:
    value = column.of(entry)
    if value is None:
        return element("td", NONE, class_="number none")
    unit = element("small", f" {column.after(entry)}") if column.after else None
    return element("td", column.shown(value), unit, class_="number", data_v=repr(value))
