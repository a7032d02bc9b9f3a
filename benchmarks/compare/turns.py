"""Two models whose short blocks of queries take turns, so that noise hits both alike.

In each pair of blocks chance decides, by a recorded seed, which side goes first: that is what the statistics of
`edgevision.benchmarks.compare.interleaved` rest on. A pair that was not finished is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevision.benchmarks.compare.interleaved import LEAST_PAIRS
from edgevision.benchmarks.compare.lane import Lane
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios.measurement import MakeSource, Measurement, Tell
from edgevision.benchmarks.scenarios.results import latency_result, too_few
from edgevision.benchmarks.terms import StopSign
from edgevision.errors import EdgevisionError
from edgevision.model import Model

__all__ = ["Turns", "take_turns"]

#: A block lasts about so long. Short ones see the same noise as their neighbour: the figures are in docs/compare.md.
_BLOCK_NS = 50_000_000
_MOST_QUERIES = 500
#: From so many queries on a block begins with one that does not count: it finds the other model's data in the caches.
_LEAST_WITH_LEAD_IN = 4
#: With queries in flight a block fills the slots, and empties them, so it has to be so many times as long.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Turns:
    """How the two took turns.

    Attributes:
        block_queries: Counted queries in a block.
        lead_in: Queries before them in each block, not counted.
        seed: Of the order.
        first: Who went first in each pair: a string of ``A`` and ``B``.
    """

    block_queries: int
    lead_in: int
    seed: int
    first: str

    def to_json(self) -> dict[str, Any]:
        return {
            "block_queries": self.block_queries,
            "lead_in": self.lead_in,
            "seed": self.seed,
            "first": self.first,
        }


def take_turns(
    models: Sequence[Model],
    sources: Sequence[MakeSource],
    plan: Plan,
    stop: StopSign,
    *,
    seed: int = 0,
    tell: Tell | None = None,
) -> tuple[list[Measurement], Turns]:
    """Runs two models in turns until both together ran for the plan's duration and have its queries.

    Args:
        models: Two open models.
        sources: Makes the source anew, for each of them.
        plan: What to run; ``min_queries`` of each side.
        stop: Ends the run early; both are then invalid.
        seed: Of the order.
        tell: Called between pairs with the part that is done, 0…1.

    Raises:
        EdgevisionError: A model or a source failed before the first counted query.
    """
    rng = np.random.default_rng(seed)
    with ExitStack() as stack:
        lanes = [
            stack.enter_context(Lane(m, s, plan)) for m, s in zip(models, sources, strict=True)
        ]
        for lane in lanes:
            lane.warm_up(stop)
        block, lead_in = _block(lanes)
        first, failure = "", None
        try:
            while not stop.number and not _done(lanes, plan, len(first)):
                order = [0, 1] if rng.integers(2) == 0 else [1, 0]
                for index in order:
                    lanes[index].block(block, lead_in, stop)
                first += "AB"[order[0]]
                if tell is not None:
                    tell(_part(lanes, plan))
        except EdgevisionError as error:
            failure = error
        pairs = min(len(lane.blocks) for lane in lanes)
        reason = _reason(failure, stop, pairs)
        measured = [_measurement(lane, plan, pairs, reason, failure) for lane in lanes]
    return measured, Turns(block, lead_in, seed, first[:pairs])


def _block(lanes: Sequence[Lane]) -> tuple[int, int]:
    """Queries in a block, and before it: the same for both, by the slower one's speed."""
    slots = max(lane.slots for lane in lanes)
    slowest = max(lane.query_ns for lane in lanes)
    queries = max(round(_BLOCK_NS / max(slowest, 1)), 1, _ROUNDS * slots if slots > 1 else 1)
    queries = min(queries, _MOST_QUERIES)
    return queries, slots if queries >= _LEAST_WITH_LEAD_IN else 0


def _done(lanes: Sequence[Lane], plan: Plan, pairs: int) -> bool:
    queries = min(lane.counted for lane in lanes)
    enough = queries >= plan.min_queries and pairs >= LEAST_PAIRS
    return enough and sum(lane.ran_ns for lane in lanes) >= plan.duration_s * 1e9


def _part(lanes: Sequence[Lane], plan: Plan) -> float:
    ran = sum(lane.ran_ns for lane in lanes)
    by_time = ran / (plan.duration_s * 1e9) if plan.duration_s else 1.0
    return min(1.0, by_time, min(lane.counted for lane in lanes) / plan.min_queries)


def _reason(failure: EdgevisionError | None, stop: StopSign, pairs: int) -> str | None:
    done = f"after {pairs} pairs of blocks"
    if failure is not None:
        return f"{failure.problem}, {done}"
    return f"interrupted by signal {stop.number} {done}" if stop.number else None


def _measurement(
    lane: Lane, plan: Plan, pairs: int, reason: str | None, failure: EdgevisionError | None
) -> Measurement:
    stages, total, ends, ran_ns = lane.counted_queries(pairs)
    begins = ends - total
    p = plan.percentile
    return Measurement(
        stages_ns=stages,
        total_ns=total,
        warmup_ns=lane.warmup_ns(),
        ran_ns=ran_ns,
        first_inference_ns=lane.first_ns,
        invalid_reason=reason or too_few(plan.scenario, len(total), p),
        info=lane.info,
        passes=lane.passes,
        samples_per_query=lane.samples_per_query,
        problems=tuple(lane.problems),
        begins_ns=begins - begins[0] if len(begins) else begins,
        origin_ns=int(begins[0]) if len(begins) else 0,
        result=latency_result(total, p),
        failure=failure,
    )
