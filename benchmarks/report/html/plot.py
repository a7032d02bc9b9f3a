"""The frame of a chart: axes, grid, title, and the layer on which data are drawn.

Places are per cent of the plot's area, so a chart is as wide as there is room, while its text keeps
its size. Lines are drawn on a stretched layer with strokes that do not stretch. No style is written
into an element: the page forbids it (its content security policy).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.scales import Scale

__all__ = [
    "Plot",
    "at",
    "bars",
    "captioned",
    "columns_path",
    "dot",
    "figure",
    "layer",
    "legend",
    "line_path",
]

#: Units of the stretched layer: finer than a screen's pixels.
_WIDE, _HIGH = 2000, 1000


@dataclass(frozen=True, slots=True)
class Plot:
    """An area with axes.

    Attributes:
        x: The horizontal axis.
        y: The vertical one; its low end is at the bottom.
        x_title: What it shows, with its unit; empty leaves the labels of the axis out.
        y_title: Likewise; empty leaves the title out.
        height: ``tall``, ``middle`` or ``low``: a class of the style sheet.
        y_ticks: Places and labels, in place of the scale's own.
        y_most: At most so many of the scale's own.
    """

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    height: str = "tall"
    y_ticks: Sequence[tuple[float, str]] | None = None
    y_most: int = 5

    def draw(self, says: str, *content: Markup) -> Markup:
        """The plot with what is drawn on it.

        Args:
            says: What the chart shows, for those who do not see it.
            content: What `layer`, `mark` and others gave, from the bottom up.
        """
        drawn = element(
            "svg",
            element("title", says),
            *self._grid(),
            *content,
            class_="plot",
            role="img",
            aria_label=says,
        )
        x_title = element("p", self.x_title, class_="x-title") if self.x_title else None
        y_title = element("p", self.y_title, class_="y-title") if self.y_title else None
        kind = f"area {self.height}{'' if self.x_title else ' joined'}"
        return joined([y_title, element("div", drawn, class_=kind), x_title])

    def line(self, x: ArrayLike, y: ArrayLike, class_: str) -> Markup:
        """One line through points; a NaN breaks it."""
        return element("path", d=line_path(self.x.at(x), 1 - self.y.at(y)), class_=class_)

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, class_: str) -> Markup:
        """The area between two lines."""
        places = self.x.at(x)
        there, back = 1 - self.y.at(high), (1 - self.y.at(low))[::-1]
        outline = line_path(
            np.concatenate([places, places[::-1]]), np.concatenate([there, back]), all_of_them=True
        )
        return element("path", d=outline + "z", class_=class_)

    def _grid(self) -> Iterable[Markup]:
        """Lines as one path, for they are many; labels where the axis has a title."""
        across, up = self.x.ticks(), self.y_ticks or self.y.ticks(self.y_most)
        lines = [f"M{round(_WIDE * place)} 0v{_HIGH}" for place, _ in across]
        lines += [f"M0 {round(_HIGH * (1 - place))}h{_WIDE}" for place, _ in up]
        yield layer(element("path", d="".join(lines), class_="grid"))
        for place, label in across if self.x_title else ():
            yield element("text", label, x=at(place), y="100%", dy="17", class_="x")
        for place, label in up:
            yield element("text", label, y=at(1 - place), dx="-7", dy="4", class_="y")


def at(place: float) -> str:
    """A place 0…1 as SVG takes it: ``12.3%``."""
    return f"{100 * place:.2f}".rstrip("0").rstrip(".") + "%"


def dot(plot: Plot, x: float, y: float, entry: Entry, *, left: bool = False) -> list[Markup]:
    """A point with the number of its record beside it; on its left if asked, or near the edge."""
    across, down = float(plot.x.at(x)), 1 - float(plot.y.at(y))
    before = left or across > 0.9
    title = element("title", f"{entry.tag} {entry.name}")
    return [
        element("circle", title, cx=at(across), cy=at(down), r="6", class_=f"dot {entry.kind}"),
        element(
            "text",
            entry.tag,
            x=at(across),
            y=at(down),
            dx="-10" if before else "10",
            dy="4",
            class_=f"name {entry.kind}{' before-it' if before else ''}",
        ),
    ]


def layer(*content: Markup) -> Markup:
    """What is stretched with the plot: paths in the units of `line_path`."""
    return element(
        "svg",
        *content,
        viewBox=f"0 0 {_WIDE} {_HIGH}",
        preserveAspectRatio="none",
        width="100%",
        height="100%",
        class_="layer",
    )


def line_path(x: NDArray[np.float64], y: NDArray[np.float64], *, all_of_them: bool = False) -> str:
    """Places 0…1, from the top, as a path in whole units; steps that do not show are left out."""
    parts: list[str] = []
    here: tuple[int, int] | None = None
    for px, py in zip((x * _WIDE).tolist(), (y * _HIGH).tolist(), strict=True):
        if px != px or py != py:  # NaN: nothing was read here
            here = None
            continue
        there = (round(px), round(py))
        if here is None:
            parts.append(f"M{there[0]} {there[1]}l0 0")
        elif there != here or all_of_them:
            dx, dy = there[0] - here[0], there[1] - here[1]
            parts.append(f" {dx} {dy}")
        here = there
    return "".join(parts)


def columns_path(spans: Iterable[tuple[float, float]]) -> str:
    """Columns of the plot's whole height from one place 0…1 to another, at least as wide as a pixel."""
    edges = [(round(_WIDE * start), round(_WIDE * end)) for start, end in spans]
    return "".join(f"M{a} 0H{max(b, a + 2)}V{_HIGH}H{a}z" for a, b in edges)


def bars(spans: Iterable[tuple[float, float, float]], height: float, class_: str) -> Markup:
    """Bars of one height: left, right and middle of each as places 0…1 from the top left; at least a pixel wide.

    They are drawn as lines, for those take half the room; the stroke is stretched with the layer.
    """
    parts: list[str] = []
    for left, right, middle in spans:
        x = round(_WIDE * left)
        parts.append(f"M{x} {round(_HIGH * middle)}h{max(round(_WIDE * right) - x, 2)}")
    return element("path", d="".join(parts), stroke_width=round(_HIGH * height), class_=class_)


def legend(items: Iterable[tuple[str, str]]) -> Markup:
    """Names beside their colours: class of the swatch, and the name."""
    return element(
        "ul",
        *(element("li", element("i", class_=f"swatch {kind}"), name) for kind, name in items),
        class_="legend",
    )


def captioned(head: str, more: str) -> Markup:
    """A caption with a sentence after it."""
    return joined([head, " ", element("small", more)])


def figure(caption: str | Markup, *content: Markup | None, class_: str = "") -> Markup:
    """A chart with what it shows above it."""
    return element("figure", element("figcaption", caption), *content, class_=class_ or None)
