"""Energy of the counted window: from counters where there are some, else power over time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from edgevision.benchmarks.sampling.timeline import Timeline

__all__ = ["energy_of"]

#: Power between two samples is taken as a straight line; farther apart nobody knows. In very long runs samples
#: are so far apart.
_LONGEST_GAP_S, _LONGEST_GAP_INTERVALS = 2.0, 3


class _UnknownError(Exception):
    """Why the energy cannot be told."""


def energy_of(
    timeline: Timeline | None, begin_s: float, end_s: float, frames: int
) -> dict[str, Any]:
    """Joules between two times, all that the machine's sensors cover, idle power included.

    Args:
        timeline: None if there is none.
        begin_s: Begin of the window, on the timeline's axis.
        end_s: Its end.
        frames: Pictures that were worked on in it.

    Returns:
        ``joules``, ``joules_per_frame``, ``mean_watts`` and ``source``; or ``joules`` None and the ``reason``.
    """
    try:
        if timeline is None:
            raise _UnknownError("nothing was sampled")
        if not timeline["power"]:
            raise _UnknownError(timeline["missing"].get("power_w", "no power sensor"))
        if end_s <= begin_s:
            raise _UnknownError("no time was counted")
        joules = sum(
            _of_rail(timeline, rail, begin_s, end_s)
            for source in timeline["power"]
            for rail in source["rails"]
        )
    except _UnknownError as why:
        return {"joules": None, "reason": str(why)}
    return {
        "joules": round(joules, 4),
        "joules_per_frame": round(joules / frames, 6) if frames else None,
        "mean_watts": round(joules / (end_s - begin_s), 3),
        "source": " and ".join(source["source"] for source in timeline["power"]),
    }


def _of_rail(timeline: Timeline, rail: str, begin_s: float, end_s: float) -> float:
    counter = _points(timeline, f"energy_j.{rail}")
    if counter:
        _check(counter, begin_s, end_s)
        return _at(counter, end_s) - _at(counter, begin_s)
    power = _points(timeline, f"power_w.{rail}")
    _check(power, begin_s, end_s)
    longest = max(_LONGEST_GAP_S, _LONGEST_GAP_INTERVALS * timeline["interval_s"])
    _check_gaps(power, begin_s, end_s, longest)
    return _area(power, begin_s, end_s)


def _points(timeline: Timeline, name: str) -> list[tuple[float, float]]:
    """Time and value of what is known of a series."""
    if name not in timeline["series"]:
        return []
    values = timeline["series"][name]["values"]
    return [(t, v) for t, v in zip(timeline["t_s"], values, strict=True) if v is not None]


def _check(points: list[tuple[float, float]], begin_s: float, end_s: float) -> None:
    if not points or points[0][0] > begin_s:
        raise _UnknownError("power was not sampled from the begin on")
    if points[-1][0] < end_s:
        raise _UnknownError(f"power was sampled until {points[-1][0]:.1f} s of {end_s:.1f} s only")


def _check_gaps(
    points: list[tuple[float, float]], begin_s: float, end_s: float, longest_s: float
) -> None:
    for (before, _), (after, _) in pairwise(points):
        if after > begin_s and before < end_s and after - before > longest_s:
            raise _UnknownError(f"no power sample for {after - before:.1f} s, at {before:.1f} s")


def _at(points: list[tuple[float, float]], time_s: float) -> float:
    """The value at a time between the first and the last point, on the straight line between its neighbours."""
    for (before, low), (after, high) in pairwise(points):
        if before <= time_s <= after:
            part = (time_s - before) / (after - before) if after > before else 0.0
            return low + (high - low) * part
    return points[0][1]


def _area(points: list[tuple[float, float]], begin_s: float, end_s: float) -> float:
    """Under the straight lines between the points, cut at the window's ends."""
    within = [point for point in points if begin_s < point[0] < end_s]
    cut = [(begin_s, _at(points, begin_s)), *within, (end_s, _at(points, end_s))]
    return sum(
        (after - before) * (low + high) / 2 for (before, low), (after, high) in pairwise(cut)
    )
