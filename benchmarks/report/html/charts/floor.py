"""How far from what the machine can do: measured time beside its floor, and the roofline itself."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.charts.bars import bar
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, number, text
from edgevision.benchmarks.report.html.figures import digits
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.scales import from_zero
from edgevision.benchmarks.report.html.tables import row_head, table

__all__ = ["floors"]

#: Sentences on where floors come from; runs on one machine need one.
_TOLD = 6


def floors(entries: Sequence[Entry]) -> Markup | None:
    """Bars of what was measured, each with a mark where its floor is."""
    known = [
        (entry, floor_ms, ratio)
        for entry in entries
        if (floor_ms := number(dig(entry.record, "floor", "floor_ms"))) is not None
        and (ratio := number(dig(entry.record, "floor", "measured_over_floor"))) is not None
        and min(floor_ms, ratio) > 0
    ]
    if not known:
        return None
    scale = from_zero(max(floor_ms * max(ratio, 1.0) for _, floor_ms, ratio in known))
    rows = [
        [
            row_head(entry),
            bar(scale, floor_ms * ratio, f"fill-solid {entry.kind}", mark=floor_ms),
            digits(floor_ms * ratio),
            digits(floor_ms),
            f"{digits(ratio)}×",
            text(dig(entry.record, "floor", "bound"), 20),
            text(dig(entry.record, "floor", "precision"), 20),
        ]
        for entry, floor_ms, ratio in known
    ]
    heads = ["run", "measured; the mark is the floor", "measured, ms", "floor, ms"]
    heads += ["measured / floor", "bound by", "precision"]
    rooflines = table("Measured time and the roofline's floor", heads, rows, wide=1, silent=True)
    told = list(dict.fromkeys(_origin(entry) for entry, _, _ in known))
    return joined([rooflines, *(element("p", words, class_="hint") for words in told[:_TOLD])])


def _origin(entry: Entry) -> str:
    """What was measured, and where the machine's figures come from; most often one sentence for all runs."""
    machine, source, measured = (
        text(dig(entry.record, "floor", name), most)
        for name, most in (("machine", 80), ("source", 160), ("measured", 80))
    )
    return f"Measured: {measured or 'not told'}. Figures of {machine or 'the machine'}: {source or 'not told'}."
