"""What pairs of blocks say, against textbook values, brute force and coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.interleaved import (
    LEAST_PAIRS,
    estimate_interleaved,
    signed_rank_interval,
)
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.benchmarks.compare.series import Series

ALL = list(METRICS.values())


def series(latency_ms: np.ndarray) -> Series:
    return Series(latency_ms * 1e6, latency_ms * 1e6)


def estimates(base: np.ndarray, new: np.ndarray, block: int = 1) -> dict[str, Estimate]:
    found = estimate_interleaved(series(base), series(new), block, ALL, np.random.default_rng(0))
    return {estimate.metric.name: estimate for estimate in found}


def pairs(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours on a machine whose speed wanders by a factor of two; chance says which is which."""
    rng = np.random.default_rng(seed)
    level = 10 * np.exp(np.cumsum(rng.normal(0, 0.03, 2 * n)))
    turns, swap = level.reshape(n, 2), rng.integers(2, size=n)
    return turns[np.arange(n), swap], turns[np.arange(n), 1 - swap]


def test_centre_is_that_of_the_textbook() -> None:
    """Hollander & Wolfe's depression scale factors, example 3.1: the Hodges-Lehmann estimate is −0.46."""
    before = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
    after = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
    assert signed_rank_interval(after - before)[0] == pytest.approx(-0.46, abs=1e-9)


def test_interval_is_what_the_signed_rank_test_does_not_reject() -> None:
    differences = np.random.default_rng(4).normal(0.3, 1, 25)
    centre, low, high = signed_rank_interval(differences)
    n = len(differences)
    mean, spread = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)

    def score(shift: float) -> float:
        moved = differences - shift
        ranks = np.abs(moved).argsort().argsort() + 1
        return float((ranks[moved > 0].sum() - mean) / spread)

    step = 1e-9
    assert abs(score(low + step)) <= 2.58
    assert abs(score(high - step)) <= 2.58
    assert score(low - step) > 2.55
    assert score(high + step) < -2.55
    assert low < centre < high
    walsh = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(differences, 2)]
    assert centre == pytest.approx(np.median(walsh))


def test_interval_holds_the_truth_in_99_of_100_with_wild_tails() -> None:
    held = 0
    for seed in range(500):
        draws = np.random.default_rng(seed).standard_t(2, 40) + 1
        _, low, high = signed_rank_interval(draws)
        held += low <= 1 <= high
    assert held >= 490  # 495 expected, 2.2 standard deviations below


def test_wandering_machine_does_not_hide_five_percent() -> None:
    base, new = pairs(1)
    found = estimates(base, new * 1.05)["p50"]
    assert found.verdict == "slower"
    assert found.low < math.log(1.05) < found.high


def test_a_faster_one_is_called_faster() -> None:
    base, new = pairs(2)
    found = estimates(base, new / 1.05)
    assert found["p50"].verdict == "faster"
    assert found["fps"].change is not None
    assert found["fps"].change > 0


def test_one_side_exchanged_for_the_other_turns_the_sign() -> None:
    base, new = pairs(3)
    there, back = estimates(base, new * 1.1), estimates(new * 1.1, base)
    for name in ("p50", "p90", "mean", "fps"):
        was, now = there[name], back[name]
        assert was.change == pytest.approx(-now.change)
        assert (was.verdict, now.verdict) in [("slower", "faster"), ("no difference",) * 2]


def test_the_same_queries_on_both_sides_never_differ() -> None:
    base, _ = pairs(5)
    assert {e.verdict for e in estimates(base, base).values()} <= {"no difference", "cannot tell"}
    assert estimates(base, base)["p50"].change == 0


def test_blocks_are_compared_by_their_medians() -> None:
    base = np.tile([10.0, 11.0, 500.0], LEAST_PAIRS)
    new = np.tile([13.2, 12.0, 1.0], LEAST_PAIRS)  # medians 11 and 12
    assert estimates(base, new, 3)["p50"].change == pytest.approx(math.log(12 / 11))


def test_a_block_without_its_pair_is_left_out() -> None:
    base, new = np.full(2 * LEAST_PAIRS + 1, 10.0), np.full(2 * LEAST_PAIRS, 10.0)
    base[-1] = 1e6
    assert estimates(base, new, 2)["mean"].base == 10


@pytest.mark.parametrize("count", [0, 1, LEAST_PAIRS - 1])
def test_few_pairs_tell_nothing(count: int) -> None:
    found = estimates(np.full(count, 10.0), np.full(count, 20.0))
    assert {e.verdict for e in found.values()} == {"cannot tell"}
    assert all(e.untold for e in found.values())


def test_far_percentile_needs_its_queries() -> None:
    base, new = pairs(6)
    found = estimates(base, new)
    assert found["p90"].untold is None
    assert found["p99"].untold == "p99 takes 662 queries; there are 400"
    assert found["p99"].base is None


def test_many_pairs_are_thinned_without_a_bias() -> None:
    base, new = pairs(7, 7000)
    found = estimates(base, new * 1.02)["p50"]
    assert found.verdict == "slower"
    assert found.low < math.log(1.02) < found.high


@pytest.mark.parametrize(("factor", "verdict"), [(1.007, "no difference"), (1.02, "slower")])
def test_a_steady_difference_as_two_sessions_of_one_file_show_is_none(
    factor: float, verdict: str
) -> None:
    """NanoDet against itself on a quiet machine: 0.7 %, with an interval of ±0.6 % that no more turns would move."""
    base, _ = pairs(3)
    noise = np.random.default_rng(5).normal(0, 0.01, len(base))
    assert estimates(base, base * factor * np.exp(noise))["p50"].verdict == verdict
