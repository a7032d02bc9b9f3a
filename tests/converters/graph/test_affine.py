"""Constant factors and shifts become weights, exactly where that is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.affine import AFFINE, FACTORS

Graph = Callable[..., onnx.ModelProto]
Normal = Callable[..., np.ndarray]
After = Callable[..., list[str]]


@pytest.fixture(scope="module")
def constants(normal: Normal) -> dict[str, np.ndarray]:
    def per_channel(count: int) -> dict[str, np.ndarray]:
        return {f"{k}{count}": normal(count) + 2 for k in ("gamma", "beta", "mean")} | {
            f"var{count}": np.abs(normal(count)) + 0.5
        }

    return {
        **per_channel(4), **per_channel(6),
        "w": normal(6, 4, 3, 3), "b": normal(6), "dw": normal(4, 1, 3, 3), "gw": normal(6, 2, 1, 1),
        "up": normal(4, 6, 2, 2), "dense": normal(4, 6), "denseT": normal(6, 4), "bias6": normal(6),
        "two": np.float32(2), "half": np.array([0.5], np.float32), "wide": normal(1, 1, 5, 5),
        "c4": normal(4, 1, 1) + 3, "c6": normal(1, 6, 1, 1) + 3, "v4": normal(4) + 3, "v6": normal(6),
        "zeros": np.zeros((4, 1, 1), np.float32), "square": normal(4, 3), "column": normal(3, 1), "v3": normal(3),
    }  # fmt: skip


PICTURE = "g (float[1,4,5,5] x) => (float[1,{c},{s},{s}] y) {{ {nodes} }}"
NORM4, NORM6 = ("({x}, gamma{n}, beta{n}, mean{n}, var{n})".replace("{n}", n) for n in "46")
BEHIND = {
    "factor and shift": ("c = Conv(x, w) m = Mul(c, c6) y = Add(m, c6)", 6, 3, ["Conv"]),
    "with a bias": ("c = Conv(x, w, b) m = Div(c, two) y = Sub(m, half)", 6, 3, ["Conv"]),
    "depthwise": ("c = Conv<group=4>(x, dw) m = Mul(c4, c) y = Add(m, two)", 4, 3, ["Conv"]),
    "norm": ("c = Conv(x, w) y = BatchNormalization" + NORM6.format(x="c"), 6, 3, ["Conv"]),
    "transposed": (
        "c = ConvTranspose<strides=[2,2]>(x, up) a = Add(c, c6) y = BatchNormalization" + NORM6.format(x="a"),
        6, 10, ["ConvTranspose"],
    ),
    "by pixel": ("c = Conv<pads=[1,1,1,1]>(x, w) y = Mul(c, wide)", 6, 5, ["Conv", "Mul"]),
    "read twice": ("c = Conv(x, w) m = Mul(c, c6) y = Add(c, m)", 6, 3, ["Conv", "Mul", "Add"]),
    "the other way": ("c = Conv(x, w) y = Sub(two, c)", 6, 3, ["Conv", "Sub"]),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "channels", "side", "left"), BEHIND.values(), ids=BEHIND)
def test_behind_a_layer(
    graph: Graph, normal: Normal, after: After, constants: dict[str, np.ndarray],
    nodes: str, channels: int, side: int, left: list[str],
) -> None:  # fmt: skip
    model = graph(PICTURE.format(c=channels, s=side, nodes=nodes), **constants)
    assert after(AFFINE, model, x=normal(1, 4, 5, 5)) == left


IN_FRONT = {
    "factor": ("m = Mul(x, c4) y = Conv<pads=[1,1,1,1]>(m, w)", 6, 5, ["Conv"]),
    "shift": ("m = Add(x, c4) y = Conv(m, w, b)", 6, 3, ["Conv"]),
    "both": ("m = Mul(x, c4) a = Sub(m, two) y = Conv(a, w)", 6, 3, ["Conv"]),
    "norm": ("n = BatchNormalization" + NORM4.format(x="x") + " y = Conv(n, w)", 6, 3, ["Conv"]),
    "groups": ("m = Div(x, c4) y = Conv<group=2>(m, gw)", 6, 5, ["Conv"]),
    "depthwise": ("m = Add(x, c4) y = Conv<group=4>(m, dw)", 4, 3, ["Conv"]),
    "shift and pads": ("m = Add(x, c4) y = Conv<pads=[1,1,1,1]>(m, w)", 6, 5, ["Add", "Conv"]),
    "norm and pads": (
        "n = BatchNormalization" + NORM4.format(x="x") + " y = Conv<pads=[1,1,1,1]>(n, w)",
        6, 5, ["BatchNormalization", "Conv"],
    ),
    "factor, shift and pads": (
        "m = Mul(x, c4) a = Add(m, two) y = Conv<pads=[1,1,1,1]>(a, w)", 6, 5, ["Add", "Conv"],
    ),
    "factor of zero": (
        "m = Mul(x, zeros) a = Add(m, two) y = Conv<pads=[1,1,1,1]>(a, w)", 6, 5, ["Mul", "Add", "Conv"],
    ),
    "two layers": ("m = Mul(x, c4) a = Conv(m, w) b2 = Conv(m, w, b) y = Add(a, b2)", 6, 3, ["Conv", "Conv", "Add"]),
    "a layer and more": (
        "m = Mul(x, c4) a = Conv(m, w) n = Relu(m) d = Conv(n, w) y = Add(a, d)",
        6, 3, ["Mul", "Conv", "Relu", "Conv", "Add"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "channels", "side", "left"), IN_FRONT.values(), ids=IN_FRONT)
def test_in_front_of_a_layer(
    graph: Graph, normal: Normal, after: After, constants: dict[str, np.ndarray],
    nodes: str, channels: int, side: int, left: list[str],
) -> None:  # fmt: skip
    model = graph(PICTURE.format(c=channels, s=side, nodes=nodes), **constants)
    assert after(AFFINE, model, x=normal(1, 4, 5, 5)) == left


DENSE = {
    "Gemm": ("g = Gemm(x, dense, bias6) m = Mul(g, v6) y = Add(m, two)", ["Gemm"]),
    "Gemm transposed": ("m = Mul(x, v4) y = Gemm<transB=1>(m, denseT)", ["Gemm"]),
    "MatMul": ("g = MatMul(x, dense) y = Mul(g, v6)", ["MatMul"]),
    "norm behind MatMul": (
        "g = MatMul(x, dense) y = BatchNormalization" + NORM6.format(x="g"),
        ["Gemm"],
    ),
    "norm before Gemm": (
        "n = BatchNormalization" + NORM4.format(x="x") + " y = Gemm(n, dense)",
        ["Gemm"],
    ),
    "Gemm with a bias for each row": (
        "g = Gemm(x, square, column) m = Mul(g, v3) y = Concat<axis=1>(m, m)",
        ["Gemm", "Mul", "Concat"],
    ),
    "bias of MatMul": ("g = MatMul(x, dense) y = Add(g, v6)", ["MatMul", "Add"]),
}


@pytest.mark.parametrize(("nodes", "left"), DENSE.values(), ids=DENSE)
def test_dense_layers(
    graph: Graph, normal: Normal, after: After, constants: dict[str, np.ndarray],
    nodes: str, left: list[str],
) -> None:  # fmt: skip
    model = graph(f"g (float[3,4] x) => (float[3,6] y) {{ {nodes} }}", **constants)
    assert after(AFFINE, model, x=normal(3, 4)) == left


def test_shift_behind_a_sum_is_a_bias(
    graph: Graph, normal: Normal, after: After, constants: dict[str, np.ndarray]
) -> None:
    nodes = (
        "c = Conv<pads=[1,1,1,1]>(x, w) z = Conv<pads=[1,1,1,1]>(x, w) s = Sum(c, z) y = Add(s, c6)"
    )
    model = graph(PICTURE.format(c=6, s=5, nodes=nodes), **constants)
    assert after(AFFINE, model, x=normal(1, 4, 5, 5)) == ["Conv", "Conv", "Add"]


def test_norm_moves_before_a_squeeze(
    graph: Graph, normal: Normal, after: After, constants: dict[str, np.ndarray]
) -> None:
    model = graph(
        "g (float[1,4,1,5] x) => (float[1,4,5] y) { c = Conv<group=4>(x, k) s = Squeeze(c, two_) y = BatchNormalization"
        + NORM4.format(x="s")
        + " }",
        **constants, k=normal(4, 1, 1, 1), two_=np.array([2]),
    )  # fmt: skip
    assert after(AFFINE, model, x=normal(1, 4, 1, 5)) == ["Conv", "Squeeze"]


GELU = "d = Div(x, root) e = Erf(d) p = Add(e, one) m = Mul(x, p) h = Mul(m, half) y = MatMul(h, w)"
LAYER_NORM = """u = ReduceMean<axes=[-1]>(x) s = Sub(x, u) q = Mul(s, s) v = ReduceMean<axes=[-1]>(q)
    e = Add(v, eps) r = Sqrt(e) d = Div(s, r) m = Mul(d, gamma) y = MatMul(m, w)"""


@pytest.mark.parametrize("nodes", [GELU, LAYER_NORM], ids=["Gelu", "layer norm"])
def test_patterns_that_engines_fuse_stay_whole(
    graph: Graph, normal: Normal, after: After, nodes: str
) -> None:
    model = graph(
        f"g (float[3,4] x) => (float[3,5] y) {{ {nodes} }}",
        root=np.float32(2**0.5), one=np.float32(1), half=np.float32(0.5), eps=np.float32(1e-5),
        gamma=normal(4), w=normal(4, 5),
    )  # fmt: skip
    before = [n.op_type for n in model.graph.node]
    assert after(AFFINE, model, x=normal(3, 4)) == before
    assert after(FACTORS, model, x=normal(3, 4)) == before


def test_a_factor_of_a_picture_sinks_into_what_is_small(
    graph: Graph, normal: Normal, after: After
) -> None:
    # Squeeze and excitation: the picture goes into its mean, a layer and a product.
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,2,8,8] z) {
            a = Relu(x)
            k = Mul(a, two)
            p = GlobalAveragePool(k)
            l = Conv(p, w)
            s = Sigmoid(l)
            y = Mul(k, s)
            z = Conv(k, v) }""",
        two=np.float32(2), w=normal(4, 4, 1, 1), v=normal(2, 4, 1, 1),
    )  # fmt: skip
    left = after(FACTORS, model, x=normal(1, 4, 8, 8))
    # One Mul is the product; the other one is on the four numbers that it is multiplied with.
    assert sorted(left) == ["Conv", "Conv", "GlobalAveragePool", "Mul", "Mul", "Relu", "Sigmoid"]


def test_a_factor_stays_where_somebody_else_reads_the_picture(
    graph: Graph, normal: Normal, after: After
) -> None:
    model = graph(
        "g (float[1,4,8,8] x) => (float[1,4,8,8] k, float[1,4,1,1] y) { k = Mul(x, two) y = GlobalAveragePool(k) }",
        two=np.float32(2),
    )
    assert after(FACTORS, model, x=normal(1, 4, 8, 8)) == ["Mul", "GlobalAveragePool"]
