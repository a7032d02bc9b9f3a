"""Plans: each scenario's defaults, and what cannot be run."""

from __future__ import annotations

from typing import Any

import pytest

from edgevision.benchmarks.plan import ENGINE_ALONE, OPTIONS, SCENARIO_NAMES, Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.errors import UsageError


def test_names_options_and_scenarios_are_the_same_everywhere() -> None:
    assert tuple(SCENARIOS) == SCENARIO_NAMES == tuple(OPTIONS)
    assert tuple(n for n, s in SCENARIOS.items() if s.alone is not None) == ENGINE_ALONE


@pytest.mark.parametrize(
    ("scenario", "percentile", "queries", "options"),
    [
        ("single-stream", 0.9, 100, {}),
        ("multi-stream", 0.99, 662, {"samples_per_query": 8}),
        ("offline", 0.9, 100, {}),
        ("camera", 0.9, 100, {"fps": 30.0, "cameras": 1, "seed": 1}),
    ],
)
def test_scenario_s_defaults(
    scenario: str, percentile: float, queries: int, options: dict[str, Any]
) -> None:
    plan = Plan.of(scenario, min_queries=None, fps=None)
    assert (plan.percentile, plan.min_queries, plan.options()) == (percentile, queries, options)


def test_what_is_given_takes_the_default_s_place() -> None:
    plan = Plan.of("server", latency_bound_ms=20, seed=0, min_queries=7, cooldown=0)
    assert plan.options() == {"latency_bound_ms": 20, "seed": 0, "cooldown": 0}
    assert plan.min_queries == 7


def test_server_without_a_bound_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="bound") as caught:
        Plan.of("server", target_qps=10)
    assert "--latency-bound" in str(caught.value.hint)


@pytest.mark.parametrize("scenario", ["server", "camera"])
def test_engine_alone_is_refused_where_frames_arrive(scenario: str) -> None:
    with pytest.raises(UsageError, match="engine alone") as caught:
        Plan.of(
            scenario, inference_only=True, **{"latency_bound_ms": 9} if scenario == "server" else {}
        )
    assert "offline" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("scenario", "option"),
    [
        ("single-stream", {"fps": 30}),
        ("camera", {"target_qps": 3}),
        ("offline", {"samples_per_query": 8}),
        ("multi-stream", {"latency_bound_ms": 8}),
    ],
)
def test_option_of_another_scenario_is_refused(scenario: str, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="has no option") as caught:
        Plan.of(scenario, **option)
    owner = next(name for name, own in OPTIONS.items() if set(option) <= set(own))
    assert owner in str(caught.value.expected)


@pytest.mark.parametrize("seconds", [1.1e7, 1e305, float("inf"), float("nan"), -1.0])
def test_duration_that_no_run_can_have_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="cannot last") as caught:
        Plan.of("offline", duration_s=seconds)
    assert caught.value.expected.startswith("seconds: 0 to 1e+07")


@pytest.mark.parametrize(
    ("scenario", "option"),
    [
        ("camera", {"fps": 0}),
        ("camera", {"fps": float("nan")}),
        ("camera", {"cameras": 0}),
        ("camera", {"cameras": 65}),
        ("camera", {"seed": -1}),
        ("multi-stream", {"samples_per_query": 0}),
        ("server", {"latency_bound_ms": -1}),
        ("server", {"latency_bound_ms": 9, "target_qps": float("inf")}),
        ("single-stream", {"cooldown": -1}),
        ("no-such", {}),
    ],
)
def test_option_out_of_range_is_refused(scenario: str, option: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Plan.of(scenario, **option)
