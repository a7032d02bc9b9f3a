"""The bounds that schemes set, by the arithmetic of the instructions that they are made for."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgevision.converters.int8.schemes import SCHEMES

SEVEN_BITS = SCHEMES["x86-avx2"].weight_limit


def maddubs(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """VPMADDUBSW: uint8 times int8, neighbours added into int16, which saturates."""
    products = data.astype(np.int32) * weights.astype(np.int32)
    return np.clip(products[..., ::2] + products[..., 1::2], -(2**15), 2**15 - 1)


def dot_without_vnni(data: np.ndarray, weights: np.ndarray) -> int:
    """A dot product as MLAS computes it on AVX2: VPMADDUBSW, then VPMADDWD by ones and VPADDD."""
    return int(maddubs(data, weights).sum(dtype=np.int64))


def dot(data: np.ndarray, weights: np.ndarray) -> int:
    return int((data.astype(np.int64) * weights.astype(np.int64)).sum())


@given(
    data=arrays(np.uint8, 64, elements=st.sampled_from([0, 1, 127, 128, 254, 255])),
    weights=arrays(np.int8, 64, elements=st.integers(-SEVEN_BITS, SEVEN_BITS)),
)
def test_weights_of_seven_bits_never_saturate(data: np.ndarray, weights: np.ndarray) -> None:
    assert dot_without_vnni(data, weights) == dot(data, weights)


@pytest.mark.parametrize("sign", [1, -1])
def test_seven_bits_are_the_most_that_never_saturate(sign: int) -> None:
    data = np.array([255, 255], np.uint8)
    most = np.array([SEVEN_BITS, SEVEN_BITS], np.int8) * np.int8(sign)
    assert dot_without_vnni(data, most) == dot(data, most) == sign * 32640
    beyond = most + np.int8(sign)
    assert abs(dot_without_vnni(data, beyond)) < abs(dot(data, beyond)) == 33150


def test_weights_of_eight_bits_saturate() -> None:
    data, weights = np.array([255, 255], np.uint8), np.array([127, 127], np.int8)
    assert (dot_without_vnni(data, weights), dot(data, weights)) == (32767, 64770)


def layer(kit: Any, scheme: str) -> tuple[np.ndarray, np.ndarray]:
    """The data (rows of patches) and the weights (columns) of a written Gemm, as integers."""
    model = kit.graph("g (float[4,64] x) => (float[4,8] y) { r = Relu(x) y = Gemm<transB=1>(r, w) }",
                      w=np.full((8, 64), 0.5, np.float32))  # fmt: skip
    feeds = kit.noise(4, 64)
    made = kit.quantize(model, feeds, scheme=scheme)
    values = kit.constants(made.model)
    scale = float(values["r/scale"])
    data = np.clip(np.rint(np.maximum(next(feeds())["x"], 0) / scale), 0, 255).astype(np.uint8)
    return data, values["node_y/weights/integers"]


def test_a_written_graph_computes_without_vnni_what_it_computes_with_it(kit: Any) -> None:
    data, weights = layer(kit, "x86-avx2")
    assert np.abs(weights).max() == SEVEN_BITS
    assert all(
        dot_without_vnni(row, column) == dot(row, column) for row in data for column in weights
    )
    data, weights = layer(kit, "x86")
    assert any(
        dot_without_vnni(row, column) != dot(row, column) for row in data for column in weights
    ), "eight bits would not do: these are plain weights, none of them contrived"


def test_rounding_with_moments_keeps_to_seven_bits(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86-avx2", rounding=True)
    weights = [v for k, v in kit.constants(made.model).items() if k.endswith("/weights/integers")]
    assert max(np.abs(w).max() for w in weights) == SEVEN_BITS


def signed_kernels(model: Any, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """As on ARM: signed integers stay signed (on x86 onnxruntime keeps them for a slow kernel)."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(model.SerializeToString(), options)
    return list(session.run(None, feed))


def test_the_arm_scheme_is_the_x86_scheme_128_lower(kit: Any) -> None:
    made = {s: kit.quantize(kit.body(), kit.FRAMES, scheme=s).model for s in ("x86", "arm")}
    x86, arm = (kit.constants(made[s]) for s in ("x86", "arm"))
    assert x86.keys() == arm.keys()
    for name, value in x86.items():
        if value.dtype == np.uint8:
            assert arm[name].dtype == np.int8
            np.testing.assert_array_equal(arm[name].astype(int), value.astype(int) - 128)
        else:
            np.testing.assert_array_equal(arm[name], value)


def test_the_arm_scheme_gives_to_the_bit_what_the_x86_scheme_gives(kit: Any) -> None:
    made = {s: kit.quantize(kit.body(), kit.FRAMES, scheme=s).model for s in ("x86", "arm")}
    for feed in kit.FRAMES():
        unsigned = signed_kernels(made["x86"], feed)
        for expected, actual in zip(unsigned, signed_kernels(made["arm"], feed), strict=True):
            np.testing.assert_array_equal(actual, expected)
