"""Histograms of activations, and the ranges that are taken from them, against numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import parser

from edgevision.converters.int8 import histograms as module
from edgevision.converters.int8.histograms import Histogram, histograms
from edgevision.converters.int8.range_methods import PLAIN, interval_of
from edgevision.converters.int8.ranges import TensorRange, collect

MODEL: onnx.ModelProto = parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,4,30,50] x) => (float[1,4,30,50] y) { y = Relu(x) }"""
)


def frames(count: int = 5) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    for _ in range(count):
        yield {"x": random.normal(1, 2, (1, 4, 30, 50)).astype(np.float32)}


def of(values: np.ndarray) -> Histogram:
    counts, edges = np.histogram(values, 2048)
    return Histogram(float(edges[0]), float(edges[-1]), counts.astype(np.int64))


def test_every_value_of_small_tensors_is_counted_where_numpy_counts_it() -> None:
    found = histograms(MODEL, collect(MODEL, ["x", "y"], frames), frames)
    everything = np.concatenate([f["x"].ravel() for f in frames()])
    expected, _ = np.histogram(everything.astype(np.float64), 2048)
    assert found["x"].counts.sum() == expected.sum() == everything.size
    # A value on an edge may fall on either side of it.
    assert np.abs(np.cumsum(found["x"].counts) - np.cumsum(expected)).max() <= 2
    assert found["y"].low == 0.0


def test_large_tensors_are_sampled_all_over_and_elsewhere_in_each_frame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_VALUES", 100)
    ramp = np.arange(6000, dtype=np.float32).reshape(1, 4, 30, 50)
    feeds = [{"x": ramp}] * 80
    found = histograms(MODEL, collect(MODEL, ["x"], lambda: iter(feeds)), lambda: iter(feeds))["x"]
    assert 80 * 90 <= found.counts.sum() <= 80 * 100
    # The ramp is uniform, so its sample is; 80 frames at a stride of 61 see every value.
    assert np.count_nonzero(found.counts) == 2048


def test_a_frame_that_is_not_finite_counts_nowhere() -> None:
    bad = {"x": np.full((1, 4, 30, 50), np.nan, np.float32)}
    feeds = [*frames(2), bad]
    found = histograms(MODEL, collect(MODEL, ["x"], lambda: iter(feeds)), lambda: iter(feeds))
    assert found["x"].counts.sum() == 2 * 6000


@settings(deadline=None)
@given(st.floats(90, 99.9), st.integers(0, 2**16))
def test_percentile_leaves_as_much_out_on_either_side(percent: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-2, 5, 20_000)
    low, high = of(values).percentile(percent)
    bin_width = np.ptp(values) / 2048
    cut = (100 - percent) / 2
    expected = np.percentile(values, [cut, 100 - cut])
    assert [low, high] == pytest.approx(expected, abs=2 * bin_width)


def test_percentile_of_100_leaves_nothing_out() -> None:
    histogram = of(np.array([-1.0, 0.0, 3.0]))
    assert histogram.percentile(100) == (-1.0, 3.0)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_interval_of_least_error_is_as_good_as_any_that_is_tried_by_hand(
    symmetric: bool,
) -> None:
    values = np.append(np.abs(np.random.default_rng(1).laplace(0, 1, 100_000)), 60.0)

    def error(high: float) -> float:
        step = high / (127 if symmetric else 255)
        return float(np.mean((np.clip(np.rint(values / step) * step, 0, high) - values) ** 2))

    low, high = of(values).least_error(symmetric=symmetric)
    assert (low == -high) if symmetric else (low == 0.0)
    tried = [error(end) for end in np.linspace(1, values.max(), 200)]
    assert error(high) <= 1.1 * min(tried)
    assert error(high) < 0.95 * error(float(values.max()))


def test_the_interval_of_least_error_of_even_values_is_all_of_them() -> None:
    low, high = of(np.linspace(-2, 6, 100_000)).least_error(symmetric=False)
    assert (low, high) == pytest.approx((-2, 6), rel=0.1)


@pytest.mark.parametrize("method", PLAIN)
def test_every_method_gives_room_to_what_is_not_always_zero(method: str) -> None:
    values = np.zeros(100_000)
    values[:3] = 5.0
    seen = TensorRange(0.0, 5.0, 0.0, 0.0, 10, 0)
    low, high = interval_of(method, seen, of(values), symmetric=False)
    assert low == 0.0
    assert high > 0.0


def test_means_that_cancel_give_way_to_the_extremes() -> None:
    seen = TensorRange(-2.0, 2.0, 0.0, 0.0, 2, 0)
    assert interval_of("mean", seen, None, symmetric=False) == (-2.0, 2.0)


def test_a_constant_tensor_keeps_its_value() -> None:
    histogram = Histogram(3.0, 3.0, np.bincount([0] * 7, minlength=2048))
    assert histogram.percentile(99.99) == (3.0, 3.0)
    assert histogram.least_error(symmetric=False)[1] > 2.9
