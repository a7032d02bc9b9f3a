"""The roofline: what a machine allows at each intensity, and where the measured runs lie below it.

Williams, Waterman, Patterson: Roofline, Communications of the ACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import mapping, number, text
from edgevision.benchmarks.report.html.figures import digits
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import Plot, at, captioned, dot, figure, layer
from edgevision.benchmarks.report.html.scales import Scale

__all__ = ["roofline"]

#: Room around the points, as a factor.
_ROOM = 4.0


@dataclass(frozen=True, slots=True)
class _Point:
    """One run: FLOP a byte, GFLOP/s reached, and the roof above it in GFLOP/s and GB/s."""

    entry: Entry
    intensity: float
    reached: float
    peak: float
    bandwidth: float
    precision: str


def roofline(entries: Sequence[Entry]) -> Markup | None:
    """All valid runs whose floor says on how many operations and bytes it rests."""
    points = [p for entry in entries if entry.verdict == "valid" and (p := _point(entry))]
    if not points:
        return None
    roofs = sorted({(p.peak, p.bandwidth) for p in points}, reverse=True)
    knees = [peak / bandwidth for peak, bandwidth in roofs]
    x = Scale(
        min(*(p.intensity for p in points), *knees) / _ROOM,
        max(*(p.intensity for p in points), *knees) * _ROOM,
        log=True,
    )
    y = Scale(min(p.reached for p in points) / _ROOM, roofs[0][0] * 1.5, log=True)
    plot = Plot(x, y, "operations for each byte moved, FLOP/B", "GFLOP/s")
    says = "Roofline. " + "; ".join(
        f"{p.entry.tag}: {digits(p.reached)} of at most "
        f"{digits(min(p.peak, p.intensity * p.bandwidth))} GFLOP/s at {digits(p.intensity)} FLOP/B"
        for p in points[:12]
    )
    lines = [_roof(plot, peak, bandwidth) for peak, bandwidth in roofs]
    names = [_roof_name(plot, peak, points) for peak in {peak for peak, _ in roofs}]
    # Those of one model lie above each other: their numbers stand left and right in turn.
    order = sorted(points, key=lambda p: (p.intensity, p.reached))
    dots = [
        part
        for n, p in enumerate(order)
        for part in dot(plot, p.intensity, p.reached, p.entry, left=n % 2 == 1)
    ]
    return figure(
        captioned("Roofline", "A line is what the machine allows, a point what was reached."),
        plot.draw(says, layer(*lines), *names, *dots),
    )


def _point(entry: Entry) -> _Point | None:
    floor = mapping(entry.record.get("floor"))
    keys = ("floor_ms", "measured_over_floor", "flops", "bytes", "flops_per_s", "bytes_per_s")
    values = [number(floor.get(key)) for key in keys]
    if any(value is None or value <= 0 for value in values):
        return None
    floor_ms, ratio, flops, moved, peak, bandwidth = (value or 1.0 for value in values)
    reached = flops / (floor_ms * ratio / 1e3) / 1e9
    precision = text(floor.get("precision"), 12)
    return _Point(entry, flops / moved, reached, peak / 1e9, bandwidth / 1e9, precision)


def _roof(plot: Plot, peak: float, bandwidth: float) -> Markup:
    # It leaves the picture at the bottom or at the left, whichever comes first.
    start = max(plot.x.low, plot.y.low / bandwidth)
    x = [start, max(start, peak / bandwidth), plot.x.high]
    return plot.line(x, [min(peak, each * bandwidth) for each in x], "line roof")


def _roof_name(plot: Plot, peak: float, points: Sequence[_Point]) -> Markup:
    precisions = ", ".join(sorted({p.precision for p in points if p.peak == peak}))
    label = f"{precisions}: {digits(peak)} GFLOP/s"
    y = at(1 - float(plot.y.at(peak)))
    return element("text", label, x="100%", y=y, dx="-4", dy="-5", class_="mark-name before-it")
