"""What was sampled in a few lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from edgevision.benchmarks.sampling.timeline import Timeline, inside

__all__ = ["summary"]

#: The warmest zones at the end; a Jetson has ten.
_ZONES = 3
_TEMPERATURE = "temperature_c."


def summary(timeline: Timeline | None, energy: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Name and text of each line, for the time of the counted queries."""
    rows = [] if timeline is None else _rows(timeline)
    if energy is not None:
        rows.append(("energy", _energy(energy)))
    if timeline is not None:
        cost = timeline["sampler"]
        own = [f"{cost['samples']} samples"]
        own += [] if cost["cpu_percent"] is None else [f"{cost['cpu_percent']:.1f} % of a core"]
        own += [] if cost["rss_mb"] is None else [f"{cost['rss_mb']:.0f} MB"]
        rows.append(("sampler", ", ".join(own)))
    return rows


def _rows(timeline: Timeline) -> list[tuple[str, str]]:
    def values(name: str) -> list[float]:
        return inside(timeline, name, 0.0, timeline["counted_s"])

    rows = []
    if busy := values("cpu_percent"):
        text = f"mean {fmean(busy):.0f} %, at most {max(busy):.0f} % of all cores"
        ours = values("process_cpu_percent")
        rows.append(("processor", text + (f"; this process {fmean(ours):.0f} %" if ours else "")))
    sizes = [
        f"{name} at most {max(found):,.0f} MB"
        for name, found in (("RSS", values("rss_mb")), ("PSS", values("pss_mb")))
        if found
    ]
    if sizes:
        rows.append(("memory", ", ".join(sizes)))
    if gpu := values("gpu_percent"):
        text = f"mean {fmean(gpu):.0f} %, at most {max(gpu):.0f} %"
        memory = values("gpu_memory_mb")
        rows.append(("GPU", text + (f"; memory at most {max(memory):,.0f} MB" if memory else "")))
    if warm := _temperatures(timeline):
        rows.append(("temperature", warm))
    return rows


def _temperatures(timeline: Timeline) -> str:
    """First and last value in the window of the zones that end warmest."""
    zones = {
        name.removeprefix(_TEMPERATURE): found
        for name in timeline["series"]
        if name.startswith(_TEMPERATURE)
        and (found := inside(timeline, name, 0.0, timeline["counted_s"]))
    }
    warmest = sorted(zones, key=lambda name: -zones[name][-1])[:_ZONES]
    return ", ".join(f"{name} {zones[name][0]:.0f} → {zones[name][-1]:.0f} °C" for name in warmest)


def _energy(energy: Mapping[str, Any]) -> str:
    if energy["joules"] is None:
        return f"— {energy['reason']}"
    frame = energy["joules_per_frame"]
    each = "" if frame is None else f"{_joules(frame)} a frame, "
    return f"{each}{energy['mean_watts']:.1f} W mean ({energy['source']})"


def _joules(joules: float) -> str:
    return f"{joules:.3g} J" if joules >= 1 else f"{1000 * joules:.3g} mJ"
