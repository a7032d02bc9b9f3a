"""How many queries took at most so long, and how many at least: the distribution and its tail."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import Plot, at, figure, layer
from edgevision.benchmarks.report.html.scales import Scale, around

__all__ = ["distribution", "tail"]

#: Names are written on the lines between these heights, each at its own.
_LOWEST_NAME, _HIGHEST_NAME = 0.25, 0.85


def distribution(entries: Sequence[Entry], points: int) -> Markup:
    """The share of queries that took at most so long."""
    plot = Plot(
        _latencies(entries),
        Scale(0, 1),
        _x_title(entries),
        "",
        y_ticks=[(n / 4, f"{25 * n}%") for n in range(5)],
    )
    lines = [_step(plot, entry, points) for entry in entries]
    heights = np.linspace(_HIGHEST_NAME, _LOWEST_NAME, len(entries))
    names = [
        _name(plot, entry, float(entry.sorted_ms[int(height * len(entry.sorted_ms))]), height)
        for entry, height in zip(entries, heights.tolist(), strict=True)
        if entry.colour is not None
    ]
    says = "Cumulative distribution. " + _in_words(entries)
    return figure(
        "Share of queries that took at most so long", plot.draw(says, layer(*lines), *names)
    )


def tail(entries: Sequence[Entry], points: int) -> Markup:
    """The share of queries that took at least so long, on a logarithmic axis."""
    decades = max(2, math.ceil(math.log10(max(len(entry.sorted_ms) for entry in entries))))
    ticks = [(1 - n / decades, f"{100 / 10**n:g}%") for n in range(decades + 1)]
    rarity = Scale(10.0**-decades, 1.0, log=True)
    plot = Plot(_latencies(entries), rarity, _x_title(entries), "", y_ticks=ticks)
    lines = [_tail_line(plot, entry, points) for entry in entries]
    says = "Share of queries that took at least so long, logarithmic. " + _in_words(entries)
    return figure(
        "Share of queries that took at least so long: the tail",
        plot.draw(says, layer(*lines)),
    )


def _x_title(entries: Sequence[Entry]) -> str:
    return f"{' or '.join(sorted({entry.measure for entry in entries}, reverse=True))}, ms"


def _latencies(entries: Sequence[Entry]) -> Scale:
    least = min(float(entry.sorted_ms[0]) for entry in entries)
    return around(least, max(float(entry.sorted_ms[-1]) for entry in entries))


def _step(plot: Plot, entry: Entry, points: int) -> Markup:
    """Each point is a sample; with few of them every sample is one."""
    ordered = entry.sorted_ms
    ranks = np.unique(np.linspace(0, len(ordered) - 1, min(points, len(ordered))).astype(np.int64))
    shares = np.concatenate([[0.0], (ranks + 1) / len(ordered)])
    return plot.line(np.concatenate([ordered[:1], ordered[ranks]]), shares, f"line {entry.kind}")


def _tail_line(plot: Plot, entry: Entry, points: int) -> Markup:
    """Each point is a sample: the rarer, the nearer to each other."""
    ordered = entry.sorted_ms
    n = len(ordered)
    slower = np.unique(np.geomspace(1, n, min(points, n)).astype(np.int64))[::-1]
    return plot.line(ordered[n - slower], slower / n, f"line {entry.kind}")


def _name(plot: Plot, entry: Entry, x: float, y: float) -> Markup:
    place = float(plot.x.at(x))
    return element(
        "text",
        entry.tag,
        x=at(place),
        y=at(1 - y),
        dx="6",
        dy="4",
        class_=f"name {entry.kind}",
    )


def _in_words(entries: Sequence[Entry]) -> str:
    parts = [
        f"{entry.tag} {entry.name}: half within {np.median(entry.sorted_ms):.3g} ms, "
        f"slowest {entry.sorted_ms[-1]:.3g} ms"
        for entry in entries[:8]
    ]
    return "; ".join(parts) + "."
