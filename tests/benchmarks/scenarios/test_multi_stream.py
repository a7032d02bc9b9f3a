"""Queries of several frames, end to end and of the engine alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.clock import STAGES
from edgevision.frame import Image
from edgevision.model import Model
from edgevision.sources import Source
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
run = SCENARIOS["multi-stream"].run


def plan(queries: int = 662, samples: int = 4, **options: object) -> Plan:
    asked = {"duration_s": 0, "warmup": 2, "min_queries": queries, "samples_per_query": samples}
    return Plan.of("multi-stream", **asked | options)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_next_query_begins_when_all_frames_of_the_one_before_are_done(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=3)
    measured = run(model, lambda: MemorySource(pictures), plan(), sign)
    assert measured.invalid_reason is None
    assert (len(measured.total_ns), measured.samples_per_query) == (662, 4)
    ends = measured.begins_ns + measured.total_ns
    assert (measured.begins_ns[1:] >= ends[:-1]).all()


def test_query_is_the_sum_of_its_frames(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(delay_s=0.0005)
    measured = run(model, lambda: MemorySource(pictures), plan(20, 3, cooldown=1), sign)
    assert model._session.runs == 1 + 3 * (2 + 20 + 1)
    assert measured.stages_ns[:, STAGES.index("compute")].min() >= 3 * 500_000
    assert (measured.stages_ns.sum(axis=1) <= measured.total_ns).all()
    assert len(measured.warmup_ns) == 2


def test_result_is_the_p99_and_its_early_stopping_estimate(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(), sign)
    ordered = np.sort(measured.total_ns)
    assert measured.result == {
        "metric": "p99_ms",
        "value": ordered[int(662 * 0.99)] / 1e6,
        "percentile": 0.99,
        "estimate_ms": ordered[-1] / 1e6,
        "queries_needed": 662,
    }
    assert measured.scenario_options == {"samples_per_query": 4}


def test_too_few_queries_for_the_p99_are_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(661), sign)
    assert measured.invalid_reason == (
        "the result of multi-stream is p99, which needs 662 queries; 661 were run"
    )


def test_source_that_ends_in_the_midst_of_a_query_is_opened_in_nobody_s_time(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    def slowly() -> Source:
        time.sleep(0.02)
        return SyntheticSource("synthetic://noise?size=8x8&frames=7")

    begin = time.monotonic_ns()
    measured = run(open_fake(), slowly, plan(30, 4, warmup=0), sign)
    wall_ns = time.monotonic_ns() - begin
    assert (len(measured.total_ns), measured.passes) == (30, 18)  # 120 frames, seven a pass
    assert measured.ran_ns <= wall_ns - 18 * 20_000_000
    assert measured.total_ns.sum() <= measured.ran_ns
    assert [flag["kind"] for flag in measured.flags] == ["looped"]
    assert "7 frames" in measured.flags[0]["text"]


def test_source_with_fewer_frames_than_a_query_is_enough(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    def make() -> Source:
        return SyntheticSource("synthetic://noise?size=8x8&frames=1")

    measured = run(open_fake(), make, plan(5, 3, warmup=0), sign)
    assert (len(measured.total_ns), measured.passes) == (5, 15)


@pytest.mark.parametrize(("hint", "threads"), [("latency", 0), ("throughput", 2)])
def test_engine_alone_runs_every_frame_of_a_query(
    hint: str, threads: int, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=threads, delay_s=0.0002)
    asked = plan(10, 5, inference_only=True, cooldown=0)
    measured = run(model, lambda: MemorySource(pictures), asked, sign)
    assert model._session.runs == 1 + 5 * (2 + 10)
    assert (measured.stages_ns[:, STAGES.index("compute")] == measured.total_ns).all()
    assert measured.total_ns.min() >= 5 * 200_000
    assert measured.samples_per_query == 5
