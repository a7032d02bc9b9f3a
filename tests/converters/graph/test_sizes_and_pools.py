"""Resizes, pools and pads in the form that has a fast kernel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.passes import run_passes
from edgevision.converters.graph.pools import POOLS
from edgevision.converters.graph.rewrites import PADS
from edgevision.converters.graph.sizes import SIZES

Graph = Callable[..., onnx.ModelProto]
Normal = Callable[..., np.ndarray]
After = Callable[..., list[str]]

UP = 'u = Resize<mode="{mode}", coordinate_transformation_mode="{where}">(x, , scales) '


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("where", ["half_pixel", "asymmetric", "align_corners"])
def test_pointwise_conv_goes_before_the_resize(
    graph: Graph, normal: Normal, after: After, mode: str, where: str
) -> None:
    model = graph(
        "g (float[1,4,3,5] x) => (float[1,2,6,10] y) {" + UP.format(mode=mode, where=where) + "y = Conv(u, w, b) }",
        scales=np.array([1, 1, 2, 2], np.float32), w=normal(2, 4, 1, 1), b=normal(2) + 5,
    )  # fmt: skip
    if mode == "nearest" and where == "align_corners":
        assert len(run_passes(model, [SIZES]).model.graph.node) == 2  # onnx's evaluator has none
        return
    assert after(SIZES, model, x=normal(1, 4, 3, 5)) == ["Conv", "Resize"]


STAYS = {
    "3x3": ("y = Conv<pads=[1,1,1,1]>(u, w3)", 2, [2, 2]),
    "activation behind": ("c = Conv(u, w) y = Relu(c)", 2, [2, 2]),
    "many more channels": ("y = Conv(u, w9)", 9, [2, 2]),
    "pads": ("y = Conv<pads=[1,1,1,1]>(u, w)", 2, [2, 2]),
    "read twice": ("c = Conv(u, w) d = Conv(u, w) y = Add(c, d)", 2, [2, 2]),
    "smaller": ("y = Conv(u, w)", 2, [0.5, 0.5]),
}


@pytest.mark.parametrize(("nodes", "channels", "scales"), STAYS.values(), ids=STAYS)
def test_conv_stays_behind_the_resize(
    graph: Graph, normal: Normal, nodes: str, channels: int, scales: list[float]
) -> None:
    up = UP.format(mode="linear", where="asymmetric")
    model = graph(
        f"g (float[1,4,6,6] x) => (float[1,{channels},h,v] y) {{ {up} {nodes} }}",
        scales=np.array([1, 1, *scales], np.float32), w=normal(2, 4, 1, 1), w3=normal(2, 4, 3, 3),
        w9=normal(9, 4, 1, 1),
    )  # fmt: skip
    assert not run_passes(model, [SIZES]).changes


POOLED = {
    "AveragePool": ("y = AveragePool<kernel_shape=[4,6]>(x)", 17, ["GlobalAveragePool"]),
    "AveragePool of a part": ("y = AveragePool<kernel_shape=[4,5]>(x)", 17, ["AveragePool"]),
    "ReduceMean": ("y = ReduceMean<axes=[2,3]>(x)", 17, ["GlobalAveragePool"]),
    "ReduceMean from behind": ("y = ReduceMean<axes=[-1,-2]>(x)", 17, ["GlobalAveragePool"]),
    "ReduceMean of opset 18": ("y = ReduceMean(x, axes)", 18, ["GlobalAveragePool"]),
    "ReduceMean of rows": ("y = ReduceMean<axes=[2]>(x)", 17, ["ReduceMean"]),
    "ReduceMean of channels too": ("y = ReduceMean<axes=[1,2,3]>(x)", 17, ["ReduceMean"]),
    "mean of a sum": (
        "r = Relu(x) s = Add(x, r) y = GlobalAveragePool(s)", 17,
        ["Relu", "GlobalAveragePool", "GlobalAveragePool", "Add"],
    ),
    "mean of a sum that is read": (
        "r = Relu(x) s = Add(x, r) m = GlobalAveragePool(s) n = Neg(s) y = Add(m, n)", 17,
        ["Relu", "Add", "GlobalAveragePool", "Neg", "Add"],
    ),
    "mean of a broadcast sum": ("s = Add(x, line) y = GlobalAveragePool(s)", 17, ["Add", "GlobalAveragePool"]),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "opset", "left"), POOLED.values(), ids=POOLED)
def test_means_over_the_picture(
    graph: Graph, normal: Normal, after: After, nodes: str, opset: int, left: list[str]
) -> None:
    model = graph(
        f"g (float[1,3,4,6] x) => (float[1,c,h,v] y) {{ {nodes} }}", opset,
        axes=np.array([2, 3]), line=normal(1, 1, 1, 6),
    )  # fmt: skip
    assert sorted(after(POOLS, model, x=normal(1, 3, 4, 6))) == sorted(left)


PADDED = {
    "zeros": ("p = Pad(x, sides) y = Conv(p, w)", ["Conv"]),
    "zeros, more pads": ("p = Pad(x, sides) y = Conv<pads=[1,0,0,2]>(p, w)", ["Conv"]),
    "ones": ("p = Pad(x, sides, one) y = Conv(p, w)", ["Pad", "Conv"]),
    "mirrored": ('p = Pad<mode="reflect">(x, sides) y = Conv(p, w)', ["Pad", "Conv"]),
    "channels": ("p = Pad(x, deeper) y = Conv(p, w3)", ["Pad", "Conv"]),
    "zeros before a pool": (
        "p = Pad(x, sides) y = MaxPool<kernel_shape=[3,3]>(p)", ["Pad", "MaxPool"],
    ),
    "as wide as the pool": (
        "p = Pad(x, sides, low) y = MaxPool<kernel_shape=[1,2]>(p)", ["Pad", "MaxPool"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "left"), PADDED.values(), ids=PADDED)
def test_pads_move_only_where_they_are_the_same(
    graph: Graph, normal: Normal, after: After, nodes: str, left: list[str]
) -> None:
    model = graph(
        f"g (float[1,2,5,6] x) => (float[1,c,h,v] y) {{ {nodes} }}",
        sides=np.array([0, 0, 1, 0, 0, 0, 0, 2]), deeper=np.array([0, 1, 0, 0, 0, 0, 0, 0]),
        one=np.float32(1), low=np.float32(-np.inf), w=normal(4, 2, 3, 3), w3=normal(4, 3, 3, 3),
    )  # fmt: skip
    assert after(PADS, model, x=normal(1, 2, 5, 6)) == left
