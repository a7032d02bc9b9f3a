"""The page: what was found and with what reservation first, the distributions next, each run after that."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from edgevision import __version__
from edgevision.benchmarks.report.html.caveats import Caveat, caveats_of
from edgevision.benchmarks.report.html.charts.accuracy import accuracies
from edgevision.benchmarks.report.html.charts.cdf import distribution, tail
from edgevision.benchmarks.report.html.charts.energy import energies
from edgevision.benchmarks.report.html.charts.floor import floors
from edgevision.benchmarks.report.html.charts.roofline import roofline
from edgevision.benchmarks.report.html.charts.stages import stages_compared
from edgevision.benchmarks.report.html.details import details
from edgevision.benchmarks.report.html.entry import Entry, common_facts, entries_of
from edgevision.benchmarks.report.html.environment import environment
from edgevision.benchmarks.report.html.facts import dig, mapping, text
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.notes import boundaries, reading
from edgevision.benchmarks.report.html.summary import summary
from edgevision.text import counted

__all__ = ["html_report"]

#: Runs that are drawn, and that have a row: beyond, the page would be no page for people any more.
_MOST_DRAWN, _MOST_ROWS = 48, 400
#: Rows take room too: for so many of them one run less is drawn, down to the least.
_ROWS_A_DRAWING, _LEAST_DRAWN = 16, 24
#: Points of all runs together, and of one line, so that a page is at most about 1 MB.
_ALL_POINTS, _MOST_POINTS, _LEAST_POINTS = 3600, 240, 75
#: So many runs are shown at full length without a click.
_OPENED = 3
_MOST_CAVEATS = 60


def html_report(records: Sequence[Mapping[str, Any]], title: str) -> str:
    """One page that needs no network and no other file.

    Args:
        records: As `Record.to_json` makes them, and as they come out of a file: facts that a record
            does not have are left out of the page, or said to be missing.
        title: Of the page; any text.
    """
    shown = [mapping(record) for record in records[:_MOST_ROWS]]
    entries = entries_of(shown, _most_drawn(len(shown)))
    drawn = [entry for entry in entries if entry.drawn]
    points = min(_MOST_POINTS, max(_LEAST_POINTS, _ALL_POINTS // max(1, len(drawn))))
    name = text(title, 200) or "Benchmark"
    sections = _sections(entries, drawn, points, len(records))
    body = joined(
        [
            _header(entries, name, len(records)),
            _contents(sections),
            element("main", *(_section(*section) for section in sections)),
            element("footer", f"Made by edgevision {__version__}. This page loads nothing."),
        ]
    )
    return _document(name, body)


def _most_drawn(rows: int) -> int:
    if rows <= _MOST_DRAWN:
        return _MOST_DRAWN
    return max(_LEAST_DRAWN, _MOST_DRAWN - rows // _ROWS_A_DRAWING)


#: Id, heading, what it is about (may be empty), and what it shows.
_Section = tuple[str, str, str, Markup]


def _sections(
    entries: Sequence[Entry], drawn: Sequence[Entry], points: int, of: int
) -> list[_Section]:
    if not entries:
        return [("summary", "Summary", "", _none("There are no records to report on."))]
    return [
        ("caveats", "Before you quote a number", "", _caveats(entries)),
        ("summary", "Summary", _same(entries), summary(entries)),
        ("latency", "Latency", "", _latency(drawn, points)),
        (
            "stages",
            "Where the time goes",
            "",
            stages_compared(drawn) or _none("No record has stages."),
        ),
        (
            "accuracy",
            "Accuracy against latency",
            "What was proven of exactly this variant, engine and precision when the bundle was made.",
            joined(accuracies(drawn)) or _none("No bundle says how accurate these variants are."),
        ),
        (
            "floor",
            "Distance to the floor",
            "The floor is the least time that the model's operations and bytes take on this machine.",
            joined([roofline(drawn), floors(drawn)]) or _no_floor(drawn),
        ),
        ("energy", "Energy", "", energies(drawn) or _no_energy(drawn)),
        ("runs", "Each run", "", _runs(drawn, points)),
        ("boundary", "What is timed, and what is not", "", boundaries(entries)),
        ("environment", "Environment", "", environment(entries)),
        ("reading", "How to read this page", "", reading(points, len(drawn), of)),
    ]


def _header(entries: Sequence[Entry], title: str, of: int) -> Markup:
    tally = [
        element("li", f"{number} {word}", class_=word)
        for word in ("valid", "invalid", "failed")
        if (number := sum(entry.verdict == word for entry in entries))
    ]
    more = (
        f"; the first {len(entries)} of {counted(of, 'run')} are shown" if of > len(entries) else ""
    )
    lead = " · ".join(part for part in (_machine(entries), _days(entries)) if part)
    return element(
        "header",
        element("h1", title),
        element("p", lead + more, class_="lead"),
        element("ul", *tally, class_="tally") if tally else None,
    )


def _machine(entries: Sequence[Entry]) -> str:
    """The board or the processor; of several, how many."""
    names = {
        text(dig(e.record, "environment", "board"), 80)
        or text(dig(e.record, "environment", "cpu", "name"), 80)
        for e in entries
    } - {""}
    return next(iter(names)) if len(names) == 1 else f"{len(names)} machines" if names else ""


def _days(entries: Sequence[Entry]) -> str:
    """From the first run's beginning to the last one's, to the minute."""
    times = sorted({text(e.record.get("started_at"), 40)[:16].replace("T", " ") for e in entries})
    known = [time for time in times if time]
    if not known:
        return ""
    return f"{known[0]} UTC" if known[0] == known[-1] else f"{known[0]} – {known[-1]} UTC"


def _same(entries: Sequence[Entry]) -> str:
    facts = common_facts([entry.record for entry in entries])
    return f"Unless its name says otherwise, a run is: {', '.join(facts)}." if facts else ""


def _caveats(entries: Sequence[Entry]) -> Markup:
    found = caveats_of(entries)
    if not found:
        words = "Nothing was found that speaks against these numbers: every run is valid and none is flagged."
        return _none(words)
    more = len(found) - _MOST_CAVEATS
    return element(
        "ul",
        *(_caveat(caveat) for caveat in found[:_MOST_CAVEATS]),
        element("li", f"and {more} more") if more > 0 else None,
        class_="caveats",
    )


def _caveat(caveat: Caveat) -> Markup:
    tags = ", ".join(entry.tag for entry in caveat.about[:16])
    tags += f" and {len(caveat.about) - 16} more" if len(caveat.about) > 16 else ""
    name = f" {caveat.about[0].name}" if len(caveat.about) == 1 else ""
    worst = bool(caveat.about) and all(entry.verdict == "failed" for entry in caveat.about)
    about = f" · {tags}{name}: " if tags else ": "
    return element(
        "li", element("b", caveat.kind), about, caveat.text, class_="worst" if worst else None
    )


def _latency(drawn: Sequence[Entry], points: int) -> Markup:
    shown = [entry for entry in drawn if len(entry.samples_ms) > 1]
    if not shown:
        return _none("No run has enough queries to draw.")
    both = element("div", distribution(shown, points), tail(shown, points), class_="two charts")
    rest = sum(entry.colour is None for entry in shown)
    words = f"The first {len(shown) - rest} runs have colours, the others are grey: point at a row."
    return joined([both, element("p", words, class_="hint") if rest else None])


def _no_energy(drawn: Sequence[Entry]) -> Markup:
    why = {text(dig(entry.record, "energy", "reason"), 300) for entry in drawn} - {""}
    return _none("Power was not read" + (f": {'; '.join(sorted(why)[:4])}." if why else "."))


def _no_floor(drawn: Sequence[Entry]) -> Markup:
    why = {text(dig(entry.record, "floor", "reason"), 300) for entry in drawn} - {""}
    return _none("There is no floor" + (f": {'; '.join(sorted(why)[:4])}." if why else "."))


def _runs(drawn: Sequence[Entry], points: int) -> Markup:
    opened = len(drawn) <= _OPENED
    return joined(details(entry, points, opened=opened) for entry in drawn)


def _none(words: str) -> Markup:
    return element("p", words, class_="none")


def _section(id_: str, heading: str, about: str, content: Markup) -> Markup:
    lead = element("p", about, class_="hint") if about else None
    return element("section", element("h2", heading), lead, content, id=id_)


def _contents(sections: Sequence[_Section]) -> Markup:
    links = [
        element("li", element("a", heading, href=f"#{id_}")) for id_, heading, _, _ in sections
    ]
    return element("nav", element("ul", *links), aria_label="On this page")


def _document(title: str, body: Markup) -> str:
    style, script = _asset("style.css"), _asset("script.js")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("title", title),
        element("style", style),
    )
    page = element("html", head, element("body", body, element("script", script)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _policy(style: str, script: str) -> str:
    """Nothing is loaded, and no style or script runs but the page's own."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


@cache
def _asset(name: str) -> Markup:
    """A file of this package; ours, so it is not escaped."""
    return Markup(resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8"))
