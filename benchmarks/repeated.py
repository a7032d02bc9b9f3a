"""Several runs of one configuration, as ``bench --runs`` makes them: which one speaks for them, and how they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

__all__ = ["latest_runs", "middle", "number_text", "told_of_runs"]

_Record = dict[str, Any]
_Any = TypeVar("_Any", bound=Mapping[str, Any])
#: Results that are no latency: what they are called, and their unit.
_METRICS = {"qps": ("rate", "queries/s"), "samples_per_s": ("rate", "frames/s")}


def _number(record: Mapping[str, Any]) -> int | None:
    """Which of several runs it is, from 1; None of one that was asked for alone."""
    repetition = record.get("repetition")
    number = repetition.get("number") if isinstance(repetition, Mapping) else None
    return number if type(number) is int else None


def latest_runs(records: Sequence[_Any]) -> list[_Any]:
    """The last of these records, with the other runs that were asked for together with it, in their order.

    A run that was made again, such as after an interruption, counts as it came out the last time.

    Args:
        records: Of one configuration, in the order they were measured; at least one.
    """
    last = records[-1]
    found = {_number(last) or 1: last}
    for record in reversed(records[:-1]):
        if 1 in found:
            break
        if record.get("request_id") == last.get("request_id"):
            found.setdefault(_number(record) or 1, record)
    return [found[number] for number in sorted(found)]


def middle(runs: Sequence[_Record]) -> _Record:
    """The run whose result is in the middle of the VALID ones; the last one if there is none.

    Of several it has a further key ``runs``: how many were made (``count``), the ``metric`` of the result, the lowest
    of them (``low``) and the highest (``high``), their difference in percent of this one (``spread_percent``; None of
    fewer than two), and what is ``wrong`` with those that are not VALID.

    Args:
        runs: Of one configuration; at least one.
    """
    if len(runs) == 1 and _number(runs[0]) is None:
        return runs[0]
    told = sorted((run for run in runs if run.get("valid") and _result(run)), key=_result)
    shown = told[(len(told) - 1) // 2] if told else runs[-1]
    low, high = (_result(told[0]), _result(told[-1])) if told else (None, None)
    spread = None
    if low is not None and high is not None and len(told) > 1:
        spread = 100 * (high - low) / _result(shown)
    return shown | {
        "runs": {
            "count": len(runs),
            "metric": (shown.get("result") or {}).get("metric"),
            "low": low,
            "high": high,
            "spread_percent": spread,
            "wrong": [_wrong(run) for run in runs if not run.get("valid")],
        }
    }


def told_of_runs(record: Mapping[str, Any]) -> list[str]:
    """What to know of a record that speaks for several runs, as sentences; nothing of any other."""
    runs = record.get("runs")
    if not isinstance(runs, Mapping):
        return []
    if runs["count"] == 1:  # it says all that there is to say itself
        return []
    wrong = list(runs["wrong"])
    if runs["low"] is None:
        return wrong
    if runs["spread_percent"] is None:
        return [f"shown is the only one of {runs['count']} runs that is VALID", *wrong]
    what, unit = _METRICS.get(str(runs["metric"]), (str(runs["metric"]).removesuffix("_ms"), "ms"))
    ends = f"{runs['low']:,.2f} to {runs['high']:,.2f} {unit}"
    spread = f"a spread of {runs['spread_percent']:.1f} %"
    return [
        f"shown is the one of {runs['count']} runs whose {what} is in the middle; theirs are {ends}, {spread}",
        *wrong,
    ]


def number_text(record: Mapping[str, Any]) -> str:
    """``, run 2 of 5``; nothing for one that was asked for alone."""
    number = _number(record)
    return "" if number is None else f", run {number} of {record['repetition']['of']}"


def _result(record: Mapping[str, Any]) -> float:
    """The scenario's own figure; 0 if there is none."""
    result = record.get("result")
    value = result.get("value") if isinstance(result, Mapping) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _wrong(record: Mapping[str, Any]) -> str:
    status = record.get("status") or "ok"
    what = "INVALID" if status == "ok" else str(status).upper()
    why = (record.get("error") or {}).get("problem") or record.get("invalid_reason") or ""
    return f"{number_text(record).removeprefix(', ') or 'a run'} {what}: {why}"
