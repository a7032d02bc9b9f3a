"""What is timed and what is not, and how to read the page."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import dig, text
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.tables import pairs
from edgevision.percentiles import LEAST_SAMPLES

__all__ = ["boundaries", "reading"]


def boundaries(entries: Sequence[Entry]) -> Markup:
    """Each boundary once, with the runs that it holds for."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        words = tuple(
            text(dig(entry.record, "boundary", k), 800) for k in ("kind", "timed", "not_timed")
        )
        if any(words):
            found.setdefault(words, []).append(entry)
    if not found:
        return element("p", "No record says what was timed.", class_="none")
    several = len(found) > 1
    return joined(_boundary(words, about if several else []) for words, about in found.items())


def _boundary(words: Sequence[str], about: Sequence[Entry]) -> Markup:
    kind, timed, not_timed = words
    numbers = ", ".join(entry.tag for entry in about[:40])
    head = f"{kind or 'without a name'}{f' ({numbers})' if numbers else ''}"
    return joined(
        [
            element("p", element("b", head)),
            pairs([("timed", timed or "not said"), ("not timed", not_timed or "not said")]),
        ]
    )


def reading(points: int, shown: int, of: int) -> Markup:
    """The rules behind the numbers, and what was left out to keep the page small."""
    least = ", ".join(f"p{100 * p:g} {n:,}" for p, n in LEAST_SAMPLES.items() if p <= 0.99)
    items = [
        (
            f"A percentile is quoted only with enough queries (MLPerf's rule: {least}); with fewer there "
            "is a dash. Its value is a measured query's. A dash also stands where nothing was measured."
        ),
        (
            "VALID means that the run met its own terms. INVALID runs are drawn dotted and must not be "
            "quoted; runs that failed have a row and no numbers. No query is left out as an outlier."
        ),
        (
            f"Figures were computed from all samples; drawings have at most {points:,} points a line. "
            "Each point of a distribution is a measured latency, its fastest and its slowest query are "
            "among them. A timeline shows the fastest, the median and the slowest of each span; of a "
            "sensor's span its least and its greatest reading. Bins and bars leave nothing out."
        ),
        "The samples themselves are in the records from which the page was made.",
        "Point at a row to find its lines; the box in it hides them; the heads of the table sort it.",
    ]
    if shown < of:
        items.append(
            f"Only the first {shown:,} of {of:,} runs are drawn; the table has more of them."
        )
    return element("ul", *(element("li", item) for item in items), class_="hint")
