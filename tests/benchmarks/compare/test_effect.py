"""Sizes of effects, by hand and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.compare.effect import cliffs_delta, delta_size, shift

values = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(lambda v: np.array(v, float))


def test_delta_by_hand() -> None:
    """Of the six pairs new is larger in 4, smaller in 1, equal in 1."""
    assert cliffs_delta(np.array([1.0, 3.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(3 / 6)


@given(values, values)
def test_delta_is_the_count_of_pairs(base: np.ndarray, new: np.ndarray) -> None:
    expected = np.sign(new[:, None] - base[None, :]).mean()
    assert cliffs_delta(base, new) == pytest.approx(expected)
    assert cliffs_delta(new, base) == pytest.approx(-expected)


@pytest.mark.parametrize(
    ("delta", "size"),
    [(0, "negligible"), (-0.146, "negligible"), (0.2, "small"), (-0.4, "medium"), (1, "large")],
)
def test_sizes_have_their_published_names(delta: float, size: str) -> None:
    assert delta_size(delta) == size


@given(values, values)
def test_shift_is_the_median_of_all_differences(base: np.ndarray, new: np.ndarray) -> None:
    assert shift(base, new) == np.median([b - a for a in base for b in new])


def test_shift_of_many_queries_is_that_of_their_quantiles() -> None:
    base = np.random.default_rng(0).lognormal(0, 0.3, 20_000)
    assert shift(base, base + 0.25) == pytest.approx(0.25, abs=1e-9)
