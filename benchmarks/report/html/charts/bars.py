"""Small drawings that fill a cell of a table: spans, bars and marks on a common scale."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.figures import quantity
from edgevision.benchmarks.report.html.markup import Markup, element
from edgevision.benchmarks.report.html.plot import at
from edgevision.benchmarks.report.html.scales import Scale

__all__ = ["bar", "span", "stacked", "waterfall_bar"]


def bar(scale: Scale, value: float, class_: str, *, mark: float | None = None) -> Markup:
    """A length from 0, and a mark across it where there is another value."""
    parts = [_rect(0.0, float(scale.at(value)), class_)]
    if mark is not None:
        parts.append(_line(float(scale.at(mark)), "mark"))
    return _cell(*parts)


def span(entry: Entry, scale: Scale) -> Markup | None:
    """From the fastest to the slowest query, with a box from p50 to p99 (or the highest known)."""
    if not len(entry.sorted_ms):
        return None
    ends = scale.at([entry.sorted_ms[0], entry.sorted_ms[-1]]).tolist()
    p50 = entry.latency("p50")
    high = next((v for n in ("p99", "p95", "p90") if (v := entry.latency(n)) is not None), p50)
    parts = [element("line", x1=at(ends[0]), x2=at(ends[1]), y1="50%", y2="50%", class_="whisker")]
    if p50 is not None and high is not None:
        left, right = scale.at([p50, high]).tolist()
        parts += [_rect(left, right - left, f"fill-solid {entry.kind}"), _line(left, "mark")]
    says = f"from {quantity(float(entry.sorted_ms[0]), 'ms')} to "
    return _cell(*parts, says=says + quantity(float(entry.sorted_ms[-1]), "ms"))


def stacked(scale: Scale, parts: Sequence[tuple[str, float, str]]) -> Markup:
    """Lengths one after the other: name, value and class of each."""
    drawn: list[Markup] = []
    start = 0.0
    for name, value, class_ in parts:
        left, right = scale.at([start, start + value]).tolist()
        title = element("title", f"{name}: {quantity(value, 'ms')}")
        drawn.append(_rect(left, right - left, class_, title))
        start += value
    return _cell(*drawn)


def waterfall_bar(scale: Scale, start: float, length: float, class_: str) -> Markup:
    """A length that begins where the one before ended."""
    left, right = scale.at([start, start + length]).tolist()
    return _cell(_rect(left, right - left, class_))


def _cell(*parts: Markup, says: str | None = None) -> Markup:
    """Hidden from those who listen unless it says something that no cell beside it has."""
    return element(
        "svg",
        *parts,
        class_="cell",
        role="img" if says else None,
        aria_label=says,
        aria_hidden=None if says else "true",
    )


def _rect(left: float, width: float, class_: str, *inside: Markup) -> Markup:
    return element(
        "rect", *inside, x=at(left), y="15%", width=at(width), height="70%", class_=class_
    )


def _line(place: float, class_: str) -> Markup:
    return element("line", x1=at(place), x2=at(place), y1="5%", y2="95%", class_=class_)
