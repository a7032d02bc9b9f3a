"""Stretches of the right length, and resamples that are what Politis & Romano drew."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.benchmarks.compare.bootstrap import block_length, resamples


def autoregressive(phi: float, n: int, seed: int) -> np.ndarray:
    rng, level = np.random.default_rng(seed), np.zeros(n)
    for i in range(1, n):
        level[i] = phi * level[i - 1] + rng.normal()
    return level


@pytest.mark.parametrize("phi", [0.5, 0.8, 0.95])
def test_length_is_the_best_one_for_an_autoregressive_series(phi: float) -> None:
    """Of that the formula of Politis & White has a closed form: (2φ / (1 − φ²))^⅔ · n^⅓."""
    n = 4000
    best = (2 * phi / (1 - phi**2)) ** (2 / 3) * n ** (1 / 3)
    found = np.median([block_length(autoregressive(phi, n, seed)) for seed in range(9)])
    assert best / 1.6 < found < best * 1.6


def test_length_of_independent_queries_is_short() -> None:
    found = [block_length(np.random.default_rng(seed).normal(size=2000)) for seed in range(9)]
    assert np.median(found) < 5


@pytest.mark.parametrize("series", [np.zeros(0), np.ones(1), np.ones(100), np.arange(8.0)])
def test_nothing_can_be_learned_of_constants_and_handfuls(series: np.ndarray) -> None:
    assert block_length(series) == 1


def test_length_has_a_bound() -> None:
    assert block_length(np.arange(1000.0)) <= 3 * np.sqrt(1000)


@pytest.mark.parametrize("length", [1.0, 7.5, 200.0])
@pytest.mark.parametrize("n", [1, 2, 97])
def test_a_resample_is_as_long_as_the_series(n: int, length: float) -> None:
    for counts in resamples(n, length, 50, np.random.default_rng(0)):
        assert counts.shape == (n,)
        assert counts.min() >= 0
        assert counts.sum() == n


def test_every_place_is_drawn_as_often_as_any_other() -> None:
    drawn = np.sum(list(resamples(40, 8.0, 4000, np.random.default_rng(1))), axis=0) / 4000
    assert np.abs(drawn - 1).max() < 0.1  # at the ends too: the series is a circle


@pytest.mark.parametrize("length", [1.0, 10.0])
def test_the_mean_varies_as_much_as_its_law_says(length: float) -> None:
    """Politis & Romano (1994), lemma 1: σ² = Σ over lags of (1 − 1/L)^lag · circular covariance."""
    series = autoregressive(0.8, 200, 3)
    n, centred = len(series), series - series.mean()
    circular = [float(centred @ np.roll(centred, -lag)) / n for lag in range(n)]
    p = 1 / length
    weights = [1.0] + [
        (1 - lag / n) * (1 - p) ** lag + lag / n * (1 - p) ** (n - lag) for lag in range(1, n)
    ]
    expected = float(np.dot(circular, weights)) / n
    means = [counts @ series / n for counts in resamples(n, length, 6000, np.random.default_rng(2))]
    assert np.var(means) == pytest.approx(expected, rel=0.1)
