"""What happened when: latencies over the run, with the machine's sensors below on the same axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.report.html.charts.lost import losses_of, lost_panel
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.envelope import envelope_of, thinned
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.plot import (
    Plot,
    captioned,
    columns_path,
    figure,
    layer,
    legend,
)
from edgevision.benchmarks.report.html.scales import Scale, around, from_zero
from edgevision.benchmarks.report.html.sensors import (
    Panel,
    panels_of,
    seconds_of,
    throttled_spans,
)

__all__ = ["timeline"]

#: Room around temperatures, so that a tenth of a degree does not look like a mountain.
_DEGREES = 5.0
#: So many sensors have as many points as the latency; more of them share as many.
_FULL_LINES = 6
#: Cells of lost frames for each point of a line.
_CELLS = 3
_TIME = "seconds since the first counted query began"
_QUERY = "number of the query (the record does not say when each began)"


@dataclass(frozen=True, slots=True)
class _Axis:
    """The common x axis; ``throttled`` are the times in which the machine said so."""

    scale: Scale
    title: str
    throttled: Sequence[tuple[float, float]] = ()


def timeline(entry: Entry, points: int) -> Markup:
    """Latency on top, what cameras lost, then a panel for each kind of sensor that was read."""
    seconds = seconds_of(entry.record)
    panels = panels_of(entry.record)
    axis = _time_axis(entry, seconds)
    top = axis if entry.begins_s is not None else _query_axis(entry)
    timed = top is axis
    shades = _shades(entry, axis, points)
    again = [element("use", href=f"#{name}") for name in shades]  # drawn once, shown on every panel
    first, last = list(shades.values()), len(panels) - 1
    lost = losses_of(entry.record) if timed else None
    below = bool(panels) or lost is not None
    lines = sum(len(panel.series) for panel in panels)
    each = points * _FULL_LINES // max(_FULL_LINES, lines)
    title = "" if panels else axis.title
    return figure(
        _caption(entry, points),
        _key(axis, entry),
        _latency(entry, top, points, first if timed else [], titled=not (timed and below)),
        None
        if lost is None
        else lost_panel(entry, lost, axis.scale, title, points * _CELLS, again),
        *(
            _panel(panel, seconds, axis, each, again if n or timed else first, titled=n == last)
            for n, panel in enumerate(panels)
        ),
        class_="timeline",
    )


def _caption(entry: Entry, points: int) -> Markup:
    head = f"{entry.measure.capitalize()} over the run, and the machine meanwhile"
    if len(entry.samples_ms) <= points:
        return captioned(head, "The line goes through every query.")
    return captioned(
        head,
        f"Of each of {points} equal spans: the median as a line, the area from the fastest to the "
        "slowest query.",
    )


def _key(axis: _Axis, entry: Entry) -> Markup | None:
    items = [("throttled", "throttled")] if axis.throttled else []
    if axis.scale.low < 0 and entry.begins_s is not None:
        items.append(("before", "before the first counted query"))
    return legend(items) if items else None


def _time_axis(entry: Entry, seconds: NDArray[np.float64]) -> _Axis:
    ends = [0.0, 1e-3, *seconds[-1:].tolist()]
    if entry.begins_s is not None:
        ends.append(float((entry.begins_s + entry.samples_ms / 1e3).max()))
    scale = Scale(min(0.0, *ends, *seconds.tolist()), max(*ends, *seconds.tolist()))
    return _Axis(scale, _TIME, throttled_spans(entry.record))


def _query_axis(entry: Entry) -> _Axis:
    return _Axis(Scale(0, max(1, len(entry.samples_ms) - 1)), _QUERY)


def _latency(
    entry: Entry, axis: _Axis, points: int, shades: Sequence[Markup], *, titled: bool
) -> Markup:
    y = entry.samples_ms
    x = entry.begins_s if entry.begins_s is not None else np.arange(len(y), dtype=np.float64)
    # Results of several cameras come in another order than their frames were due.
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    scale = around(float(y.min()), float(y.max()))
    title = f"{entry.measure}, ms{' (logarithmic)' if scale.log else ''}"
    plot = Plot(axis.scale, scale, axis.title if titled else "", title, "middle")
    says = (
        f"{entry.measure.capitalize()} of {entry.tag} over the run, from {y.min():.3g} to {y.max():.3g} ms, median "
        f"{np.median(y):.3g} ms"
    )
    return plot.draw(says, layer(*shades, *_drawn(plot, entry, x, y, points)))


def _drawn(
    plot: Plot, entry: Entry, x: NDArray[np.float64], y: NDArray[np.float64], points: int
) -> list[Markup]:
    if len(y) <= points:
        return [plot.line(x, y, f"line thin {entry.kind}")]
    found = envelope_of(x, y, points)
    return [
        plot.band(found.x, found.low, found.high, f"fill {entry.kind}"),
        plot.line(found.x, found.middle, f"line {entry.kind}"),
    ]


def _panel(
    panel: Panel,
    seconds: NDArray[np.float64],
    axis: _Axis,
    points: int,
    shades: Sequence[Markup],
    *,
    titled: bool,
) -> Markup:
    least = min(float(np.nanmin(series.values)) for series in panel.series)
    most = max(float(np.nanmax(series.values)) for series in panel.series)
    y = Scale(least - _DEGREES, most + _DEGREES) if panel.unit == "°C" else from_zero(most)
    plot = Plot(axis.scale, y, axis.title if titled else "", "", "low", y_most=3)
    lines = [
        plot.line(*thinned(*series.line(seconds), points), f"line thin s{n}")
        for n, series in enumerate(panel.series)
    ]
    names = [(f"s{n}", series.name) for n, series in enumerate(panel.series)]
    more = f" ({panel.left_out} more in the record)" if panel.left_out else ""
    key = legend(names) if len(names) > 1 or names[0][1] not in panel.title else None
    head = element("div", f"{panel.title}, {panel.unit}{more}", key, class_="y-title")
    says = f"{panel.title} in {panel.unit}, from {least:.4g} to {most:.4g}"
    return joined([head, plot.draw(says, layer(*shades, *lines))])


def _shades(entry: Entry, axis: _Axis, points: int) -> dict[str, Markup]:
    """Id → the time before the first counted query, and those in which the machine was throttled."""
    spans = {
        "throttled": _closed(axis.scale.at(axis.throttled).tolist(), 1 / points),
        "before": [(0.0, float(axis.scale.at(0.0)))] if axis.scale.low < 0 else [],
    }
    return {
        f"{kind}{entry.number}": element(
            "path", id=f"{kind}{entry.number}", d=columns_path(found), class_=kind
        )
        for kind, found in spans.items()
        if found
    }


def _closed(spans: list[list[float]], gap: float) -> list[tuple[float, float]]:
    """Spans, those that are nearer to each other than a point of a line put together."""
    found: list[tuple[float, float]] = []
    for start, end in spans:
        if found and start - found[-1][1] < gap:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found
