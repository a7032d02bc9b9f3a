"""What to know before quoting a number on the page: one line a reservation, with the runs it is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgevision.benchmarks.repeated import told_of_runs
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.environment import differing
from edgevision.benchmarks.report.html.facts import dig, listed, mapping, number, text

__all__ = ["Caveat", "caveats_of"]

#: Sentences of one kind of flag; all of them stand with the runs.
_SAID = 2


@dataclass(frozen=True, slots=True)
class Caveat:
    """What it is, in a word; about which runs; and the sentence."""

    kind: str
    about: tuple[Entry, ...]
    text: str


def caveats_of(entries: Sequence[Entry]) -> list[Caveat]:
    """Worst first: no numbers, numbers not to be quoted, numbers not to be compared, the rest."""
    rules: list[Callable[[Sequence[Entry]], list[Caveat]]] = [
        _without_numbers,
        _not_to_be_quoted,
        _flags,
        _runs,
        _boundaries,
        _scenarios,
        _machines,
        _overlap,
        _busy,
    ]
    return [caveat for rule in rules for caveat in rule(entries)]


def _without_numbers(entries: Sequence[Entry]) -> list[Caveat]:
    return [
        Caveat(e.label.lower(), (e,), e.reason or "the record does not say why")
        for e in entries
        if e.verdict == "failed"
    ]


def _not_to_be_quoted(entries: Sequence[Entry]) -> list[Caveat]:
    return [Caveat("invalid", (e,), e.reason) for e in entries if e.verdict == "invalid"]


def _flags(entries: Sequence[Entry]) -> list[Caveat]:
    """The records' own flags, one line a kind; the same words about several runs are said once."""
    found: dict[str, dict[str, list[Entry]]] = {}
    for entry in entries:
        for flag in listed(entry.record.get("flags"))[:20]:
            words = text(mapping(flag).get("text"), 400)
            kind = found.setdefault(text(mapping(flag).get("kind"), 30), {})
            kind.setdefault(words, []).append(entry)
    return [_of_kind(kind, said) for kind, said in found.items()]


def _of_kind(kind: str, said: dict[str, list[Entry]]) -> Caveat:
    about = {entry.number: entry for entries in said.values() for entry in entries}
    shown = "; ".join(list(said)[:_SAID]) + ("; …" if len(said) > _SAID else "")
    return Caveat(kind, tuple(about[number] for number in sorted(about)), shown)


def _runs(entries: Sequence[Entry]) -> list[Caveat]:
    """Of rows that speak for several runs: which one it is, and what became of the others."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        for words in told_of_runs(entry.record):
            found.setdefault(text(words, 400), []).append(entry)
    return [Caveat("runs", tuple(about), words) for words, about in found.items()]


def _boundaries(entries: Sequence[Entry]) -> list[Caveat]:
    kinds = [text(dig(entry.record, "boundary", "kind")) for entry in entries]
    only = tuple(e for e, kind in zip(entries, kinds, strict=True) if kind == "inference-only")
    if not only or len(set(kinds) - {""}) < 2:
        return []
    words = "the engine alone is timed here: not to be compared with the runs that are end to end"
    return [Caveat("other boundary", only, words)]


def _scenarios(entries: Sequence[Entry]) -> list[Caveat]:
    names = [text(e.record.get("scenario")).removesuffix("-inference-only") for e in entries]
    if len(set(names) - {""}) < 2:
        return []
    words = (
        "these runs are of several scenarios, whose times count from different moments (of cameras they are ages): "
        "compare times and rates within a scenario"
    )
    return [Caveat("scenarios", (), words)]


def _machines(entries: Sequence[Entry]) -> list[Caveat]:
    names = differing(entries)
    if not names:
        return []
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    words = f"not all runs were made in the same environment; what differs: {shown} (see there)"
    return [Caveat("environment", (), words)]


def _overlap(entries: Sequence[Entry]) -> list[Caveat]:
    about = tuple(e for e in entries if (number(e.record.get("in_flight")) or 1) > 1)
    words = (
        "several queries were under way at a time: latency and compute include waiting for a free "
        "thread; look at the throughput"
    )
    return [Caveat("overlap", about, words)] if about else []


def _busy(entries: Sequence[Entry]) -> list[Caveat]:
    """Of records without a timeline: with one they know others' share, and say so in a flag."""
    about = tuple(e for e in entries if _was_busy(e))
    words = "something else kept half of the machine's cores or more busy before the run began"
    return [Caveat("busy", about, words)] if about else []


def _was_busy(entry: Entry) -> bool:
    if entry.record.get("timeline"):
        return False
    if any(mapping(flag).get("kind") == "busy" for flag in listed(entry.record.get("flags"))):
        return False
    loads = listed(dig(entry.record, "environment", "start", "load_average"))
    load = number(loads[0]) if loads else None
    cores = number(dig(entry.record, "environment", "cpu", "cores"))
    return load is not None and cores is not None and load >= cores / 2 > 0
