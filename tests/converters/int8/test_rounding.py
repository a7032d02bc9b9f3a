"""Rounding with second moments against plain rounding, and patches against numpy."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.moments import Moments, patches
from edgevision.converters.int8.params import channel_scales
from edgevision.converters.int8.rounding import bias_shift, round_nearest, round_with_moments
from edgevision.converters.int8.schemes import SCHEMES

X86 = SCHEMES["x86"]


def moments_of(samples: np.ndarray) -> Moments:
    """(groups, K, n) samples → moments, straight from the definition."""
    count = samples.shape[2]
    gram = np.einsum("gkn,gln->gkl", samples, samples) / count
    return Moments(gram.astype(np.float32), samples.mean(axis=2))


def correlated(groups: int, length: int, count: int = 500) -> np.ndarray:
    """Positive, strongly correlated inputs, as behind a Relu."""
    generator = np.random.default_rng(length)
    mixing = generator.normal(size=(groups, length, 4))
    return np.abs(mixing @ generator.normal(size=(groups, 4, count))) + 0.1


def output_error(
    weights: np.ndarray, integers: np.ndarray, scales: np.ndarray, x: np.ndarray
) -> float:
    lost = weights - integers * scales.reshape(-1, *[1] * (weights.ndim - 1))
    rows = lost.reshape(len(x), -1, x.shape[1])
    return float(np.square(rows @ x).sum())


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((8, 6, 3, 3), 1), ((12, 1, 3, 3), 12), ((8, 3, 1, 1), 2), ((5, 300), 1), ((1, 1, 1, 1), 1)],
    ids=["conv", "depthwise", "grouped", "gemm-two-blocks", "smallest"],
)
def test_second_moments_never_round_worse_than_nearest(shape: tuple[int, ...], groups: int) -> None:
    weights = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    x = correlated(groups, int(np.prod(shape[1:])))
    scales = channel_scales(weights, 0, X86) * np.float32(8)  # coarse steps show the difference
    plain = round_nearest(weights, scales, 0, 127)
    better = round_with_moments(weights, scales, 0, moments_of(x), 127)
    assert better.shape == weights.shape
    assert better.dtype == np.int8
    gain = output_error(weights, plain, scales, x) / output_error(weights, better, scales, x)
    assert gain >= (3.0 if np.prod(shape[1:]) > 3 else 1.0)


def test_second_moments_come_close_to_the_best_of_all_roundings() -> None:
    weights = np.array([[0.4, 1.4, -0.6, 2.45]], np.float32)
    scales = np.ones(1, np.float32)
    x = correlated(1, 4)
    floors = np.floor(weights)
    best = min(
        output_error(weights, floors + np.array(up), scales, x)
        for up in itertools.product((-1, 0, 1, 2), repeat=4)
    )
    found = round_with_moments(weights, scales, 0, moments_of(x), 127)
    plain = round_nearest(weights, scales, 0, 127)
    assert output_error(weights, found, scales, x) <= output_error(weights, plain, scales, x)
    assert output_error(weights, found, scales, x) <= 4 * best


def test_silent_input_rounds_to_nearest() -> None:
    weights = np.random.default_rng(2).normal(size=(4, 9)).astype(np.float32)
    scales = channel_scales(weights, 0, X86)
    silent = Moments(np.zeros((1, 9, 9), np.float32), np.zeros((1, 9)))
    found = round_with_moments(weights, scales, 0, silent, 127)
    np.testing.assert_array_equal(found, round_nearest(weights, scales, 0, 127))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_moments_that_overflowed_round_to_nearest(bad: float) -> None:
    weights = np.random.default_rng(2).normal(size=(4, 9)).astype(np.float32)
    scales = channel_scales(weights, 0, X86)
    good = moments_of(correlated(1, 9))
    good.gram[0, 2, 3] = bad
    assert not good.finite
    found = round_with_moments(weights, scales, 0, good, 127)
    np.testing.assert_array_equal(found, round_nearest(weights, scales, 0, 127))


def test_moments_just_below_overflow_round_as_smaller_ones_do() -> None:
    weights = np.random.default_rng(2).normal(size=(4, 64)).astype(np.float32)
    scales = channel_scales(weights, 0, X86)
    x = correlated(1, 64)
    small, large = moments_of(x), moments_of(x)
    large.gram[...] *= np.float32(1e38) / large.gram.max()
    np.testing.assert_array_equal(
        round_with_moments(weights, scales, 0, large, 127),
        round_with_moments(weights, scales, 0, small, 127),
    )


def test_one_overwhelming_input_does_not_break_the_factorization() -> None:
    x = correlated(1, 16, count=3)
    x[:, 0] *= 1e6
    weights = np.random.default_rng(3).normal(size=(2, 16)).astype(np.float32)
    found = round_with_moments(weights, channel_scales(weights, 0, X86), 0, moments_of(x), 127)
    assert np.abs(found).max() <= 127


def test_nearest_rounding_by_hand_along_either_axis() -> None:
    weights = np.array([[0.26, -1.0], [0.5, 0.1]], np.float32)
    scales = np.array([0.5, 0.25], np.float32)
    # 0.26/0.5 = 0.52 → 1, −1/0.5 = −2; 0.5/0.25 = 2, 0.1/0.25 = 0.4 → 0
    np.testing.assert_array_equal(round_nearest(weights, scales, 0, 127), [[1, -2], [2, 0]])
    # 0.26/0.5 → 1, −1/0.25 = −4; 0.5/0.5 = 1, 0.4 → 0
    np.testing.assert_array_equal(round_nearest(weights, scales, 1, 127), [[1, -4], [1, 0]])


def test_bias_shift_restores_the_mean_output() -> None:
    weights = np.random.default_rng(4).normal(size=(6, 1, 3, 3)).astype(np.float32)
    scales = channel_scales(weights, 0, X86) * np.float32(10)
    x = correlated(6, 9)
    integers = round_nearest(weights, scales, 0, 127)
    shift = bias_shift(weights, integers, scales, 0, moments_of(x))
    rounded = (integers * scales.reshape(-1, 1, 1, 1)).reshape(6, 1, 9)
    before = (weights.reshape(6, 1, 9) @ x).mean(axis=2)[:, 0]
    after = (rounded @ x).mean(axis=2)[:, 0] + shift
    np.testing.assert_allclose(after, before, rtol=1e-5)


def test_channel_scales_put_the_largest_weight_on_127_and_survive_zeros() -> None:
    weights = np.array([[1.27, -0.5], [0.0, 0.0]], np.float32)
    assert channel_scales(weights, 0, X86)[0] == pytest.approx(0.01)
    assert 0 < channel_scales(weights, 0, X86)[1] < 1e-6


@pytest.mark.parametrize(
    ("attributes", "groups"),
    [
        ({"pads": [1, 1, 1, 1]}, 1),
        ({"pads": [0, 1, 2, 1], "strides": [2, 1]}, 1),
        ({"dilations": [2, 2]}, 2),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 4),
        ({"auto_pad": "SAME_LOWER"}, 1),
        ({"auto_pad": "VALID"}, 4),
    ],
)
def test_patches_times_weights_is_the_convolution(
    attributes: dict[str, object], groups: int
) -> None:
    generator = np.random.default_rng(5)
    data = generator.normal(size=(2, 4, 7, 8)).astype(np.float32)
    weights = generator.normal(size=(8, 4 // groups, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **attributes)
    expected = reference(node, data, weights)
    layer = Layer("n", "Conv", "x", "w", "", 0, groups)
    seen = patches(data, node, layer, weights.shape, np.random.default_rng(0))
    assert expected.size // 8 <= 160, "all positions are taken, in order"
    rows = weights.reshape(groups, -1, seen.shape[1]) @ seen
    got = rows.reshape(8, 2, -1).transpose(1, 0, 2).reshape(expected.shape)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def reference(node: onnx.NodeProto, data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    infos = [helper.make_tensor_value_info(n, 1, None) for n in ("x", "w", "y")]
    graph = helper.make_graph([node], "g", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": data, "w": weights})[0])
