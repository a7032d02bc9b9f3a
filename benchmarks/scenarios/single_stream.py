"""``single-stream``: the next frame is read when the one before is done."""

from __future__ import annotations

from dataclasses import replace

from edgevision.benchmarks.scenarios.driving import Call, drive
from edgevision.benchmarks.scenarios.measurement import Measurement
from edgevision.benchmarks.scenarios.results import latency_result, too_few

__all__ = ["judged", "single_stream"]


def single_stream(call: Call) -> Measurement:
    """End to end: with the hint ``throughput`` a frame is read as soon as a slot is free, so queries overlap.

    Raises:
        EdgevisionError: The model or the source failed before the first query; later it makes the
            run invalid.
    """
    return judged(call, drive(call))


def judged(call: Call, measured: Measurement) -> Measurement:
    """With its result, the percentile of the latencies; invalid with too few to quote it."""
    p, queries = call.plan.percentile, len(measured.total_ns)
    return replace(
        measured,
        result=latency_result(measured.total_ns, p),
        invalid_reason=measured.invalid_reason or too_few(call.plan.scenario, queries, p),
    )
