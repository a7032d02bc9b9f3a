"""What the sampler read during a run, sorted into panels: one kind of reading and one unit each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.report.html.facts import dig, mapping, numbers, text

__all__ = ["Panel", "Series", "panels_of", "seconds_of", "throttled_spans", "unread"]

#: Panel → the beginnings of its series' names, in the order of the page.
_PANELS = {
    "temperature": ("temperature_c",),
    "clock": ("clock_mhz", "gpu_clock_mhz"),
    "processor in use": ("cpu_percent", "gpu_percent", "steal_percent"),
    "power": ("power_w",),
    "memory": ("rss_mb", "pss_mb", "gpu_memory_mb"),
    "swapped in": ("swap_in_mb",),
}
_UNITS = {"temperature": "°C", "processor in use": "%"}
#: Lines that one can still follow; of more, those with the highest readings are shown.
_LINES = 4
#: A line breaks where so many readings in a row are missing.
_SILENT_TURNS = 3
#: Sensors that are named as missing.
_MISSING = 40


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and float64 ``(readings,)`` with NaN where nothing was read."""

    name: str
    values: NDArray[np.float64]

    def line(self, seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times and values without those at which it is not this sensor's turn: most are read rarer than others.

        A NaN is left where it was silent for several of its turns.
        """
        read, silent = _turns(self.values)
        gaps = np.flatnonzero(silent)
        places = np.insert(read, gaps + 1, read[gaps] + 1)
        return seconds[places], self.values[places]


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines with one unit; ``left_out`` of them are not shown."""

    title: str
    unit: str
    series: tuple[Series, ...]
    left_out: int


def seconds_of(record: Mapping[str, Any]) -> NDArray[np.float64]:
    """When readings were made, after the first counted query's begin; empty if any is no number."""
    found = numbers(dig(record, "timeline", "t_s"))
    return np.empty(0) if np.isnan(found).any() else found


def panels_of(record: Mapping[str, Any]) -> list[Panel]:
    """Panels that have a reading."""
    return [
        panel for title, names in _PANELS.items() if (panel := _panel(record, title, names)).series
    ]


def unread(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Reason → the series that were not read for it."""
    found: dict[str, list[str]] = {}
    for name, why in list(mapping(dig(record, "timeline", "missing")).items())[:_MISSING]:
        found.setdefault(text(why), []).append(text(name, 60))
    return found


def throttled_spans(record: Mapping[str, Any]) -> list[tuple[float, float]]:
    """From when to when the machine said that it was throttled, seconds."""
    seconds, values = seconds_of(record), _values(record, "throttled")
    if len(seconds) != len(values):
        return []
    read, silent = _turns(values)
    spans: list[tuple[float, float]] = []
    for before, n, was_silent in zip(read[:-1], read[1:], silent, strict=True):
        if values[n] > 0:
            start, end = float(seconds[n - 1 if was_silent else before]), float(seconds[n])
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((start, end))
    return spans


def _turns(values: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Places of the readings, and for each but the last whether several of its turns passed before the next."""
    read = np.flatnonzero(~np.isnan(values))
    steps = np.diff(read)
    return read, steps > _SILENT_TURNS * (np.median(steps) if len(steps) else 1)


def _panel(record: Mapping[str, Any], title: str, names: tuple[str, ...]) -> Panel:
    length = len(seconds_of(record))
    every = mapping(dig(record, "timeline", "series"))
    mine = [name for name in every if isinstance(name, str) and _belongs(name, names)]
    read = [Series(_short(name), _values(record, name)) for name in mine]
    read = [s for s in read if len(s.values) == length and not np.isnan(s.values).all()]
    if title == "swapped in":
        read = [s for s in read if np.nanmax(s.values) > np.nanmin(s.values)]
    kept = sorted(read, key=lambda s: -float(np.nanmax(s.values)))[:_LINES]
    unit = _UNITS.get(title) or (text(dig(every, mine[0], "unit"), 12) if mine else "")
    return Panel(title, unit, tuple(kept), len(read) - len(kept))


def _belongs(name: str, names: tuple[str, ...]) -> bool:
    whole = name.removeprefix("process_")
    return any(whole == start or whole.startswith(f"{start}.") for start in names)


def _short(name: str) -> str:
    """``temperature_c.cpu-thermal`` → ``cpu-thermal``; ``rss_mb`` → ``rss``."""
    whole, _, part = name.partition(".")
    for unit in ("_percent", "_mhz", "_mb", "_c", "_w"):
        whole = whole.removesuffix(unit)
    return text(part or whole.replace("_", " "), 40)


def _values(record: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    return numbers(mapping(mapping(dig(record, "timeline", "series")).get(name)).get("values"))
