"""What happened to the machine during a run that a reader of its numbers must know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from statistics import fmean, median
from typing import Any, TypedDict

from edgevision.benchmarks.sampling.timeline import Timeline, inside

__all__ = ["Flag", "flags_of"]

#: A clock that ends so much below its begin, by the medians of the window's first and last quarter.
_SLOWER = 0.10
_LEAST_IN_QUARTER = 3
#: Percent of all cores that other programs may use.
_OTHERS_PERCENT = 10.0
#: Percent of all cores that a hypervisor may give to others.
_STEAL_PERCENT = 2.0
_SWAPPED_MB = 1.0
#: So many intervals without a sample, and at least so long, and the sampler itself was held up.
_GAP_INTERVALS, _GAP_S = 10, 1.0
#: Capping by power is how some boards are meant to run; it is no fault, but it is what limits them.
_BY_POWER = "throttled.gpu-power-cap"


class Flag(TypedDict):
    """A kind that scripts may look for, and a sentence for people."""

    kind: str
    text: str


def flags_of(
    timeline: Timeline | None,
    begin_s: float,
    end_s: float,
    *,
    problem: str | None = None,
    start: Mapping[str, Any] | None = None,
    cores: int | None = None,
) -> list[Flag]:
    """All flags of a run.

    Args:
        timeline: None if there is none.
        begin_s: Begin of the counted window, on the timeline's axis.
        end_s: Its end.
        problem: What became of the sampler; None if all went well.
        start: The machine's state before the run, as `edgevision.benchmarks.environment.read_state` gives it.
        cores: Of the machine.
    """
    found = [] if problem is None else [_flag("sampler-lost", _lost(problem, timeline))]
    if not _tells_others(timeline):
        found += _busy_before(start or {}, cores)
    if timeline is not None:
        for look in (_gaps, _throttled, _slower, _swapped, _busy, _stolen, _jumped):
            found += look(timeline, begin_s, end_s)
    return found


def _lost(problem: str, timeline: Timeline | None) -> str:
    if timeline is None:
        return f"{problem}; nothing was sampled"
    return f"{problem}; its last sample is at {timeline['t_s'][-1]:.1f} s"


def _tells_others(timeline: Timeline | None) -> bool:
    """Whether others' share of the processor is known. If not, the load before has to do.

    It holds what this program did within the last minutes too, such as the run before: alone it says little.
    """
    needed = {"cpu_percent", "process_cpu_percent"}
    return timeline is not None and needed <= timeline["series"].keys()


def _busy_before(start: Mapping[str, Any], cores: int | None) -> Iterator[Flag]:
    load = start.get("load_average")
    if load and cores and load[0] >= cores / 2:
        yield _flag(
            "busy",
            f"the machine was busy before the run: load average {load[0]:.1f} on {cores} cores",
        )


def _gaps(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    longest = max(_GAP_S, _GAP_INTERVALS * timeline["interval_s"])
    # Also one that the window begins or ends in.
    gaps = [
        (after - before, before)
        for before, after in pairwise(timeline["t_s"])
        if before < end_s and after > begin_s
    ]
    gap, at = max(gaps, default=(0.0, 0.0))
    if gap > longest:
        yield _flag(
            "sampler-late",
            f"no sample for {gap:.1f} s at {at:.1f} s: the machine was overloaded or stood still",
        )


def _throttled(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    for name in sorted(timeline["series"]):
        cause = name.partition(".")[2]
        if name.startswith("throttle_events."):
            values = inside(timeline, name, begin_s, end_s)
            events = int(values[-1] - values[0]) if values else 0
            if events > 0:
                yield _flag("throttled", f"slowed down {events} times: {_CAUSES.get(cause, cause)}")
        elif name.startswith("throttled."):
            values = inside(timeline, name, begin_s, end_s)
            part = 100 * sum(value > 0 for value in values) / len(values) if values else 0.0
            if part > 0:
                kind = "power-capped" if name == _BY_POWER else "throttled"
                share = f"{part:.0f} %" if part >= 1 else "less than 1 %"
                text = f"slowed down in {share} of the time: {_CAUSES.get(cause, cause)}"
                yield _flag(kind, text)


def _slower(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    for name, what in (("clock_mhz", "processor"), ("gpu_clock_mhz", "GPU")):
        quarter = (end_s - begin_s) / 4
        first = inside(timeline, name, begin_s, begin_s + quarter)
        last = inside(timeline, name, end_s - quarter, end_s)
        if min(len(first), len(last)) < _LEAST_IN_QUARTER:
            continue
        before, after = median(first), median(last)
        if after < before * (1 - _SLOWER):
            yield _flag(
                "frequency-dropped",
                f"the {what}'s clock fell from {before:,.0f} to {after:,.0f} MHz during the run",
            )


def _swapped(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    moved = {}
    for way, name in (("in", "swap_in_mb"), ("out", "swap_out_mb")):
        values = inside(timeline, name, begin_s, end_s)
        moved[way] = values[-1] - values[0] if values else 0.0
    if max(moved.values()) >= _SWAPPED_MB:
        yield _flag(
            "swapped",
            f"the machine swapped during the run: {moved['in']:,.0f} MB in, {moved['out']:,.0f} MB out",
        )


def _busy(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    parts = [
        inside(timeline, name, begin_s, end_s)
        for name in ("cpu_percent", "process_cpu_percent", "steal_percent")
    ]
    if not parts[0] or not parts[1]:
        return
    everything, ours, stolen = (fmean(part) if part else 0.0 for part in parts)
    others = everything - ours - stolen
    if others > _OTHERS_PERCENT:
        yield _flag("busy", f"other programs used {others:.0f} % of the processor during the run")


def _stolen(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    values = inside(timeline, "steal_percent", begin_s, end_s)
    if values and fmean(values) > _STEAL_PERCENT:
        yield _flag(
            "stolen",
            f"the hypervisor gave {fmean(values):.0f} % of the processor to other machines",
        )


def _jumped(timeline: Timeline, begin_s: float, end_s: float) -> Iterator[Flag]:
    for jump in timeline["wall_jumps"]:
        if begin_s <= jump["t_s"] <= end_s:
            yield _flag(
                "clock-jump",
                f"the wall clock jumped by {jump['jump_s']:+.1f} s at {jump['t_s']:.1f} s; times here are of the "
                "monotonic clock, which did not",
            )


def _flag(kind: str, text: str) -> Flag:
    return {"kind": kind, "text": text}


_CAUSES = {
    "cores": "heat of cores",
    "package": "heat of the processor",
    "oc1": "under-voltage (oc1)",
    "oc2": "average over-current (oc2)",
    "oc3": "momentary over-current (oc3)",
    "undervoltage": "under-voltage",
    "capped": "the firmware capped the clock",
    "firmware": "the firmware throttled the clock",
    "soft-temperature": "the firmware's soft temperature limit",
    "gpu-power-cap": "the GPU's power limit",
    "gpu-hardware": "the GPU's hardware slowdown (heat or power)",
    "gpu-heat": "heat of the GPU",
    "gpu-heat-hardware": "heat of the GPU (by hardware)",
    "gpu-power-brake": "the power supply's brake on the GPU",
}
