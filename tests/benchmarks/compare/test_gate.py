"""What ``--max-regression`` says, and when a bound counts as exceeded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.gate import judge, parse_limits
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.errors import UsageError


def percent(value: float) -> float:
    return math.log1p(value / 100)


def estimate(name: str, change: float, low: float, high: float, floor: float) -> Estimate:
    """Of percentages."""
    ratios = (percent(value) for value in (change, low, high, floor))
    return Estimate(METRICS[name], 10.0, 10.0, *ratios)


def test_bounds_are_read() -> None:
    assert parse_limits("p99=5%,fps=3%") == {"p99": 0.05, "fps": 0.03}
    assert parse_limits(" p99.9 = 0.5 % , mean=0%") == {"p99.9": 0.005, "mean": 0}


@given(
    st.dictionaries(
        st.sampled_from(list(METRICS)), st.integers(0, 9999).map(lambda n: n / 100), min_size=1
    )
)
def test_what_is_written_is_read(limits: dict[str, float]) -> None:
    text = ",".join(f"{name}={value:.2f}%" for name, value in limits.items())
    assert parse_limits(text) == pytest.approx({name: v / 100 for name, v in limits.items()})


@given(st.text(max_size=20))
def test_anything_else_is_a_usage_error(text: str) -> None:
    try:
        limits = parse_limits(text)
    except UsageError as error:
        assert error.expected
    else:
        assert set(limits) <= set(METRICS)


@pytest.mark.parametrize(
    "text",
    ["", ",", "p99", "p99=", "p99=5", "p99=-1%", "p99=nan%", "p99=1e3%", "p99=5%,", "p99=5%,p99=6%",
     "p98=5%", "latency=5%", "fps=100%", "p50=1000%", "p99=5%;fps=3%", "p99=٥%"],
)  # fmt: skip
def test_senseless_bound_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="max-regression"):
        parse_limits(text)


@pytest.mark.parametrize(
    ("metric", "change", "low", "high", "floor", "limit", "outcome"),
    [
        ("p50", 10, 8, 12, 3, 0.05, "failed"),
        ("p50", 10, 4, 16, 3, 0.05, "cannot tell"),  # the interval reaches below the bound
        ("p50", 10, 8, 12, 30, 0.05, "cannot tell"),  # noise alone makes more than that
        ("p50", 10, 8, 12, 6, 0.05, "cannot tell"),  # slower, but noise may have made half of it
        ("p50", 4, 3, 4.9, 0.5, 0.05, "passed"),  # slower, and within the bound
        ("p50", 4, 3, 4.9, 2, 0.05, "cannot tell"),  # noise may have hidden the rest
        ("p50", -4, -5, -3, 20, 0.05, "cannot tell"),  # no matter in which direction
        ("p50", 0, -1, 1, 0.5, 0.05, "passed"),
        ("p50", 0, -1, 1, 20, 0.05, "cannot tell"),
        ("p50", 0, -9, 9, 1, 0.05, "cannot tell"),
        ("p50", -10, -12, -8, 3, 0.0, "passed"),
        ("p50", 1, 0.5, 1.5, 0.2, 0.0, "failed"),
        ("fps", -10, -12, -8, 3, 0.05, "failed"),
        ("fps", -10, -12, -8, 3, 0.09, "cannot tell"),
        ("fps", 10, 8, 12, 3, 0.05, "passed"),
        ("fps", -4.9, -4.99, -4.0, 0.05, 0.05, "passed"),
        ("fps", -5.2, -5.3, -5.1, 0.5, 0.05, "cannot tell"),  # 4.7 is within the bound
        ("fps", -5.2, -5.3, -5.1, 0.1, 0.05, "failed"),
    ],
)
def test_ruling(
    metric: str,
    change: float,
    low: float,
    high: float,
    floor: float,
    limit: float,
    outcome: str,
) -> None:
    ruling = judge(estimate(metric, change, low, high, floor), limit)
    assert ruling.outcome == outcome, ruling.reason


def test_too_few_queries_cannot_fail_a_gate() -> None:
    ruling = judge(Estimate(METRICS["p99"], None, None, untold="p99 takes 662 queries"), 0.05)
    assert (ruling.outcome, ruling.reason) == ("cannot tell", "p99 takes 662 queries")


@pytest.mark.parametrize(
    ("change", "low", "high", "floor", "verdict"),
    [
        (5, 3, 7, 2, "slower"),
        (5, 3, 7, 6, "no difference"),
        (5, -1, 9, 2, "no difference"),
        (-5, -7, -3, 2, "faster"),
        (0, 0, 0, 0, "no difference"),
    ],
)
def test_verdict_takes_both_interval_and_floor(
    change: float, low: float, high: float, floor: float, verdict: str
) -> None:
    assert estimate("p50", change, low, high, floor).verdict == verdict
