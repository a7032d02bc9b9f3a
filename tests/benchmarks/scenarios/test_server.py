"""Arrivals at random: time counts from when a query was due, and a bound decides whether the run is valid."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import comb
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.benchmarks.scenarios.arrivals import Poisson
from edgevision.benchmarks.scenarios.highest_rate import foreseen_latencies, foreseen_rate
from edgevision.clock import STAGES
from edgevision.frame import Image
from edgevision.model import Model
from edgevision.sources import Source
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
run = SCENARIOS["server"].run
SIDE = 8
#: So long that no machine, however busy, keeps a query from it.
PATIENT_MS = 60_000


def plan(qps: float | None, bound_ms: float = PATIENT_MS, **options: Any) -> Plan:
    asked = {"duration_s": 0, "min_queries": 459, "warmup": 2, "target_qps": qps}
    return Plan.of("server", **asked | {"latency_bound_ms": bound_ms} | options)


def stalls(at: int, seconds: float) -> Callable[[Mapping[str, Any], int], Mapping[str, Any]]:
    """Fake outputs; the given run takes long."""

    def outputs(_inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        if number == at:
            time.sleep(seconds)
        return {"scores": np.zeros((1, 3 * SIDE * SIDE), np.float32)}

    return outputs


def test_queries_begin_when_the_seed_says(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(2000, seed=9), sign)
    warm = len(measured.warmup_ns)
    arrivals = Poisson(2000, 9)
    due = np.array([arrivals.due_ns(warm + number) for number in range(459)])
    assert (measured.begins_ns == due - due[0]).all()


def test_run_is_valid_with_no_overrun_in_459_queries(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(3000), sign)
    assert measured.invalid_reason is None
    assert measured.result is not None
    assert measured.result["metric"] == "qps"
    last_s = measured.begins_ns[-1] / 1e9
    assert measured.result["value"] == pytest.approx(458 / last_s, abs=1e-3)
    assert dict(measured.scenario_options) == {
        "target_qps": 3000, "latency_bound_ms": PATIENT_MS, "seed": 1, "overruns": 0,
    }  # fmt: skip


def test_one_query_fewer_cannot_show_that_p99_keeps_the_bound(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(3000, min_queries=458), sign)
    assert measured.invalid_reason == (
        "too few queries to say that p99 keeps the bound of 60000 ms: 0 of 458 queries took longer; "
        "that takes 459 queries"
    )


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_stall_delays_every_query_that_was_due_meanwhile(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    """Coordinated omission: a closed loop would see one slow query, here all that waited are."""
    model = open_fake(hint=hint, threads=1, outputs=stalls(at=60, seconds=0.1))
    measured = run(model, lambda: MemorySource(pictures), plan(500, min_queries=100), sign)
    due, total = measured.begins_ns, measured.total_ns
    slow = int(np.argmax(measured.stages_ns[:, STAGES.index("compute")]))
    ended = due[slow] + total[slow]
    waited = (due >= ended - 100_000_000) & (due < ended) & (np.arange(100) >= slow)
    assert waited.sum() > 5  # 50 are expected
    assert (total[waited] >= ended - due[waited]).all()


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_stages_add_up_and_waiting_to_be_due_is_in_none(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=2)
    asked = plan(300, min_queries=40)
    measured = run(model, lambda: MemorySource(pictures), asked, sign)
    # A stamp comes a little after what it is told of: the pipeline's clock is read first.
    assert (measured.stages_ns.sum(axis=1) == measured.total_ns).all()
    assert (measured.stages_ns[:, STAGES.index("queue")] >= 0).all()
    # Between two arrivals lie 3.3 ms on the average, which nobody spent reading from memory.
    assert measured.stages_ns[:, STAGES.index("read")].sum() < measured.begins_ns[-1] / 2


def test_rate_that_cannot_be_served_ends_early_and_says_why(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(delay_s=0.005)
    asked = plan(1000, bound_ms=8, duration_s=60)
    measured = run(model, lambda: MemorySource(pictures), asked, sign)
    assert measured.invalid_reason is not None
    assert measured.invalid_reason.startswith("p99 is over the bound of 8 ms: ")
    assert measured.invalid_reason.endswith("took longer, and the run ended there")
    # Of 60,000 queries 538 or so might be late. Serving all would take five minutes.
    assert len(measured.total_ns) < 2000
    assert measured.result is not None
    assert measured.result["value"] is None


def test_source_that_ends_goes_on_and_nobody_arrives_meanwhile(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    def slowly() -> Source:
        time.sleep(0.01)
        return SyntheticSource(f"synthetic://noise?size={SIDE}x{SIDE}&frames=50")

    begin = time.monotonic_ns()
    measured = run(open_fake(), slowly, plan(1000), sign)
    wall_ns = time.monotonic_ns() - begin
    assert measured.invalid_reason is None
    assert measured.passes == 10
    assert measured.ran_ns <= wall_ns - 10 * 10_000_000
    assert [flag["kind"] for flag in measured.flags] == ["looped"]
    # The rate is that of the arrivals, not of arrivals and openings together.
    arrivals, warm = Poisson(1000, 1), len(measured.warmup_ns)
    scheduled_s = (arrivals.due_ns(warm + 458) - arrivals.due_ns(warm)) / 1e9
    assert measured.result is not None
    assert measured.result["value"] == pytest.approx(458 / scheduled_s, abs=1e-3)
    assert measured.begins_ns[-1] / 1e9 > scheduled_s + 0.08


def test_interrupted_run_is_invalid_and_keeps_what_it_has(
    open_fake: OpenFake,
    pictures: list[Image],
    sign: SimpleNamespace,
    ends: Callable[[int, int], Any],
) -> None:
    measured = run(
        open_fake(outputs=ends(15, 30)), lambda: MemorySource(pictures), plan(1000), sign
    )
    assert measured.invalid_reason is not None
    assert measured.invalid_reason.startswith("interrupted by signal 15 after ")
    assert 0 < len(measured.total_ns) < 459


def test_interrupt_ends_the_wait_for_an_arrival(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    sign.number = 2  # the first arrival would come in a thousand seconds
    measured = run(open_fake(), lambda: MemorySource(pictures), plan(0.001), sign)
    assert measured.invalid_reason == "interrupted by signal 2 after 0 counted queries"


# --- the highest rate ------------------------------------------------------------------------------


def test_search_goes_up_until_a_rate_is_not_valid_or_five_runs_are_made(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    told: list[float] = []
    model = open_fake(delay_s=0.0003)
    asked = plan(None)
    measured = run(model, lambda: MemorySource(pictures), asked, sign, told.append)
    assert measured.invalid_reason is None
    tried = measured.scenario_options["searched"]
    rates = [one["target_qps"] for one in tried]
    assert len(tried) == 5  # with such a bound every rate is valid
    assert all(one["valid"] for one in tried)
    assert np.allclose(np.array(rates[1:]) / rates[:-1], 1.05, rtol=1e-4)
    assert measured.scenario_options["target_qps"] == pytest.approx(rates[-1], abs=1e-3)
    assert len(measured.total_ns) == 459


def test_search_where_no_rate_is_valid_says_so_with_one_run(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(delay_s=0.002)
    measured = run(model, lambda: MemorySource(pictures), plan(None, bound_ms=1), sign)
    assert "p99 is over the bound of 1 ms" in str(measured.invalid_reason)
    assert len(measured.scenario_options["searched"]) == 1


def test_search_that_is_interrupted_before_its_first_run_has_no_queries(
    open_fake: OpenFake,
    pictures: list[Image],
    sign: SimpleNamespace,
    ends: Callable[[int, int], Any],
) -> None:
    """What was timed until then was one frame after another: no latencies of this scenario."""
    model = open_fake(outputs=ends(2, 40))
    measured = run(model, lambda: MemorySource(pictures), plan(None, bound_ms=50), sign)
    assert (len(measured.total_ns), len(measured.warmup_ns), measured.ran_ns) == (0, 0, 0)
    assert "before its first run" in str(measured.invalid_reason)
    assert "interrupted by signal 2" in str(measured.invalid_reason)
    assert dict(measured.scenario_options) == {"latency_bound_ms": 50, "seed": 1, "searched": []}
    assert measured.info is not None


def test_search_gives_signs_of_life_before_its_first_run(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    """A slow model's probe takes minutes: a matrix would end a run that tells nothing for so long."""
    model = open_fake()
    told: list[tuple[float, int]] = []
    run(
        model,
        lambda: MemorySource(pictures),
        plan(None),
        sign,
        lambda part: told.append((part, model._session.runs)),
    )
    part, runs = told[0]
    assert (part, runs < 200) == (0.0, True)
    parts = [part for part, _ in told]
    assert parts == sorted(parts)


def test_long_run_is_foreseen_from_no_more_queries_than_that_takes() -> None:
    service = np.random.default_rng(3).uniform(0.8e6, 1.4e6, 300)
    months = foreseen_rate(service, plan(None, bound_ms=5, duration_s=1e7, min_queries=10**9))
    assert months == foreseen_rate(service, plan(None, bound_ms=5, min_queries=50_000))


def test_line_for_one_waits_as_queueing_theory_says() -> None:
    """M/D/1: mean wait = ρ / (2 (1 − ρ)) service times (Pollaczek–Khinchine)."""
    service = np.full(10, 1e6)
    asked = plan(None, min_queries=200_000)
    for load in (0.2, 0.5, 0.7):
        waits = foreseen_latencies(service, load * 1000, asked) - 1e6
        assert waits.mean() == pytest.approx(1e6 * load / (2 * (1 - load)), rel=0.05)


def test_foreseen_rate_keeps_the_bound_and_a_higher_one_does_not() -> None:
    service = np.random.default_rng(3).uniform(0.8e6, 1.4e6, 300)
    asked = plan(None, bound_ms=5, min_queries=3000)
    rate = foreseen_rate(service, asked)
    assert rate is not None
    assert 0 < rate < 1e9 / service.mean()
    # At most so many of 3000 may overrun that fewer than one run in a hundred has so few by luck.
    chances = [comb(3000, k) * 0.01**k * 0.99 ** (3000 - k) for k in range(40)]
    allowed = next(k for k in range(40) if sum(chances[: k + 1]) >= 0.01) - 1
    kept = foreseen_latencies(service, rate, asked)
    missed = foreseen_latencies(service, rate * 1.01, asked)
    assert (kept > 5e6).sum() <= allowed < (missed > 5e6).sum()


def test_no_rate_is_foreseen_where_a_frame_alone_takes_too_long() -> None:
    assert foreseen_rate(np.full(50, 9e6), plan(None, bound_ms=5)) is None
