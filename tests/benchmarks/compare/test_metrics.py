"""Metrics of weighted queries, against the same queries written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.compare.metrics import METRICS, Pool
from edgevision.benchmarks.compare.series import Series


def written_out(latency_ms: list[float], pictures: int) -> list[float]:
    """By the definitions: ``sorted[int(n · p)]``, the mean, pictures ÷ seconds."""
    ordered, n = sorted(latency_ms), len(latency_ms)
    found = [ordered[min(n - 1, int(n * p))] for p in (0.5, 0.9, 0.95, 0.99, 0.999)]
    return [*found, sum(latency_ms) / n, n * pictures / (sum(latency_ms) / 1000)]


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 4)), min_size=1, max_size=60),
    st.integers(1, 8),
)
def test_weights_are_repeats(queries: list[tuple[int, int]], pictures: int) -> None:
    queries[0] = (queries[0][0], max(1, queries[0][1]))
    latency = np.array([ns for ns, _ in queries], float)
    weights = np.array([count for _, count in queries])
    pool = Pool(latency, latency, pictures, list(METRICS.values()))
    repeated = [ns / 1e6 for ns, count in queries for _ in range(count)]
    np.testing.assert_allclose(pool.values(weights), written_out(repeated, pictures), rtol=1e-12)


def test_order_of_the_metrics_is_the_callers() -> None:
    latency = np.arange(1, 101) * 1e6
    pool = Pool(latency, latency, 1, [METRICS["fps"], METRICS["p90"], METRICS["mean"]])
    np.testing.assert_allclose(pool.values(), [1000 / 50.5, 91, 50.5])


def test_a_rate_is_better_when_higher() -> None:
    assert METRICS["fps"].worse(-0.1) == 0.1
    assert METRICS["p99"].worse(0.1) == 0.1


def test_gaps_fill_the_time_that_the_run_took() -> None:
    series = Series.of({"samples_ns": [1_000_000, 3_000_000], "duration_s": 0.008})
    assert series.gap_ns.tolist() == [2e6, 6e6]


def test_overlapping_queries_count_from_completion_to_completion() -> None:
    record = {"samples_ns": [4, 4, 4], "begins_ns": [0, 1, 2], "duration_s": 6e-9}
    assert Series.of(record).gap_ns.tolist() == pytest.approx([4, 1, 1])


def test_the_other_models_turn_is_no_gap() -> None:
    record = {
        "samples_ns": [4, 4, 4],
        "begins_ns": [0, 1, 9],
        "duration_s": 12e-9,
        "interleaved": {"run": "r"},
    }
    assert Series.of(record).gap_ns.tolist() == [4, 4, 4]
