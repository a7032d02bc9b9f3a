"""``server``: frames come at random at a given rate, and p99 has to keep a bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.arrivals import Poisson, wait_until
from edgevision.benchmarks.scenarios.driving import Call, drive
from edgevision.benchmarks.scenarios.feed import Feed
from edgevision.benchmarks.scenarios.highest_rate import highest_rate
from edgevision.benchmarks.scenarios.measurement import Measurement
from edgevision.benchmarks.scenarios.open_loop import DueRing
from edgevision.benchmarks.scenarios.results import over_the_bound, rate_result
from edgevision.benchmarks.terms import Terms
from edgevision.clock import StageRing, now_ns
from edgevision.frame import Frame
from edgevision.percentiles import overruns_allowed

__all__ = ["server"]

#: How far beyond the mean number of arrivals a Poisson process may come.
_SPARE = 4.0


def server(call: Call) -> Measurement:
    """End to end at ``target_qps``; without one, at the highest rate at which the run is valid.

    Raises:
        EdgevisionError: As `single_stream`.
    """
    return at_rate(call) if call.plan.target_qps else highest_rate(call, at_rate)


def at_rate(call: Call) -> Measurement:
    """One run at the plan's rate; invalid, with the reason, if the percentile does not keep the bound."""
    plan = call.plan
    bound_ms = plan.latency_bound_ms or 0.0

    def make(terms: Terms) -> tuple[Feed, StageRing]:
        ring = _BoundRing(terms, plan)
        return _ArrivingFeed(terms, ring, plan), ring

    measured = drive(call, make)
    total = measured.total_ns
    overruns = int((total > bound_ms * 1e6).sum())
    rate = None if measured.invalid_reason else _scheduled(plan, measured)
    reason = measured.invalid_reason or over_the_bound(total, bound_ms, plan.percentile)
    return replace(
        measured,
        result=rate_result("qps", rate, total, plan.percentile, max(1, overruns)),
        invalid_reason=reason,
        scenario_options={**measured.scenario_options, "overruns": overruns},
    )


def _scheduled(plan: Plan, measured: Measurement) -> float | None:
    """Arrivals a second as they were due; from the first to the last there is one gap fewer, as LoadGen counts.

    It is that of the schedule: ``begins_ns`` also holds the time in which a source was opened again.
    """
    first, gaps = len(measured.warmup_ns), len(measured.total_ns) - 1
    if gaps < 1:
        return None
    arrivals = Poisson(plan.target_qps or 1.0, plan.seed or 0)
    return gaps * 1e9 / (arrivals.due_ns(first + gaps) - arrivals.due_ns(first))


class _BoundRing(DueRing):
    """Counts who takes longer than the bound, and ends a run that cannot become valid any more."""

    def __init__(self, terms: Terms, plan: Plan) -> None:
        super().__init__(terms.kept)
        self._terms, self._bound_ns = terms, int((plan.latency_bound_ms or 0.0) * 1e6)
        expected = plan.duration_s * (plan.target_qps or 0.0)
        queries = max(plan.min_queries, int(expected + _SPARE * expected**0.5))
        self._allowed = max(0, overruns_allowed(queries, plan.percentile))
        self._plan = plan
        self._overruns = 0

    def passed_on(self, row: NDArray[np.int64], due_ns: int) -> None:
        super().passed_on(row, due_ns)
        counts = self._terms.warm and self._terms.kept.count > self._terms.skipped
        self._overruns += bool(counts and row[-1] > self._bound_ns)
        if self._overruns > self._allowed and not self._terms.met:
            self._terms.hopeless = (
                f"p{100 * self._plan.percentile:g} is over the bound of "
                f"{self._plan.latency_bound_ms:g} ms: {self._overruns} of the first "
                f"{self._terms.counted} queries took longer, and the run ended there"
            )


class _ArrivingFeed(Feed):
    """Gives a frame when it is due, or at once if that is past."""

    def __init__(self, terms: Terms, ring: DueRing, plan: Plan) -> None:
        super().__init__(terms)
        self._ring = ring
        self._arrivals = Poisson(plan.target_qps or 1.0, plan.seed or 0)
        self._number = 0
        self._origin_ns = 0

    def resumed(self, stood_ns: int) -> None:
        # While a source is opened again nobody arrives; who was due before is as late as before.
        self._origin_ns = self._origin_ns + stood_ns if self._origin_ns else now_ns()

    def ready(self) -> bool:
        """Whether a frame is due."""
        return self._due() <= now_ns()

    def read(self, into: Frame) -> bool:
        asked, due = now_ns(), self._due()
        if not self.terms.may_begin(due):
            return False
        while not wait_until(due):
            if self.terms.over:
                return False
        began = now_ns()
        if not self._read(into):
            return False
        self.terms.begun()
        self._number += 1
        self._ring.began(due, asked, began - asked, began - due)
        return True

    def _due(self) -> int:
        return self._origin_ns + self._arrivals.due_ns(self._number)
