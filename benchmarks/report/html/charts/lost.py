"""What each camera lost, and when: a row a camera, darker where it lost more of its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, listed, mapping, number, numbers
from edgevision.benchmarks.report.html.figures import percent
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.plot import Plot, bars, layer, legend
from edgevision.benchmarks.report.html.scales import Scale

__all__ = ["Losses", "losses_of", "lost_panel"]

#: Cameras that have a row, and bins that the record may have.
_CAMERAS, _BINS = 16, 1024
#: With more rows than that the panel is higher.
_LOW_ROWS = 4
#: Upper end of a shade's share, and what it is called; 0 is a shade of its own.
_SHADES = ((0.25, "up to 25 %"), (0.5, "up to 50 %"), (0.75, "up to 75 %"), (1.0, "over 75 %"))
_NONE_LOST = "lost none"
#: Of a row's height.
_GAP = 0.24


@dataclass(frozen=True, slots=True)
class Losses:
    """Frames of each camera by when they were due; both float64 ``(cameras, bins)``.

    Attributes:
        begin_s: Where the first bin begins, on the axis of the queries' begins.
        bin_s: Length of a bin.
        results: Frames that became results.
        dropped: Frames that were lost.
        left_out: Cameras that have no row.
    """

    begin_s: float
    bin_s: float
    results: NDArray[np.float64]
    dropped: NDArray[np.float64]
    left_out: int

    @property
    def edges_s(self) -> NDArray[np.float64]:
        """float64 ``(bins + 1,)``."""
        return self.begin_s + self.bin_s * np.arange(self.results.shape[1] + 1)

    @property
    def shares(self) -> NDArray[np.float64]:
        """What was lost of the frames that were due, 0…1; NaN where none was due."""
        due = self.results + self.dropped
        return np.where(due > 0, self.dropped / np.maximum(due, 1), np.nan)

    def in_cells(self, most: int) -> Losses:
        """With bins put together until all rows have at most so many cells."""
        cameras, bins = self.results.shape
        each = max(1, -(-bins * cameras // most))
        starts = np.arange(0, bins, each)
        results, dropped = (
            np.add.reduceat(counts, starts, axis=1) for counts in (self.results, self.dropped)
        )
        return Losses(self.begin_s, self.bin_s * each, results, dropped, self.left_out)


def losses_of(record: Mapping[str, Any]) -> Losses | None:
    """What the record says of it; None if it says nothing that makes sense."""
    told = mapping(dig(record, "camera", "over_time"))
    begin, length = number(told.get("begin_s")), number(told.get("bin_s"))
    each = [mapping(one) for one in listed(told.get("per_camera"))]
    results, dropped = (_counts(each[:_CAMERAS], key) for key in ("results", "dropped"))
    if begin is None or length is None or length <= 0 or results is None or dropped is None:
        return None
    if results.shape != dropped.shape or not results.size:
        return None
    return Losses(begin, length, results, dropped, max(0, len(each) - _CAMERAS))


def lost_panel(
    entry: Entry, losses: Losses, x: Scale, x_title: str, cells: int, shades: Sequence[Markup]
) -> Markup:
    """The rows on a time axis.

    Args:
        entry: Whose cameras.
        losses: What they lost.
        x: The axis, seconds.
        x_title: Empty leaves its labels out.
        cells: About so many are drawn.
        shades: What lies below them.
    """
    drawn = losses.in_cells(cells)
    rows = len(drawn.results)
    ticks = [(1 - (row + 0.5) / rows, str(row + 1)) for row in range(rows)]
    height = "low" if rows <= _LOW_ROWS else "middle"
    plot = Plot(x, Scale(0, 1), x_title, "", height, y_ticks=ticks)
    levels = _levels(drawn.shares)
    paths = [
        bars(_spans(drawn, levels == level, x), (1 - _GAP) / rows, f"lost lost{level}")
        for level in range(len(_SHADES) + 1)
        if (levels == level).any()
    ]
    more = f"; {losses.left_out} more cameras in the record" if losses.left_out else ""
    words = f"lost frames of each camera, in spans of {drawn.bin_s:g}\u00a0s{more}"
    names = [_NONE_LOST, *(name for _, name in _SHADES)]
    key = legend((f"lost{level}", name) for level, name in enumerate(names))
    head = element("div", words, key, class_="y-title")
    return joined([head, plot.draw(_says(entry, losses), layer(*shades, *paths))])


def _counts(each: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64] | None:
    """float64 ``(cameras, bins)``; None unless all cameras have as many bins, and counts in them."""
    rows = [numbers(one.get(key)) for one in each]
    if not rows or len({len(row) for row in rows}) > 1 or len(rows[0]) > _BINS:
        return None
    found = np.stack(rows)
    return found if bool((found >= 0).all()) else None  # False for NaN too


def _levels(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """Shade of each share: 0 where nothing was lost, -1 where no frame was due."""
    ends = [0.0, *(end for end, _ in _SHADES)]
    levels = np.searchsorted(ends, np.nan_to_num(shares), side="left").astype(np.int64)
    return np.where(np.isnan(shares), -1, levels)


def _spans(drawn: Losses, chosen: NDArray[np.bool_], x: Scale) -> list[tuple[float, float, float]]:
    """Left, right and middle of the chosen cells; those beside each other are one."""
    edges, rows = x.at(drawn.edges_s), len(chosen)
    spans: list[tuple[float, float, float]] = []
    for row, cells in enumerate(chosen):
        steps = np.diff(np.concatenate([[0], cells.astype(np.int8), [0]]))
        for start, end in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
            spans.append((float(edges[start]), float(edges[end]), (row + 0.5) / rows))
    return spans


def _says(entry: Entry, losses: Losses) -> str:
    """The chart for those who do not see it: of each camera what it lost, and where most of it."""
    parts = []
    for row, (dropped, due) in enumerate(
        zip(losses.dropped, losses.dropped + losses.results, strict=True), 1
    ):
        share = percent(float(dropped.sum() / due.sum())) if due.sum() else "none"
        worst = losses.begin_s + losses.bin_s * float(dropped.argmax())
        where = f", most about {max(0.0, worst):.3g} s" if dropped.any() else ""
        parts.append(f"camera {row} {share}{where}")
    return f"Frames lost by the cameras of {entry.tag}: {'; '.join(parts)}"
