"""Runs apart from each other: what their own wandering forbids to say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.benchmarks.compare import apart
from edgevision.benchmarks.compare.apart import estimate_apart
from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.benchmarks.compare.series import Series

Quiet = Callable[..., Any]
ALL = list(METRICS.values())


def series(latency_ms: np.ndarray) -> Series:
    return Series(latency_ms * 1e6, latency_ms * 1e6)


def estimates(base: list[np.ndarray], new: list[np.ndarray]) -> dict[str, Estimate]:
    sides = ([series(np.asarray(run, float)) for run in side] for side in (base, new))
    found = estimate_apart(*sides, ALL, np.random.default_rng(0))
    return {estimate.metric.name: estimate for estimate in found}


def test_one_run_each_tells_thirty_percent_and_never_five(quiet: Quiet) -> None:
    large, small = (estimates([quiet(1)], [quiet(2, ms)]) for ms in (13.0, 10.5))
    for name in ("p50", "p90", "mean", "fps"):
        assert large[name].verdict == "slower", name
        assert small[name].verdict == "no difference", name
    assert large["p50"].low < math.log(1.3) < large["p50"].high
    assert large["p50"].base == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize(
    ("base", "new", "percent"), [(1, 1, 13.25), (2, 2, 9.2), (4, 1, 10.34), (4, 4, 6.42)]
)
def test_so_few_runs_are_taken_to_vary_by_four_percent(
    quiet: Quiet, base: int, new: int, percent: float
) -> None:
    """2.2 standard deviations of the difference of two means: 2.2 · 0.04 · √(1/base + 1/new), a logarithm."""
    found = estimates(*([quiet(seed) for seed in range(count)] for count in (base, new)))
    assert 100 * math.expm1(found["p50"].floor) == pytest.approx(percent, abs=0.01)


def test_five_runs_each_tell_five_percent(quiet: Quiet) -> None:
    base = [quiet(seed) for seed in range(5)]
    found = estimates(base, [quiet(10 + seed, 10.5) for seed in range(5)])
    assert {found[name].verdict for name in ("p50", "p90", "mean", "fps")} == {"slower"}


def test_runs_that_are_all_alike_still_share_their_day() -> None:
    """Not a nanosecond between them: what they have in common may still be another thing on another day."""
    same = [np.full(100, 10.0)] * 5
    found = estimates(same, [np.full(100, 10.1)] * 5)["p50"]
    assert found.floor == pytest.approx(math.log(1.015))
    assert found.verdict == "no difference"


def test_levels_of_runs_that_vary_by_four_percent_raise_few_false_alarms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One run against one, 100 times; each calm within itself. Without a floor for whole runs most would differ."""
    monkeypatch.setattr(apart, "_DRAWS", 50)  # levels decide here, not the ends of the intervals
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(100):
        levels = 10 * np.exp(rng.normal(0, 0.04, 2))
        runs = [level * np.exp(rng.normal(0, 0.01, 80)) for level in levels]
        found = estimates([runs[0]], [runs[1]])
        alarms += any(estimate.verdict in ("slower", "faster") for estimate in found.values())
    assert alarms <= 5


def test_noise_floor_is_twice_the_range_of_the_eighths() -> None:
    """Levels 10 … 17 for 100 queries each: the medians of the eighths span 17 ÷ 10."""
    run = np.repeat(np.arange(10.0, 18.0), 100)
    found = estimates([run], [run])["p50"]
    assert found.floor == pytest.approx(2 * math.log(1.7))


def test_a_machine_that_got_slower_meanwhile_is_no_regression() -> None:
    """A drift through both runs, as a chip warms up: the second is slower by 8 %, and so is its own end."""
    drift = (
        10
        * np.exp(np.linspace(0, 0.16, 1600))
        * np.exp(np.random.default_rng(1).normal(0, 0.02, 1600))
    )
    assert estimates([drift[:800]], [drift[800:]])["p50"].verdict != "slower"


def test_five_runs_of_the_same_thing_are_the_noise_floor() -> None:
    """Student's t with four degrees of freedom, 5.598, times the spread of a new run's difference to their mean."""
    levels = [10.0, 10.2, 10.4, 10.1, 10.3]
    found = estimates([np.full(100, level) for level in levels], [np.full(100, 10.9)])["p50"]
    expected = 5.598 * np.std(np.log(levels), ddof=1) * math.sqrt(1 / 5 + 1)
    assert found.floor == pytest.approx(expected, rel=1e-6)
    assert found.change == pytest.approx(math.log(10.9) - np.mean(np.log(levels)))
    assert found.verdict == "no difference"


def test_runs_that_agree_beyond_their_own_noise_tell_more_than_one(quiet: Quiet) -> None:
    base = [quiet(seed) for seed in range(6)]
    assert estimates(base, [quiet(9, 10.3)])["p50"].verdict == "slower"
    assert estimates(base[:1], [quiet(9, 10.3)])["p50"].verdict == "no difference"


def test_two_runs_differ_by_no_less_than_their_range() -> None:
    runs = [np.full(100, 10.0), np.full(100, 12.0)]
    assert estimates(runs, [np.full(100, 12.5)])["p50"].floor == pytest.approx(math.log(1.2))


def test_queries_too_few_for_a_percentile_are_named(quiet: Quiet) -> None:
    found = estimates([quiet(1, n=100)], [quiet(2, n=63)])
    assert found["p90"].untold == "p90 takes 64 queries; there are 63"
    assert found["p90"].verdict == "cannot tell"
    assert found["p50"].untold is None


def test_a_run_that_only_drifts_is_one_witness() -> None:
    run = np.linspace(10, 20, 40)
    untold = estimates([run], [run])["p50"].untold
    assert untold is not None
    assert "run longer" in untold


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=150))
def test_a_run_against_itself_never_differs(latency: list[int]) -> None:
    run = np.array(latency) / 1000
    verdicts = {e.verdict for e in estimates([run], [run]).values()}
    assert verdicts <= {"no difference", "cannot tell"}


def test_sides_exchanged_turn_the_sign(quiet: Quiet) -> None:
    there, back = (estimates(*sides) for sides in (
        ([quiet(1)], [quiet(2, 13)]), ([quiet(2, 13)], [quiet(1)])))  # fmt: skip
    for name in METRICS:
        was, now = there[name], back[name]
        if was.change is None:
            assert now.change is None
            continue
        assert was.change == pytest.approx(-now.change)
        assert was.floor == pytest.approx(now.floor)
        assert (was.verdict, now.verdict) in [("slower", "faster"), ("no difference",) * 2]


def test_answer_is_the_same_every_time(quiet: Quiet) -> None:
    assert estimates([quiet(1)], [quiet(2)]) == estimates([quiet(1)], [quiet(2)])
