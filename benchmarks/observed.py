"""What the sampler saw of a run, as the record's keys ``timeline``, ``energy`` and ``flags``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgevision.benchmarks.sampling.energy import energy_of
from edgevision.benchmarks.sampling.flags import flags_of
from edgevision.benchmarks.sampling.sampler import Sampler
from edgevision.benchmarks.scenarios.measurement import Measurement

__all__ = ["observed"]


def observed(
    sampler: Sampler, measured: Measurement, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """For the counted window: from the first counted query's begin to the end of the last.

    A source that was opened again in between is part of it: the machine used power meanwhile.

    Args:
        sampler: Stopped.
        measured: The run it sampled.
        environment: With ``cpu`` and ``start``, as a record has it.
    """
    ends_ns = measured.begins_ns + measured.total_ns
    end_s = round(float(ends_ns.max()) / 1e9, 6) if len(ends_ns) else 0.0
    timeline = sampler.timeline(measured.origin_ns, end_s) if measured.origin_ns else None
    flags = flags_of(
        timeline,
        0.0,
        end_s,
        problem=sampler.problem,
        start=environment["start"],
        cores=environment["cpu"]["cores"],
    )
    frames = len(measured.total_ns) * measured.samples_per_query
    return {
        "timeline": timeline,
        "energy": energy_of(timeline, 0.0, end_s, frames),
        "flags": [*measured.flags, *flags],
    }
