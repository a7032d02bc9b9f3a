"""One record as the page shows it: a number, a name that tells it from the others, a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.report.html.facts import dig, flat, mapping, nanoseconds, number, text

__all__ = ["COLOURS", "Entry", "common_facts", "entries_of"]

#: As many lines can be told apart by colour; the style sheet has one for each.
COLOURS = 8

#: What tells configurations apart, in the order of importance.
_FACTS = ("bundle", "variant", "backend", "compute", "scenario", "hint", "threads", "batch", "size")
#: Always part of a name, and part of it as soon as there are two.
_ALWAYS, _IF_SEVERAL = {"variant", "backend"}, {"bundle"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One record.

    Attributes:
        number: From 1, as given.
        name: What tells it from the others.
        verdict: ``valid``, ``invalid`` (measured, not to be quoted) or ``failed`` (nothing to show).
        label: The same in the record's words: ``VALID``, ``INVALID``, ``OUT OF MEMORY``.
        reason: Why it is not valid; empty if it is.
        record: All of it.
        samples_ms: float64 ``(queries,)``, in the order of the frames.
        sorted_ms: The same, ascending.
        begins_s: float64 ``(queries,)``: when each began; None if the record does not say.
        colour: 0…7 of the palette; None for those beyond it.
        drawn: Whether it has a part of its own on the page.
    """

    number: int
    name: str
    verdict: str
    label: str
    reason: str
    record: Mapping[str, Any]
    samples_ms: NDArray[np.float64]
    sorted_ms: NDArray[np.float64]
    begins_s: NDArray[np.float64] | None
    colour: int | None
    drawn: bool

    @property
    def tag(self) -> str:
        """``#3``."""
        return f"#{self.number}"

    @property
    def kind(self) -> str:
        """Classes of everything that is drawn of it."""
        colour = "c-rest" if self.colour is None else f"c{self.colour}"
        return f"{colour} of{self.number}{' unquoted' if self.verdict == 'invalid' else ''}"

    @property
    def measure(self) -> str:
        """What a query's time is: of cameras, how old the result is when it is there."""
        return "age of results" if mapping(self.record.get("camera")) else "latency"

    def latency(self, name: str) -> float | None:
        """A figure of the record's ``latency_ms``; None where there were too few queries."""
        return number(dig(self.record, "latency_ms", name))


def entries_of(records: Sequence[Mapping[str, Any]], most_drawn: int) -> list[Entry]:
    """The records, numbered and named; the first of them are drawn."""
    known = [_facts(record) for record in records]
    usual = _usual(known)
    entries: list[Entry] = []
    colours = iter(range(COLOURS))
    for place, (record, facts) in enumerate(zip(records, known, strict=True), 1):
        samples, begins = _samples(record)
        entries.append(
            Entry(
                place,
                _name(facts, usual),
                *_verdict(record, len(samples)),
                record,
                samples,
                np.sort(samples),
                begins,
                next(colours, None) if len(samples) > 1 else None,
                place <= most_drawn,
            )
        )
    return entries


def common_facts(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What holds for every run whose name says nothing else."""
    return [fact for fact in _usual([_facts(record) for record in records]).values() if fact]


def _usual(known: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What most of them have; it is left out of the names."""
    found = {
        key: Counter(facts[key] for facts in known if facts["variant"]).most_common(1)
        for key in _FACTS
        if key not in _ALWAYS
    }
    several = {key for key in _IF_SEVERAL if len({facts[key] for facts in known}) > 1}
    return {key: most[0][0] for key, most in found.items() if most and key not in several}


def _facts(record: Mapping[str, Any]) -> dict[str, str]:
    """The configuration in words: what ran, or, where nothing did, what was asked for."""
    asked = mapping(record.get("instance"))

    def fact(key: str) -> str:
        return text(record.get(key), 60) or flat(asked.get(key), 60)

    precision = fact("precision")
    threads = text(dig(record, "threads", "engine")) or text(asked.get("threads"))
    hint, batch, size = fact("hint"), text(asked.get("batch")), flat(asked.get("size"), 20)
    return {
        "bundle": text(dig(record, "bundle", "name"), 60),
        "variant": fact("variant"),
        "backend": fact("backend"),
        "compute": f"in {fact('compute')}" if fact("compute") not in ("", precision) else "",
        "scenario": fact("scenario"),
        "hint": f"hint {hint}" if hint else "",
        "threads": f"{threads} thread{'' if threads == '1' else 's'}" if threads else "",
        "batch": f"batch {batch}" if batch else "",
        "size": f"input {size.replace(', ', '×')}" if size else "",
    }


def _name(facts: Mapping[str, str], usual: Mapping[str, str]) -> str:
    shown = [facts[key] for key in _FACTS if facts[key] and facts[key] != usual.get(key)]
    return " · ".join(shown) or "without a name"


def _verdict(record: Mapping[str, Any], samples: int) -> tuple[str, str, str]:
    """Kind, label and reason."""
    status = text(record.get("status"), 30) or "ok"
    if status not in ("ok", "interrupted"):
        error = mapping(record.get("error"))
        why, received = text(error.get("problem"), 600), text(error.get("received"), 600)
        why += f" (received: {received})" if received else ""
        kind = "invalid" if samples else "failed"
        return (
            kind,
            status.replace("-", " ").upper(),
            why or text(record.get("invalid_reason"), 600),
        )
    if record.get("valid") is True and status == "ok":
        return "valid", "VALID", ""
    return "invalid", "INVALID", text(record.get("invalid_reason"), 600) or "no reason is given"


def _samples(record: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    samples = nanoseconds(record.get("samples_ns"))
    begins = nanoseconds(record.get("begins_ns"))
    if len(samples) and float(samples.min()) < 0:
        samples = np.empty(0)
    known = len(samples) > 0 and len(begins) == len(samples)
    return samples / 1e6, begins / 1e9 if known else None
