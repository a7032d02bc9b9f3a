"""``offline``: all frames are there at once, and what counts is how many are done in a second."""

from __future__ import annotations

from dataclasses import replace

from edgevision.benchmarks.scenarios.driving import Call, drive
from edgevision.benchmarks.scenarios.measurement import Measurement
from edgevision.benchmarks.scenarios.results import rate_result
from edgevision.sources._ahead import ahead

__all__ = ["counted", "offline"]


def offline(call: Call) -> Measurement:
    """End to end: frames are read ahead, as ``run`` does it, so slots and rows are kept busy.

    How long each frame took is kept too, from its read to its result: when it was *due* means
    nothing here, for they all were at the begin.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    return counted(drive(call, frames=lambda: ahead(call.make_source())))


def counted(measured: Measurement) -> Measurement:
    """With its result, the samples a second: all that count ÷ begin of the first to end of the last."""
    samples = len(measured.total_ns) * measured.samples_per_query
    rate = samples / (measured.ran_ns / 1e9) if measured.ran_ns else None
    result = rate_result("samples_per_s", rate, measured.total_ns, None)
    return replace(measured, result=result)
