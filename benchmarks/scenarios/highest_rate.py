"""The highest rate at which `server` is valid: foreseen from service times, then tried for real.

Foreseeing costs nothing: the times that frames take one after another are put in a line behind the same
arrivals that the real run will see. Only real runs count. From the foreseen rate it goes down until a run is
valid, or up until one is not, in steps of 5 %, five full runs at the most; the record is the last valid run,
and names all that were tried.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.arrivals import Poisson
from edgevision.benchmarks.scenarios.driving import Call, drive
from edgevision.benchmarks.scenarios.measurement import Measurement, nothing
from edgevision.benchmarks.scenarios.results import over_the_bound

__all__ = ["foreseen_latencies", "foreseen_rate", "highest_rate"]

_MOST_RUNS = 5
_STEP = 1.05
#: Frames one after another, to learn what one takes.
_PROBE = 200
_PROBE_S = 2.0
#: Where no rate can be foreseen, one run at this part of what the machine can do says why.
_HARDLY_BUSY = 0.1
_HALVINGS = 20
#: More queries than that hardly change what is foreseen, and nobody is told while they are.
_MOST_FORESEEN = 50_000

_BEFORE_ALL = "it ended before its first run, while frames were timed one after another"

AtRate = Callable[[Call], Measurement]


def highest_rate(call: Call, at_rate: AtRate) -> Measurement:
    """The last valid run, or the last one if none was valid; ``scenario_options`` has all rates tried.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    probe = _probed(call)
    if probe.invalid_reason or not probe.ran_ns:
        return _without_queries(probe, call.plan)
    service = probe.total_ns * np.float64(probe.ran_ns / probe.total_ns.sum())
    rate = foreseen_rate(service, call.plan)
    tried: list[dict[str, Any]] = []
    best: Measurement | None = None
    last = probe
    for number in range(_MOST_RUNS if rate else 1):
        rate = rate or _HARDLY_BUSY * 1e9 / float(service.mean())
        last = at_rate(_part(call, number, rate))
        valid = last.invalid_reason is None
        tried.append({"target_qps": round(rate, 3), "valid": valid, "reason": last.invalid_reason})
        if call.stop.number or (not valid and best is not None):
            break  # above the best one, so that is the highest
        best = last if valid else best
        if valid and len(tried) > 1 and not tried[-2]["valid"]:
            break  # just below one that was not valid
        rate = rate * _STEP if valid else rate / _STEP
    chosen = _chosen(best, last, interrupted=call.stop.number != 0)
    return replace(
        chosen,
        first_inference_ns=probe.first_inference_ns,
        scenario_options={**chosen.scenario_options, "searched": tried},
    )


def foreseen_rate(service_ns: NDArray[np.float64], plan: Plan) -> float | None:
    """The highest rate at which these service times keep the plan's bound, in a line for one; None: at none."""
    low, high = 0.0, 1e9 / float(service_ns.mean())
    bound_ms = plan.latency_bound_ms or 0.0
    plan = replace(
        plan,
        duration_s=min(plan.duration_s, _MOST_FORESEEN / high),
        min_queries=min(plan.min_queries, _MOST_FORESEEN),
    )
    for _ in range(_HALVINGS):
        rate = (low + high) / 2
        latencies = foreseen_latencies(service_ns, rate, plan)
        if over_the_bound(latencies, bound_ms, plan.percentile) is None:
            low = rate
        else:
            high = rate
    return low or None


def foreseen_latencies(
    service_ns: NDArray[np.float64], rate: float, plan: Plan
) -> NDArray[np.float64]:
    """What queries of a rate would take: each begins when it is due, and the one before is done.

    Returns:
        Nanoseconds, float64 ``(queries,)``: so many as the plan asks for.
    """
    queries = max(plan.min_queries, int(plan.duration_s * rate))
    arrivals = Poisson(rate, plan.seed or 0)
    latencies = np.empty(queries)
    free = 0.0
    for number, took in enumerate(np.resize(service_ns, queries).tolist()):
        due = arrivals.due_ns(number)
        free = max(free, due) + took
        latencies[number] = free - due
    return latencies


def _probed(call: Call) -> Measurement:
    """Frames one after another. Nothing of the run is done by that, but it shows that there is life."""
    plan, tell = call.plan, call.tell
    probe = Plan.of(
        "single-stream",
        duration_s=min(_PROBE_S, plan.duration_s),
        min_queries=_PROBE,
        warmup=plan.warmup,
    )
    return drive(replace(call, plan=probe, tell=(lambda _: tell(0.0)) if tell else None))


def _without_queries(probe: Measurement, plan: Plan) -> Measurement:
    """Of a search that ended before its first run: what the probe timed was no query of this scenario."""
    why = probe.invalid_reason or "no time was counted"
    return replace(
        nothing(f"{_BEFORE_ALL}: {why}", probe.info),
        passes=probe.passes,
        problems=probe.problems,
        first_inference_ns=probe.first_inference_ns,
        failure=probe.failure,
        flags=probe.flags,
        scenario_options={**plan.options(), "searched": []},
    )


def _part(call: Call, number: int, rate: float) -> Call:
    """The call at a rate, telling its part of the whole search."""
    tell = call.tell
    told = (lambda part: tell((number + part) / _MOST_RUNS)) if tell else None
    return replace(call, plan=replace(call.plan, target_qps=rate), tell=told)


def _chosen(best: Measurement | None, last: Measurement, *, interrupted: bool) -> Measurement:
    if best is None or not interrupted:
        return best or last
    # A valid run was made, but whether it is the highest was not found out.
    return replace(best, invalid_reason="interrupted before the highest rate was found")
