"""What was sampled, as a record keeps it: one list a series, over the seconds since the first counted query."""

from __future__ import annotations

import json
from typing import Any, TypedDict

__all__ = [
    "Cost",
    "Jump",
    "PowerSource",
    "Series",
    "Timeline",
    "inside",
    "read_lines",
    "timeline_of",
]

#: Clocks that are steered differ by less within one interval; beyond it somebody set the wall clock.
_JUMP_NS = 100_000_000
_THROTTLED = "throttled"


class Series(TypedDict):
    """One value for each time in ``t_s``; null where it was not read or not known."""

    unit: str
    values: list[float | None]


class PowerSource(TypedDict):
    """Rails (``power_w.RAIL``, ``energy_j.RAIL``) whose sum is part of ``power_w``."""

    source: str
    rails: list[str]


class Cost(TypedDict):
    """What sampling cost: percent of one core between the first and the last sample, its memory, its samples."""

    cpu_percent: float | None
    rss_mb: float | None
    samples: int


class Jump(TypedDict):
    """The wall clock jumped by so much against the monotonic one, before this time."""

    t_s: float
    jump_s: float


class Timeline(TypedDict):
    """JSON-ready; `edgevision.benchmarks.sampling.energy` and ``flags`` work on it, also on a record's.

    ``t_s`` begins before 0: 0 is the begin of the first counted query, ``counted_s`` the end of the last.
    """

    interval_s: float
    counted_s: float
    t_s: list[float]
    series: dict[str, Series]
    missing: dict[str, str]
    power: list[PowerSource]
    wall_jumps: list[Jump]
    sampler: Cost


def read_lines(content: bytes) -> list[Any]:
    """The process's lines; the last one may be cut off where it was killed."""
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()]


def timeline_of(lines: list[Any], origin_ns: int, counted_s: float = 0.0) -> Timeline | None:
    """Puts the lines together; None if there is no sample among them."""
    samples = [line for line in lines if isinstance(line, list)]
    if not samples:
        return None
    head = lines[0]
    times = [round((sample[0] - origin_ns) / 1e9, 4) for sample in samples]
    series: dict[str, Series] = {
        name: {"unit": unit, "values": [sample[4][column] for sample in samples]}
        for column, (name, unit) in enumerate(head["units"].items())
    }
    failed = {
        name: line["why"]
        for line in lines
        if isinstance(line, dict) and "failed" in line
        for name in line["failed"]
    }
    missing = dict(head["missing"])
    for name in [name for name in series if not _known(series[name])]:
        del series[name]
        missing.setdefault(name, failed.get(name, "it never answered"))
    power = _sources(head["power"], series)
    _add_totals(series, power, missing)
    return {
        "interval_s": _interval_s(lines),
        "counted_s": counted_s,
        "t_s": times,
        "series": series,
        "missing": missing,
        "power": power,
        "wall_jumps": _jumps(samples, times),
        "sampler": _cost(samples),
    }


def _interval_s(lines: list[Any]) -> float:
    """The last one: it only ever grows."""
    told = [line["interval_s"] for line in lines if isinstance(line, dict) and "interval_s" in line]
    return float(told[-1])


def inside(timeline: Timeline, name: str, begin_s: float, end_s: float) -> list[float]:
    """The known values of a series between two times; empty if there is no such series."""
    if name not in timeline["series"]:
        return []
    values = timeline["series"][name]["values"]
    return [
        value
        for time_s, value in zip(timeline["t_s"], values, strict=True)
        if value is not None and begin_s <= time_s <= end_s
    ]


def _known(series: Series) -> bool:
    return any(value is not None for value in series["values"])


def _sources(told: list[dict[str, Any]], series: dict[str, Series]) -> list[PowerSource]:
    """Who measures power here; one that measures the whole board stands alone."""
    there = [
        source
        for source in told
        if all(f"power_w.{r}" in series or f"energy_j.{r}" in series for r in source["rails"])
    ]
    alone = [source for source in there if source["alone"]]
    return [{"source": s["source"], "rails": list(s["rails"])} for s in alone[:1] or there]


def _add_totals(
    series: dict[str, Series], power: list[PowerSource], missing: dict[str, str]
) -> None:
    """``power_w``, the sum of what `_sources` chose, and ``throttled``, how many causes hold a clock back."""
    rails = [f"power_w.{rail}" for source in power for rail in source["rails"]]
    if rails and all(rail in series for rail in rails):
        columns = [series[rail]["values"] for rail in rails]
        series["power_w"] = {
            "unit": "W",
            "values": [_sum(row) for row in zip(*columns, strict=True)],
        }
    elif not power:
        missing["power_w"] = _no_power(missing)
    causes = [name for name in series if name.startswith(("throttled.", "throttle_events."))]
    if not causes:
        missing[_THROTTLED] = "nothing here tells of throttling"
        return
    columns = [_active(series[name]["values"], "events" in name) for name in causes]
    series[_THROTTLED] = {
        "unit": "causes",
        "values": [_sum(row) for row in zip(*columns, strict=True)],
    }
    for name in causes:  # a cause that never was one only takes room
        if not any(series[name]["values"]):
            del series[name]


def _no_power(missing: dict[str, str]) -> str:
    """Why nobody measures power; that a PC is no Jetson explains nothing."""
    reasons = dict.fromkeys(why for name, why in missing.items() if name.startswith("power_w."))
    telling = [why for why in reasons if not why.startswith("not a ")]
    return "; ".join(telling) or "no power sensor"


def _active(values: list[float | None], counter: bool) -> list[float | None]:
    """1 where a cause holds, 0 where not: a state that is not 0, or a counter that went on."""
    found: list[float | None] = []
    last = 0.0
    for value in values:
        if value is None:
            found.append(None)
            continue
        found.append(float(value > last))
        last = value if counter else 0.0
    return found


def _sum(row: tuple[float | None, ...]) -> float | None:
    """None if any part is unknown: a sum without it would look like a drop."""
    known = [value for value in row if value is not None]
    return round(sum(known), 6) if len(known) == len(row) else None


def _jumps(samples: list[Any], times: list[float]) -> list[Jump]:
    found: list[Jump] = []
    last: int | None = None
    for sample, time_s in zip(samples, times, strict=True):
        if sample[1] is None:
            continue
        if last is not None and abs(sample[1] - last) > _JUMP_NS:
            found.append({"t_s": time_s, "jump_s": round((sample[1] - last) / 1e9, 3)})
        last = sample[1]
    return found


def _cost(samples: list[Any]) -> Cost:
    passed_s = (samples[-1][0] - samples[0][0]) / 1e9
    used_s = samples[-1][2] - samples[0][2]
    sizes = [sample[3] for sample in samples if sample[3] is not None]
    return {
        "cpu_percent": round(100 * used_s / passed_s, 2) if passed_s > 0 else None,
        "rss_mb": max(sizes, default=None),
        "samples": len(samples),
    }
