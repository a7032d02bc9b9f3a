"""The machine: said once where it is the same for all runs, side by side where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.facts import flat, mapping, text
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.tables import pairs, row_head, table

__all__ = ["differing", "environment", "state"]

#: What changes during a run: shown with the run.
_STATES = ("start", "end")
_MOST_FACTS, _MOST_COLUMNS = 60, 12
_UNKNOWN = "unknown"
#: How names of keys end, and the unit that this stands for.
_UNITS = {"mb": "MB", "mhz": "MHz", "c": "°C", "w": "W", "s": "s", "ns": "ns"}


def differing(entries: Sequence[Entry]) -> list[str]:
    """Names of the facts that are not the same in all environments there are."""
    known = [facts for entry in entries if (facts := _facts(entry))]
    return [name for name in _names(known) if len({facts.get(name) for facts in known}) > 1]


def environment(entries: Sequence[Entry]) -> Markup:
    """What is the same as a list, what is not as a table."""
    known = [(entry, facts) for entry in entries if (facts := _facts(entry))]
    if not known:
        return element("p", "No record says on which machine it was made.", class_="none")
    names, unlike = _names([facts for _, facts in known]), differing(entries)
    same = [(name, known[0][1][name]) for name in names if name not in unlike]
    said = [(name, value) for name, value in same if value != _UNKNOWN]
    silent = [name for name, value in same if value == _UNKNOWN]
    parts: list[Markup] = [pairs(said)]
    if silent:
        parts.append(
            element("p", f"The machine does not tell: {', '.join(silent)}.", class_="none")
        )
    if unlike:
        shown = unlike[:_MOST_COLUMNS]
        rows = [
            [row_head(entry), *(facts.get(name, _UNKNOWN) for name in shown)]
            for entry, facts in known
        ]
        parts.append(table("What differs between the runs", ["run", *shown], rows))
    return joined(parts)


def state(record: Mapping[str, Any]) -> Markup | None:
    """What the machine's state was before and after a run."""
    before, after = (mapping(mapping(record.get("environment")).get(key)) for key in _STATES)
    names = [name for name in before if before[name] is not None or after.get(name) is not None]
    if not names:
        return None
    rows = [[_words(name), flat(before[name]), flat(after.get(name))] for name in names[:20]]
    return table("The machine before and after", ["", "before", "after"], rows)


def _facts(entry: Entry) -> dict[str, str]:
    """All facts of one environment, flat: ``cpu: name``."""
    found: dict[str, str] = {}
    for name, value in mapping(entry.record.get("environment")).items():
        if name in _STATES:
            continue
        if isinstance(value, Mapping):
            found |= {f"{_words(name)}: {_words(key)}": _said(value[key]) for key in value}
        else:
            found[_words(name)] = _said(value)
    return dict(list(found.items())[:_MOST_FACTS])


def _names(known: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for facts in known for name in facts))


def _said(value: Any) -> str:
    return flat(value, 300) or _UNKNOWN


def _words(name: Any) -> str:
    """A key for people, its unit set off: ``memory_available_mb`` → ``memory available, MB``."""
    words = text(name, 60).replace("_", " ")
    for ending, unit in _UNITS.items():
        if words.endswith(f" {ending}"):
            return f"{words.removesuffix(f' {ending}')}, {unit}"
    return words
