"""Matches two sides by configuration, refuses what is no like with like, and compares the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgevision.benchmarks.compare.apart import estimate_apart
from edgevision.benchmarks.compare.comparison import Comparison, Report, Skipped
from edgevision.benchmarks.compare.gate import judge_all
from edgevision.benchmarks.compare.interleaved import estimate_interleaved
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.benchmarks.compare.records import instance_key, title
from edgevision.benchmarks.compare.sameness import Difference, differences
from edgevision.benchmarks.compare.series import Series
from edgevision.benchmarks.repeated import latest_runs
from edgevision.errors import DataError

__all__ = ["compare_sides"]

_Record = Mapping[str, Any]
#: The same records give the same answer.
_SEED = 20130601


def compare_sides(
    base: Sequence[_Record],
    new: Sequence[_Record],
    *,
    names: tuple[str, str] = ("base", "new"),
    limits: Mapping[str, float] | None = None,
    allow_different: bool = False,
) -> Report:
    """Compares what both sides have.

    Args:
        base: Records, oldest first. Of one configuration there may be several: those of the latest bundle that were
            made like the latest one tell how much the same thing varies from run to run.
        new: Likewise.
        names: What to call the two.
        limits: By how much which metric may get worse.
        allow_different: Compare also what is INVALID, and what is no like with like.

    Raises:
        DataError: They are no like with like, or there is nothing to compare.
    """
    limits = limits or {}
    sides = _grouped(base), _grouped(new)
    comparisons, skipped = [], []
    for was, now in _matched(*sides):
        base_reason = _unusable(was, names[0], allow_different)
        reason = base_reason or _unusable(now, names[1], allow_different)
        if reason:
            skipped.append(Skipped(title((was or now)[-1]), reason, lost=base_reason is None))
        else:
            comparisons.append(_compared(was, now, limits, allow_different))
    if not comparisons:
        raise _nothing(skipped, names)
    return Report(*names, limits, allow_different, comparisons, skipped)


def _grouped(records: Sequence[_Record]) -> dict[str, list[_Record]]:
    """By model and configuration; the record that is to be compared is the last."""
    groups: dict[str, list[_Record]] = {}
    for record in records:
        name = str((record.get("bundle") or {}).get("name"))
        groups.setdefault(f"{name}\n{instance_key(record)}", []).append(record)
    return {key: _valid_last(group) for key, group in groups.items()}


def _valid_last(records: list[_Record]) -> list[_Record]:
    """Of several runs (``--runs``) that came to their end it must not matter which of them is INVALID."""
    if records[-1].get("valid") or records[-1].get("status") != "ok":
        return records
    valid = [run for run in latest_runs(records) if run.get("valid")]
    if not valid:
        return records
    return [*(record for record in records if record is not valid[-1]), valid[-1]]


def _matched(
    base: Mapping[str, list[_Record]], new: Mapping[str, list[_Record]]
) -> list[tuple[list[_Record], list[_Record]]]:
    """What belongs together, one of the two empty where the other side has it alone."""
    if len(base) == len(new) == 1:  # one against one is what the user means, also if they differ
        return [(next(iter(base.values())), next(iter(new.values())))]
    return [(base.get(key, []), new.get(key, [])) for key in dict.fromkeys([*base, *new])]


def _unusable(records: Sequence[_Record], name: str, allow: bool) -> str | None:
    """Why the latest record of a side cannot be compared; None if it can."""
    if not records:
        return f"not in {name}"
    last = records[-1]
    status, error = last.get("status") or "ok", last.get("error") or {}
    if not last.get("samples_ns"):
        problem = error.get("problem") or last.get("invalid_reason") or "it has no queries"
        return f"{name}: {problem}" if status == "ok" else f"{name} {status}: {problem}"
    if not last.get("valid") and not allow:
        return f"{name} is INVALID: {last.get('invalid_reason')}"
    return None


def _compared(
    base: Sequence[_Record],
    new: Sequence[_Record],
    limits: Mapping[str, float],
    allow: bool,
) -> Comparison:
    was, now = base[-1], new[-1]
    turns = _turns(was, now)
    found = differences(was, now)
    refused = [difference for difference in found if difference.refused]
    if refused and not allow and turns is None:
        raise _refusal(refused)
    rng = np.random.default_rng(_SEED)
    metrics = list(METRICS.values())
    if turns is None:
        runs = [_like_the_last(side) for side in (base, new)]
        was_series, now_series = ([Series.of(record) for record in side] for side in runs)
        estimates = estimate_apart(was_series, now_series, metrics, rng)
    else:
        runs = [[was], [now]]
        estimates = estimate_interleaved(Series.of(was), Series.of(now), turns, metrics, rng)
    said = [_notes(base, runs[0]), _notes(new, runs[1])]
    notes = [f"both: {note}" for note in said[0] if note in said[1]]
    for name, own, others in (("base", said[0], said[1]), ("new", said[1], said[0])):
        notes += [f"{name}: {note}" for note in own if note not in others]
    if was == now:
        notes.append("base and new are one and the same record")
    rulings = judge_all(estimates, limits)
    return Comparison(
        title(now), instance_key(now), runs[0], runs[1], turns, estimates, rulings, found, notes
    )


def _turns(base: _Record, new: _Record) -> int | None:
    """Queries in a block if the two took turns in one run; None if they did not."""
    was, now = base.get("interleaved") or {}, new.get("interleaved") or {}
    block = was.get("block_queries")
    same = was.get("run") and was.get("run") == now.get("run")
    if not same or was.get("side") == now.get("side") or block != now.get("block_queries"):
        return None
    return block if type(block) is int and block > 0 else None


def _like_the_last(records: Sequence[_Record]) -> list[_Record]:
    """The last one, and those before it that are other runs of the same thing."""
    *before, last = records
    return [*(record for record in before if _same_thing(record, last)), last]


def _same_thing(record: _Record, last: _Record) -> bool:
    """Whether nothing is different but the day."""
    kept = ("bundle", "engine")
    return (
        bool(record.get("valid") and record.get("samples_ns"))
        and all(record.get(key) == last.get(key) for key in kept)
        and not any(difference.refused for difference in differences(record, last))
    )


def _notes(records: Sequence[_Record], runs: Sequence[_Record]) -> list[str]:
    """What to know of one side: of all its records, and of those that count."""
    last = runs[-1]
    notes = [] if last.get("valid") else [f"INVALID: {last.get('invalid_reason')}"]
    notes += _flags(runs)
    left_out = [record for record in records if not any(record is run for run in runs)]
    invalid = sum(not record.get("valid") for record in left_out)
    if invalid:
        notes.append(f"records left out, being INVALID: {invalid}")
    if len(left_out) > invalid:
        notes.append(f"older records of something else left out: {len(left_out) - invalid}")
    return notes


def _flags(runs: Sequence[_Record]) -> list[str]:
    """The text of each kind of flag, of the latest run that has it; and how many have it."""
    found: dict[str, list[str]] = {}
    for run in reversed(runs):
        flags = [flag for flag in run.get("flags") or () if isinstance(flag, Mapping)]
        for kind, text in {str(flag.get("kind")): str(flag.get("text")) for flag in flags}.items():
            found.setdefault(kind, []).append(text)
    return [
        texts[0] if len(runs) == 1 else f"{texts[0]} (such in {len(texts)} of {len(runs)} runs)"
        for texts in found.values()
    ]


def _refusal(refused: Sequence[Difference]) -> DataError:
    return DataError(
        "these records are no like with like",
        received="; ".join(map(str, refused)),
        expected="the same model, configuration and machine",
        hint="--allow-different compares them all the same, and says so",
    )


def _nothing(skipped: Sequence[Skipped], names: tuple[str, str]) -> DataError:
    return DataError(
        f"{names[0]} and {names[1]} have nothing that can be compared",
        received="; ".join(f"{one.title}: {one.reason}" for one in skipped[:3]),
        expected="at least one configuration with a VALID record in both",
        hint="--allow-different also takes INVALID records, and says so",
    )
