"""The shape of one record's latencies, with the percentiles that may be quoted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.figures import percent, quantity
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import Plot, at, captioned, figure, layer
from edgevision.benchmarks.report.html.scales import Scale, from_zero

__all__ = ["histogram"]

_BINS = 60
#: Slower ones are so few and so far off that they would press all others into one bin.
_SHOWN_SHARE = 0.995
#: Percentiles with a line; each has its name at a height of its own, for they may be close together.
_MARKED, _NAME_HIGH, _RIGHT = ("p50", "p90", "p99"), 13, 0.9


def histogram(entry: Entry) -> Markup:
    """Bins of equal width; the few slowest queries are counted in words, and said where they lie."""
    ordered = entry.sorted_ms
    edge = _edge(ordered)
    within = ordered[ordered <= edge]
    counts, edges = np.histogram(within, bins=min(_BINS, max(8, len(ordered) // 8)))
    x = Scale(float(edges[0]), float(edges[-1])) if edges[-1] > edges[0] else Scale(0, 1)
    what = f"{entry.measure}, ms"
    plot = Plot(x, from_zero(float(counts.max())), what, "queries", "middle", y_most=4)
    shape = _outline(plot, counts, edges, f"fill {entry.kind}")
    marks = [part for n, name in enumerate(_MARKED) for part in _mark(plot, entry, name, n)]
    says = f"Histogram of the {entry.measure}: {len(ordered)} queries of {entry.tag} {entry.name}"
    beyond = len(ordered) - len(within)
    more = (
        f"Beyond it: the slowest {beyond:,} ({percent(beyond / len(ordered))}), up to "
        f"{quantity(float(ordered[-1]), 'ms')}."
    )
    return figure(
        captioned(f"Histogram of the {entry.measure}", more if beyond else ""),
        plot.draw(says, layer(shape), *marks),
    )


def _edge(ordered: NDArray[np.float64]) -> float:
    """Where the histogram ends: at the slowest, unless that is far beyond nearly all others."""
    nearly_all = float(ordered[int(_SHOWN_SHARE * (len(ordered) - 1))])
    span = nearly_all - float(ordered[0])
    return nearly_all if float(ordered[-1]) - nearly_all > span / 2 > 0 else float(ordered[-1])


def _outline(
    plot: Plot, counts: NDArray[np.int64], edges: NDArray[np.float64], class_: str
) -> Markup:
    """All bins as one area: up, along, down."""
    return plot.band(
        np.repeat(edges, 2)[1:-1], np.zeros(2 * len(counts)), np.repeat(counts, 2), class_
    )


def _mark(plot: Plot, entry: Entry, name: str, number: int) -> list[Markup]:
    value = entry.latency(name)
    if value is None or not plot.x.low <= value <= plot.x.high:
        return []
    across = float(plot.x.at(value))
    place, before = at(across), across > _RIGHT
    return [
        element("line", x1=place, x2=place, y1="0", y2="100%", class_="mark"),
        element(
            "text",
            name,
            x=place,
            y="0",
            dx="-4" if before else "4",
            dy=str(_NAME_HIGH * (number + 1)),
            class_="mark-name before-it" if before else "mark-name",
        ),
    ]
