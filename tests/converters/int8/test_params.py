"""Scales and zero points, and which tensors share them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.converters.int8.params import quantizer_of, representable
from edgevision.converters.int8.schemes import SCHEMES


def test_scales_by_hand(kit: Any) -> None:
    model = kit.graph(
        "g (float[1,80] x) => (float[1,3] y) { r = Relu(x) y = MatMul(r, w) }", w=kit.normal(80, 3)
    )
    frame = np.linspace(-2, 5.1, 80, dtype=np.float32)[None]

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": frame}
        yield {"x": frame / 2}

    scales = {s: kit.scale_into(kit.quantize(model, feeds, scheme=s).model, "r") for s in SCHEMES}
    # 5.1/127 = 1315.9 · 2⁻¹⁵, which float16 counts in steps of there: the next one up.
    expected = {"x86": 5.1 / 255, "x86-avx2": 5.1 / 255, "arm": 5.1 / 255, "trt": 1316 / 2**15}
    assert scales == pytest.approx(expected)
    mean = kit.quantize(model, feeds, scheme="x86", ranges="mean").model
    assert kit.scale_into(mean, "r") == pytest.approx(5.1 * 0.75 / 255)
    largest = np.abs(kit.normal(80, 3)).max(axis=0)
    weights = kit.constants(mean)["node_y/weights/scales"]
    np.testing.assert_allclose(weights, largest / 127, rtol=1e-6)
    narrow = kit.constants(kit.quantize(model, feeds, scheme="x86-avx2").model)
    np.testing.assert_allclose(narrow["node_y/weights/scales"], largest / 64, rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "zero_points"),
    [
        (0.0, 5.1, {"x86": 0, "arm": -128, "trt": 0}),
        (-5.1, 0.0, {"x86": 255, "arm": 127, "trt": 0}),
        (-1.0, 1.55, {"x86": 100, "arm": -28, "trt": 0}),
        (2.0, 5.1, {"x86": 0, "arm": -128, "trt": 0}),
        (0.0, 0.0, {"x86": 0, "arm": -128, "trt": 0}),
    ],
)
def test_zero_points_by_hand(low: float, high: float, zero_points: dict[str, int]) -> None:
    for scheme, zero_point in zero_points.items():
        made = quantizer_of(low, high, SCHEMES[scheme])
        assert made.zero_point == zero_point
        assert np.iinfo(made.dtype).min <= made.zero_point <= np.iinfo(made.dtype).max
        assert made.integers(np.zeros(1))[0] == zero_point, "zero is exact: padding costs nothing"


@given(scale=st.floats(2.0**-23, 60000, width=32))
def test_scales_for_tensorrt_survive_float16(scale: float) -> None:
    given_scale = np.array([scale], np.float32)
    kept = representable(given_scale, SCHEMES["trt"])
    assert np.float32(np.float16(kept[0])) == kept[0]
    assert scale <= kept[0] <= max(scale * (1 + 2**-10), scale + 2**-24)
    assert representable(given_scale, SCHEMES["x86"])[0] == given_scale[0]


def test_a_scale_beyond_float16_stays() -> None:
    assert representable(np.array([1e6], np.float32), SCHEMES["trt"])[0] == 1e6


def test_value_moving_nodes_share_one_scale(kit: Any) -> None:
    model = kit.graph(
        """g (float[1,16,8,8] x) => (float[1,16,4,16] y) {
            c = Conv(x, w)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)
            t = Transpose<perm=[0,1,3,2]>(p)
            a, b = Split<axis=1>(t)
            j = Concat<axis=3>(a, b)
            k = Concat<axis=1>(j, j)
            y = Conv(k, w) }""",
        w=kit.normal(16, 16, 1, 1),
    )
    made = kit.quantize(model, kit.noise(1, 16, 8, 8), scheme="x86").model
    assert len({kit.scale_into(made, name) for name in ("c", "p", "t", "a", "b", "j", "k")}) == 1


def test_concat_of_very_different_ranges_keeps_separate_scales(kit: Any) -> None:
    model = kit.graph(
        """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            b = Conv(x, large)
            j = Concat<axis=1>(a, b)
            y = Conv(j, w2) }""",
        w=kit.normal(16, 16, 1, 1),
        large=kit.normal(16, 16, 1, 1) * 50,
        w2=kit.normal(16, 32, 1, 1),
    )
    made = kit.quantize(model, kit.noise(1, 16, 8, 8), scheme="x86").model
    assert kit.scale_into(made, "b") > 20 * kit.scale_into(made, "a")


SHARED_WITH_SIGNED = {
    "relu": "a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)  j = Concat<axis=1>(r, b)",
    "sibling first": "a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)  j = Concat<axis=1>(b, r)",
    "clip": "a = Conv(x, w)  r = Clip(a, low, top)  b = Conv(x, w1)  j = Concat<axis=1>(r, b)",
    "moved": """a = Conv(x, w)  r = Relu(a)  m = Transpose<perm=[0,1,3,2]>(r)
                b = Conv(x, w1)  j = Concat<axis=1>(m, b)""",
    "a later concat": """a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)
                         i = Concat<axis=2>(r, r)  k = Concat<axis=2>(b, b)
                         j = Concat<axis=1>(i, k)""",
    "relu behind": """a = Conv(x, w)  b = Conv(x, w1)  i = Concat<axis=1>(a, b)
                      j = Relu(i)""",
}


@pytest.mark.parametrize("text", SHARED_WITH_SIGNED.values(), ids=SHARED_WITH_SIGNED)
def test_absorbed_relu_still_clips_beside_a_signed_concat_sibling(kit: Any, text: str) -> None:
    model = kit.graph(
        f"g (float[1,16,8,8] x) => (float[1,16,n,8] y) {{ {text}  y = Conv(j, w2) }}",
        w=kit.normal(16, 16, 1, 1), w1=kit.normal(16, 16, 1, 1)[::-1].copy(), w2=kit.normal(16, 32, 1, 1),
        low=np.array(-0.5, np.float32), top=np.array(4, np.float32),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 8, 8), scheme="x86")
    assert not {"Relu", "Clip"} & set(kit.ops(made.model.graph)), "the test needs an absorbed one"
    assert kit.agreement(model, made.model, kit.noise(1, 16, 8, 8), "y") > 33


def test_scales_of_constant_operands_by_hand(kit: Any) -> None:
    model = kit.graph(
        """g (float[1,16,2,2] x) => (float[1,16,2,2] y) {
            c = Conv(x, w)
            n = Add(c, operand)
            y = Conv(n, w) }""",
        operand=np.linspace(2, 3, 16, dtype=np.float32).reshape(1, 16, 1, 1),
        w=kit.normal(16, 16, 1, 1),
    )
    values = kit.constants(kit.quantize(model, kit.noise(1, 16, 2, 2), scheme="x86").model)
    # 0…3 in 255 steps: 2 is 170 of them.
    assert values["node_n/operand1/scale"] == pytest.approx(3 / 255)
    assert values["node_n/operand1/zero"] == 0
    assert values["node_n/operand1/integers"].reshape(-1)[[0, -1]].tolist() == [170, 255]
