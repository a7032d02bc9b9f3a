"""edgevision.percentiles against the binomial distribution and cases calculated by hand."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.percentiles import (
    LEAST_SAMPLES,
    early_stopping_estimate,
    overruns_allowed,
    percentile_ms,
    queries_needed,
    summary_ms,
)

SHOWN = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
SAMPLES = st.lists(st.integers(0, 10**12), min_size=1, max_size=300)


def at_most_one_overrun(n: int, p: float) -> float:
    """Chance that at most one of ``n`` queries overruns, if each does so with probability ``1 − p``."""
    q = 1 - p
    return sum(comb(n, k) * q**k * (1 - q) ** (n - k) for k in (0, 1))


def ascending(n: int) -> np.ndarray:
    """1 ms, 2 ms, … n ms."""
    return np.arange(1, n + 1, dtype=np.int64) * 1_000_000


@pytest.mark.parametrize(("p", "least"), LEAST_SAMPLES.items())
def test_least_samples_are_the_fewest_that_confidence_99_allows(p: float, least: int) -> None:
    assert at_most_one_overrun(least, p) <= 0.01
    assert at_most_one_overrun(least - 1, p) > 0.01


@pytest.mark.parametrize(
    ("n", "p", "milliseconds"),
    [
        (11, 0.5, 6.0),  # index int(5.5) = 5
        (12, 0.5, 7.0),  # index 6: the upper of the two middle ones
        (64, 0.9, 58.0),  # index int(57.6) = 57
        (100, 0.9, 91.0),  # index 90
        (130, 0.95, 124.0),  # index int(123.5) = 123
        (662, 0.99, 656.0),  # index int(655.38) = 655
        (1000, 0.99, 991.0),  # index 990
    ],
)
def test_percentile_is_the_sample_at_index_n_times_p(n: int, p: float, milliseconds: float) -> None:
    assert percentile_ms(ascending(n), p) == milliseconds


@pytest.mark.parametrize(("p", "least"), LEAST_SAMPLES.items())
def test_percentile_is_absent_below_the_least_number_and_there_at_it(p: float, least: int) -> None:
    assert percentile_ms(ascending(least - 1), p) is None
    assert percentile_ms(ascending(least), p) is not None


def test_nothing_is_said_about_no_samples() -> None:
    summary = summary_ms(np.empty(0, np.int64))
    assert summary == dict.fromkeys(["mean", "p50", "p90", "p95", "p99", "max"])


def test_one_sample_has_a_mean_and_a_maximum_but_no_percentile() -> None:
    summary = summary_ms(np.array([2_500_000]))
    assert summary["mean"] == summary["max"] == 2.5
    assert all(summary[name] is None for name in SHOWN)


def test_summary_is_exact_so_that_rounding_it_again_is_rounding_once() -> None:
    """22.958497 ms read as 22.959 where it had been rounded to 22.9585 before, and as 22.958 beside that."""
    summary = summary_ms(np.full(70, 22_958_497, np.int64))
    assert summary["p90"] == summary["max"] == summary["mean"] == 22.958497


def test_order_of_the_samples_does_not_matter() -> None:
    samples = ascending(200)
    shuffled = np.random.default_rng(1).permutation(samples)
    assert summary_ms(shuffled) == summary_ms(samples)


@given(SAMPLES)
def test_percentiles_are_samples_in_order_and_as_many_as_the_number_allows(
    values: list[int],
) -> None:
    summary = summary_ms(np.array(values, np.int64))
    quoted = [summary[name] for name in SHOWN if summary[name] is not None]
    assert len(quoted) == sum(len(values) >= LEAST_SAMPLES[p] for p in SHOWN.values())
    assert quoted == sorted(quoted)
    assert set(quoted) <= {value / 1e6 for value in values}
    assert summary["max"] == max(values) / 1e6


@given(SAMPLES)
def test_no_more_samples_than_one_minus_p_lie_above_a_percentile(values: list[int]) -> None:
    ordered = np.sort(np.array(values, np.int64))
    for p in SHOWN.values():
        value = percentile_ms(ordered, p)
        if value is not None:
            assert np.mean(ordered / 1e6 > value) <= 1 - p


# --- early stopping; against LoadGen itself: test_against_loadgen.py ---------------------------------


def at_most(overruns: int, n: int, p: float) -> Fraction:
    """Chance of at most so many overruns, exactly."""
    q = 1 - Fraction(str(p))
    return sum((comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(overruns + 1)), Fraction(0))


@settings(deadline=None)  # exact numbers take their time
@given(st.integers(0, 600), st.sampled_from(sorted(LEAST_SAMPLES)))
def test_overruns_allowed_are_the_most_whose_chance_is_below_one_percent(n: int, p: float) -> None:
    allowed = overruns_allowed(n, p)
    assert allowed < 0 or at_most(allowed, n, p) < Fraction(1, 100)
    assert at_most(allowed + 1, n, p) >= Fraction(1, 100)


@pytest.mark.parametrize(
    ("overruns", "p", "queries"),
    [
        (0, 0.9, 44),  # log 0.01 / log 0.9 = 43.7
        (0, 0.99, 459),
        (1, 0.99, 662),
        (1, 0.999, 6636),
        (5, 0.99, 1307),  # LoadGen 6.0 on 5 overruns of 700: "at least 607 more"
    ],
)
def test_queries_needed_are_those_of_mlperf(overruns: int, p: float, queries: int) -> None:
    assert queries_needed(overruns, p) == queries


@given(st.integers(0, 300), st.sampled_from(sorted(LEAST_SAMPLES)))
def test_queries_needed_are_the_fewest_that_allow_so_many_overruns(n: int, p: float) -> None:
    needed = queries_needed(n, p)
    assert overruns_allowed(needed, p) == n
    assert overruns_allowed(needed - 1, p) == n - 1


@given(SAMPLES, st.sampled_from(sorted(LEAST_SAMPLES)))
def test_estimate_is_a_sample_and_never_below_the_percentile(values: list[int], p: float) -> None:
    ordered = np.sort(np.array(values, np.int64))
    estimate, value = early_stopping_estimate(ordered, p), percentile_ms(ordered, p)
    assert (estimate is None) == (value is None) == (len(values) < LEAST_SAMPLES[p])
    if estimate is not None and value is not None:
        assert estimate in values
        assert estimate / 1e6 >= value


def test_estimate_of_the_least_samples_is_the_highest_and_nears_the_percentile() -> None:
    assert early_stopping_estimate(ascending(64), 0.9) == 64_000_000
    assert early_stopping_estimate(ascending(1_000_000), 0.9) == 900_699_000_000


def test_rule_is_computed_for_a_million_queries() -> None:
    # Normal approximation: n q - 2.3263 sqrt(n p q) = 99,302, right to a few in so many.
    assert overruns_allowed(1_000_000, 0.9) == pytest.approx(99_302, abs=3)
