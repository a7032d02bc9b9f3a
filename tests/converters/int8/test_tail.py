"""The decode tail: what stands behind the last real layer."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper, parser

from edgevision.converters.int8.tail import decode_tail


def graph(text: str, **weights: tuple[int, ...]) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, shape in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def test_everything_behind_the_last_conv_is_tail() -> None:
    model = graph(
        """g (float[1,8,4,4] x) => (float[1,16,4,4] s, float[1,16,16] r) {
            a = Conv(x, w0)
            b = Relu(a)
            c = Conv(b, w1)
            s = Sigmoid(c)
            shape = Constant<value_ints = [1, 16, 16]>()
            r = Reshape(c, shape)
        }""",
        w0=(16, 8, 1, 1),
        w1=(16, 16, 1, 1),
    )
    assert decode_tail(model) == {"s", "r", "shape"}


def test_yolov8_expectation_conv_counts_as_decode() -> None:
    # 16 bins, softmax, a fixed 16→1 convolution (DFL of Ultralytics' YOLOv8).
    model = graph(
        """g (float[1,8,4,5] x) => (float[1,1,4,5] y) {
            bins = Conv(x, w0)
            p = Softmax<axis = 1>(bins)
            y = Conv(p, dfl)
        }""",
        w0=(16, 8, 1, 1),
        dfl=(1, 16, 1, 1),
    )
    assert decode_tail(model) == {"p", "y"}


def test_small_layer_in_front_of_a_larger_one_is_body() -> None:
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,2,8,8] y) {
            d = Conv<group = 4>(x, depthwise)
            r = Relu(d)
            c = Conv(r, w)
            y = Conv(c, head)
        }""",
        depthwise=(4, 1, 1, 1),
        w=(20, 4, 1, 1),
        head=(2, 20, 1, 1),
    )
    assert decode_tail(model) == {"y"}


def test_branches_that_rejoin_before_a_conv_are_body() -> None:
    model = graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y, float[1,16,4,4] z) {
            a = Conv(x, w)
            s = Sigmoid(a)
            m = Mul(a, s)
            y = Conv(m, w)
            z = Tanh(a)
        }""",
        w=(16, 16, 1, 1),
    )
    assert decode_tail(model) == {"z"}


def test_graph_without_layers_is_all_tail() -> None:
    model = graph("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    assert decode_tail(model) == {"y"}
