"""What speed costs: accuracy against latency, one picture for each model, metric and scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, number, text
from edgevision.benchmarks.report.html.figures import NONE, digits
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import Plot, captioned, dot, figure
from edgevision.benchmarks.report.html.scales import Scale, around
from edgevision.benchmarks.report.html.tables import row_head, table

__all__ = ["accuracies", "accuracy_of", "metric_of"]

_METRICS = {
    "map50_95": "mAP@0.5:0.95 on labelled pictures",
    "top1": "top-1",
    "f1": "F1 against the fp32 detections",
    "miou": "IoU with the fp32 masks",
    "1-nme": "1 − key point error against fp32",
}
_SHORT = {"map50_95": "mAP", "f1": "F1", "miou": "IoU", "1-nme": "1 − NME"}
#: No metric is above it.
_BEST = 1.0
#: Parts of the picture's width and height that a point takes with its name.
_NAME_WIDE, _NAME_HIGH = 0.12, 0.08


@dataclass(frozen=True, slots=True)
class _Point:
    entry: Entry
    latency_ms: float
    value: float


def accuracy_of(entry: Entry) -> float | None:
    """What was proven of exactly this variant, backend and compute precision."""
    return number(dig(entry.record, "accuracy", "value"))


def metric_of(entry: Entry) -> str:
    """Its metric in a word, as a column has room for it."""
    metric = text(dig(entry.record, "accuracy", "metric"), 40)
    return _SHORT.get(metric, metric)


def accuracies(entries: Sequence[Entry]) -> list[Markup]:
    """One figure and one table for each model, metric and scenario, of runs that may be quoted.

    What is faster is asked within a scenario: in each of them time counts from another moment, of cameras it is an age.
    """
    groups: dict[tuple[str, str, str], list[_Point]] = {}
    for entry in entries:
        value, latency = accuracy_of(entry), entry.latency("p50")
        if value is not None and latency is not None and entry.verdict == "valid":
            key = (
                text(dig(entry.record, "bundle", "name"), 60),
                text(dig(entry.record, "accuracy", "metric"), 40),
                text(entry.record.get("scenario"), 40),
            )
            groups.setdefault(key, []).append(_Point(entry, latency, value))
    return [part for key, points in groups.items() for part in _group(*key, points)]


def _group(model: str, metric: str, scenario: str, points: list[_Point]) -> list[Markup]:
    name = f"{model}: {_METRICS.get(metric, metric)}{f', {scenario}' if scenario else ''}"
    latency = f"p50 {points[0].entry.measure}, ms"
    rows = [
        [
            row_head(point.entry),
            f"{point.value:.4f}",
            _four(number(dig(point.entry.record, "accuracy", "reference"))),
            _count(number(dig(point.entry.record, "accuracy", "samples"))),
            text(dig(point.entry.record, "accuracy", "verdict"), 30),
            digits(point.latency_ms),
        ]
        for point in points
    ]
    listed = table(name, ["run", "value", "of fp32", "samples", "verdict", latency], rows)
    if len(points) < 2:  # one point is no picture
        return [listed]
    return [element("div", _chart(name, latency, points), listed, class_="two")]


def _four(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def _chart(name: str, latency: str, points: list[_Point]) -> Markup:
    least, most = min(p.latency_ms for p in points), max(p.latency_ms for p in points)
    beside = (most - least) * _NAME_WIDE
    x = around(max(least - beside, least / 2), most + beside)
    values = [point.value for point in points]
    room = max((max(values) - min(values)) * 0.15, 0.002)
    y = Scale(max(0.0, min(values) - room), max(max(values), min(max(values) + room, _BEST)))
    plot = Plot(x, y, latency, "", "middle")
    dots = [
        part
        for p in points
        for part in dot(plot, p.latency_ms, p.value, p.entry, left=_crowded(plot, p, points))
    ]
    says = f"{name} against {points[0].entry.measure}. " + "; ".join(
        f"{p.entry.tag}: {p.value:.4f} at {digits(p.latency_ms)} ms" for p in points[:12]
    )
    caption = captioned(name, "Up and to the left is better; the axis does not begin at 0.")
    return figure(caption, plot.draw(says, *dots))


def _crowded(plot: Plot, point: _Point, points: Sequence[_Point]) -> bool:
    """Whether another point stands where this one's name would be: on its right."""

    def place(one: _Point) -> tuple[float, int, float]:
        return float(plot.x.at(one.latency_ms)), one.entry.number, float(plot.y.at(one.value))

    x, number, y = place(point)
    behind = [place(other) for other in points if place(other)[:2] > (x, number)]
    return any(a - x < _NAME_WIDE and abs(b - y) < _NAME_HIGH for a, _, b in behind)
