"""Operations of each operator, against counts made by hand or by loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import defs

from edgevision.benchmarks.estimate import flops
from edgevision.benchmarks.estimate.cost import read_network
from edgevision.benchmarks.estimate.network import Network, Node, Tensor


def net(op, inputs, output, **attributes):
    """A network of one node with inputs and an output of these shapes."""
    names = [f"i{n}" if shape is not None else "" for n, shape in enumerate(inputs)]
    tensors = {n: Tensor(n, "float32", s) for n, s in zip(names, inputs, strict=True) if n}
    tensors["y"] = Tensor("y", "float32", output)
    node = Node(op, "it", tuple(names), ("y",), attributes)
    return node, Network((node,), tensors, ("i0",), ("y",))


def work(op, inputs, output, **attributes):
    return flops.work_of(*net(op, inputs, output, **attributes))


@pytest.mark.parametrize(
    ("op", "inputs", "output", "attributes", "macs"),
    [
        # 112·112 places × 64 filters × 3·7·7 taps
        ("Conv", [(1, 3, 224, 224), (64, 3, 7, 7)], (1, 64, 112, 112), {}, 118_013_952),
        # MobileNet v1: a 1×1 of 512 to 512 on 14×14, and its depthwise 3×3
        ("Conv", [(1, 512, 14, 14), (512, 512, 1, 1)], (1, 512, 14, 14), {}, 51_380_224),
        ("Conv", [(1, 512, 14, 14), (512, 1, 3, 3)], (1, 512, 14, 14), {"group": 512}, 903_168),
        ("Conv", [(2, 4, 10), (6, 4, 3)], (2, 6, 8), {}, 2 * 6 * 8 * 12),
        # each of 2·2·2 inputs is spread over 3 channels × 4·4
        ("ConvTranspose", [(1, 2, 2, 2), (2, 3, 4, 4)], (1, 3, 6, 6), {}, 384),
        ("Gemm", [(1, 2048), (1000, 2048), (1000,)], (1, 1000), {"transB": 1}, 2_048_000),
        ("Gemm", [(5, 2), (5, 3)], (2, 3), {"transA": 1}, 30),
        ("MatMul", [(8, 12, 50, 64), (8, 12, 64, 50)], (8, 12, 50, 50), {}, 15_360_000),
        ("MatMul", [(3, 4), (4,)], (3,), {}, 12),
        ("Einsum", [(2, 3, 4), (2, 4, 5)], (2, 3, 5), {"equation": "bij, bjk -> bik"}, 120),
        ("QLinearConv", [(1, 8, 4, 4), (), (), (16, 8, 1, 1)], (1, 16, 4, 4), {}, 2048),
        ("MatMulInteger", [(2, 3), (3, 4)], (2, 4), {}, 24),
        # 5 steps × 2 in the batch × 4 gates of 3 × (4 features + 3 of state)
        ("LSTM", [(5, 2, 4), (1, 12, 4), (1, 12, 3)], (5, 1, 2, 3), {}, 840),
        ("GRU", [(5, 2, 4), (2, 9, 4), (2, 9, 3)], (5, 2, 2, 3), {}, 1260),
    ],
)  # fmt: skip
def test_multiply_adds_of_products(op, inputs, output, attributes, macs):
    assert work(op, inputs, output, **attributes).macs == macs


@pytest.mark.parametrize(
    ("op", "inputs", "output", "attributes", "count"),
    [
        ("Relu", [(1, 3, 4, 5)], (1, 3, 4, 5), {}, 60),
        ("Add", [(1, 3, 4, 5), (1, 3, 1, 1)], (1, 3, 4, 5), {}, 60),
        ("BatchNormalization", [(1, 3, 4, 5)], (1, 3, 4, 5), {}, 120),
        ("MaxPool", [(1, 2, 6, 6)], (1, 2, 3, 3), {"kernel_shape": [2, 2]}, 72),
        ("GlobalAveragePool", [(1, 2, 6, 6)], (1, 2, 1, 1), {}, 72),
        ("ReduceMean", [(2, 50)], (2, 1), {}, 100),
        ("Softmax", [(1, 10)], (1, 10), {}, 50),
        ("LayerNormalization", [(1, 10)], (1, 10), {}, 70),
        ("Resize", [(1, 2, 3, 3)], (1, 2, 6, 6), {"mode": "nearest"}, 0),
        # four taps, each a multiplication and an addition
        ("Resize", [(1, 2, 3, 3)], (1, 2, 6, 6), {"mode": "linear"}, 72 * 8),
        ("Reshape", [(1, 10), (2,)], (2, 5), {}, 0),
        ("Concat", [(1, 10), (1, 10)], (1, 20), {}, 0),
        ("QuantizeLinear", [(1, 10), ()], (1, 10), {}, 0),
        ("Cast", [(1, 10)], (1, 10), {}, 0),
    ],
)  # fmt: skip
def test_operations_beside_products(op, inputs, output, attributes, count):
    found = work(op, inputs, output, **attributes)
    assert (found.macs, found.other, found.flops) == (0, count, count)


def test_a_multiply_add_is_two():
    assert work("MatMul", [(2, 3), (3, 4)], (2, 4)).flops == 48


@pytest.mark.parametrize("op", ["NonMaxSuppression", "com.microsoft.FusedConv", "Nonsense", "Loop"])
def test_an_operator_that_is_not_known_here(op):
    assert work(op, [(1, 3)], (1, 3)) is None


def test_a_shape_that_is_not_known():
    assert work("Relu", [None], None) is None
    assert work("Conv", [(1, 3, 8, 8), None], (1, 4, 8, 8)) is None


def test_every_operator_that_is_known_here_is_one_of_onnx():
    named = {*flops._MOVES, *flops._COUNTS}
    assert named - {schema.name for schema in defs.get_all_schemas_with_history()} == set()


@pytest.mark.parametrize(
    ("weights", "group", "kind"),
    [
        ((32, 16, 3, 3), 1, "dense"),
        ((32, 8, 3, 3), 2, "dense"),
        ((32, 1, 3, 3), 32, "depthwise"),
        ((64, 1, 3, 3), 32, "depthwise"),
        ((4, 48, 1, 1), 1, "narrow"),
        ((5, 48, 1, 1), 1, "dense"),
        ((8, 1, 3, 3), 1, "dense"),
    ],
)
def test_kinds_of_convolutions(weights, group, kind):
    shape = (1, weights[1] * group, 9, 9)
    found = work("Conv", [shape, weights], (1, weights[0], 9, 9), group=group)
    assert (found.kind or "dense") == kind


def taps(size, kernel, stride, dilation, pad):
    """Every (place, tap) along one axis, found by sliding the window."""
    reach = dilation * (kernel - 1)
    starts = range(-pad, size + pad - reach, stride)
    return [(start, start + dilation * tap) for start in starts for tap in range(kernel)]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_convolutions_against_loops(tmp_path_factory, data):
    draw = data.draw
    group, taken, made = (draw(st.integers(1, 3)) for _ in range(3))
    sides = [draw(st.integers(5, 9)) for _ in range(2)]
    kernel = [draw(st.integers(1, 3)) for _ in range(2)]
    stride, dilation, pad = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 2)),
        draw(st.integers(0, 2)),
    )
    data_shape = (2, group * taken, *sides)
    weights = (group * made, taken, *kernel)
    text = (
        f"g (float{list(data_shape)} x, float{list(weights)} w) => (float[N,C,H,W] y) {{\n"
        f"y = Conv<strides = [{stride}, {stride}], dilations = [{dilation}, {dilation}],"
        f" pads = [{pad}, {pad}, {pad}, {pad}], group = {group}>(x, w) }}"
    )
    path = tmp_path_factory.mktemp("conv") / "conv.onnx"
    write(path, text)
    network = read_network(path, {"x": data_shape, "w": weights})
    axes = [taps(n, k, stride, dilation, pad) for n, k in zip(sides, kernel, strict=True)]
    each = product(range(2), range(group), range(made), range(taken), *axes)
    counted = sum(1 for _ in each)
    assert flops.work_of(network.nodes[0], network).macs == counted


def write(path, text):
    from onnx import parser

    model = parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]>\n{text}')
    path.write_bytes(model.SerializeToString())


def test_a_mobilenet_block(saved: Callable[[str], Path]):
    # 1×1 of 16 to 96 on 112×112, depthwise 3×3 with stride 2, 1×1 to 24: MobileNet v2's second block
    path = saved(
        "g (float[1,16,112,112] x, float[96,16,1,1] a, float[96,1,3,3] b, float[24,96,1,1] c)"
        " => (float[1,24,56,56] y) {\n"
        "p = Conv(x, a)\nq = Conv<group = 96, strides = [2, 2], pads = [1, 1, 1, 1]>(p, b)\n"
        "y = Conv(q, c) }"
    )
    shapes = {"x": (1, 16, 112, 112), "a": (96, 16, 1, 1), "b": (96, 1, 3, 3), "c": (24, 96, 1, 1)}
    network = read_network(path, shapes)
    macs = [flops.work_of(node, network).macs for node in network.nodes]
    assert macs == [19_267_584, 2_709_504, 7_225_344]


@pytest.mark.parametrize(
    ("op", "inputs", "output", "attributes"),
    [
        ("Conv", [(1, 3, 8, 8), (8, 3, 3, 3)], (1, 8, 6, 6), {"group": 0}),
        ("Conv", [(1, 3, 8, 8), (8, 3, 3, 3)], (1, 8, 6, 6), {"group": "two"}),
        ("LSTM", [(5, 2), (1, 12, 4)], (5, 1, 2, 3), {}),
        ("MaxPool", [(1, 3, 8, 8)], (1, 3, 7, 7), {"kernel_shape": None}),
        ("Resize", [(1, 3, 8)], (1, 3, 8, 8), {"mode": "linear"}),
    ],
)
def test_attributes_and_shapes_that_make_no_sense_are_unknown_work(op, inputs, output, attributes):
    assert work(op, inputs, output, **attributes) is None
