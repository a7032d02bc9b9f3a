"""When queries are due: exponential gaps that a seed decides, and waiting for them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.scenarios.arrivals import Poisson, wait_until
from edgevision.clock import now_ns

RATES = st.floats(0.01, 10_000)
SEEDS = st.integers(0, 2**63 - 1)


def dues(rate: float, seed: int, count: int = 3000) -> np.ndarray:
    arrivals = Poisson(rate, seed)
    return np.array([arrivals.due_ns(number) for number in range(count)])


@given(RATES, SEEDS)
def test_arrivals_never_go_back_and_are_the_same_for_the_same_seed(rate: float, seed: int) -> None:
    found = dues(rate, seed, 50)
    assert found[0] >= 0
    assert (np.diff(found) >= 0).all()
    assert (found == dues(rate, seed, 50)).all()


@given(SEEDS, st.integers(0, 4000))
def test_order_in_which_arrivals_are_asked_for_does_not_matter(seed: int, number: int) -> None:
    late, early = Poisson(30, seed), Poisson(30, seed)
    asked_late = late.due_ns(number)
    for one in range(0, number, 97):
        early.due_ns(one)
    assert early.due_ns(number) == asked_late


@given(SEEDS)
def test_rate_only_scales_what_the_seed_decides(seed: int) -> None:
    assert np.allclose(dues(10, seed, 20), 10 * dues(100, seed, 20), rtol=1e-6, atol=20)


def test_gaps_are_exponential() -> None:
    gaps = np.diff(np.concatenate([[0], dues(100, seed=5)])) / 1e7  # in units of the mean gap
    # Mean and standard deviation of an exponential variable are both its mean; the tolerance is four
    # standard errors of 3000 samples.
    assert abs(gaps.mean() - 1) < 4 / 3000**0.5
    assert abs(gaps.std() - 1) < 4 * (8 / 4) ** 0.5 / 3000**0.5
    # Kolmogorov-Smirnov at 0.1 %: 1.95 / sqrt(n).
    ordered = np.sort(gaps)
    expected = 1 - np.exp(-ordered)
    steps = np.arange(1, 3001) / 3000
    assert np.abs(steps - expected).max() < 1.95 / 3000**0.5


def test_waiting_does_not_end_before_the_moment() -> None:
    for ahead in (-5_000_000, 0, 10_000, 400_000, 2_000_000):
        due = now_ns() + ahead
        while not wait_until(due):
            pass
        assert now_ns() >= due
