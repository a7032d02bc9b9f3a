"""Skip connections: which input of an Add gets a scale, so that TensorRT can fuse it into a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.int8.read_back import read_back
from edgevision.converters.int8.residuals import residual_inputs

# Add n; what has a scale for other reasons; the input of n that gets one.
CASES = {
    "identity": ("a = Conv(x, w)  n = Add(a, x)  y = Conv(n, w)", {"x"}, "x"),
    "identity first": ("a = Conv(x, w)  n = Add(x, a)  y = Conv(n, w)", {"x"}, "x"),
    "projection": ("p = Conv(x, w)  a = Conv(x, w)  n = Add(a, p)  y = Conv(n, w)", {"x"}, "p"),
    "projection last": (
        "a = Conv(x, w)  p = Conv(x, w)  n = Add(a, p)  y = Conv(n, w)", {"x"}, "a"),
    "pooled": (
        "p = MaxPool<kernel_shape=[1,1]>(x)  a = Conv(x, w)  n = Add(a, p)  y = Conv(n, w)",
        {"x"}, "p"),
    "activated": ("c = Conv(x, w)  a = Relu(c)  n = Add(a, x)  y = Conv(n, w)", {"x"}, None),
    "read twice": (
        "a = Conv(x, w)  n = Add(a, x)  t = Tanh(a)  m = Mul(n, t)  y = Conv(m, w)", {"x"}, None),
    "scaled": ("a = Conv(x, w)  n = Add(a, x)  y = Conv(n, w)", {"x", "a"}, None),
    "constant": ("a = Conv(x, w)  n = Add(a, bias)  y = Conv(n, w)", {"x"}, None),
    "with itself": ("a = Conv(x, w)  n = Add(a, a)  y = Conv(n, w)", {"x"}, None),
}  # fmt: skip


@pytest.mark.parametrize(("text", "scaled", "expected"), CASES.values(), ids=CASES)
def test_the_other_input_of_an_add_behind_a_layer(
    kit: Any, text: str, scaled: set[str], expected: str | None
) -> None:
    model = kit.graph(f"g (float[1,4,4,4] x) => (float[1,4,4,4] y) {{ {text} }}",
                      w=kit.normal(4, 4, 1, 1), bias=np.ones((1, 4, 1, 1), np.float32))  # fmt: skip
    layers = {n.name for n in model.graph.node if n.op_type == "Conv"}
    found = residual_inputs(model.graph.node, GraphIndex(model.graph), layers, scaled)
    assert found == ({} if expected is None else {"node_n": expected})


RESNET = """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
    a = Conv(x, w0)
    p = Conv(x, w1)
    b = Conv<pads=[1,1,1,1]>(a, w2)
    n = Add(b, p)
    r = Relu(n)
    c = Conv(r, w3)
    m = Add(c, r)
    q = Relu(m)
    y = Conv(q, w0) }"""


def resnet(kit: Any) -> Any:
    return kit.graph(
        RESNET, w0=kit.normal(16, 16, 1, 1), w1=kit.normal(16, 16, 1, 1)[::-1].copy(),
        w2=kit.normal(16, 16, 3, 3), w3=kit.normal(16, 16, 1, 1)[:, ::-1].copy(),
    )  # fmt: skip


def test_residual_blocks_are_written_as_tensorrt_fuses_them(kit: Any) -> None:
    made = kit.quantize(resnet(kit), kit.noise(1, 16, 8, 8), scheme="trt")
    makers = {name: n for n in made.model.graph.node for name in n.output}
    adds = {n.name: [makers[i].op_type for i in n.input] for n in made.model.graph.node
            if n.op_type == "Add"}  # fmt: skip
    assert adds == {
        "node_n": ["Conv", "DequantizeLinear"],
        "node_m": ["Conv", "DequantizeLinear"],
    }
    assert made.report["float"]["node_n"] == "left to be fused into the int8 layer before it"
    counts = read_back(made.model, "trt")
    assert (counts["residuals"], counts["float_residuals"]) == (2, 0)
    assert kit.agreement(resnet(kit), made.model, kit.noise(1, 16, 8, 8), "y") > 30


def test_a_skip_connection_that_no_scale_fits_stays_float(kit: Any) -> None:
    """It was 0 on all calibration frames, and at run time may hold anything."""
    model = kit.graph(
        """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            s = Relu(low)
            p = Mul(s, x)
            n = Add(a, p)
            y = Conv(n, w) }""",
        w=kit.normal(16, 16, 1, 1), low=np.array(-1, np.float32),
    )  # fmt: skip
    feeds = kit.noise(1, 16, 8, 8)
    measured = calibrate(model, feeds, scheme="trt", rounding=False)
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False).model
    assert kit.agreement(model, made, feeds, "y") > 30
    counts = read_back(made, "trt")
    assert (counts["residuals"], counts["float_residuals"]) == (1, 1)


@pytest.mark.parametrize("scheme", ["x86", "x86-avx2", "arm"])
def test_on_a_cpu_an_add_has_a_kernel_of_its_own(kit: Any, scheme: str) -> None:
    made = kit.quantize(resnet(kit), kit.noise(1, 16, 8, 8), scheme=scheme)
    assert {"node_n", "node_m"} <= set(made.report["int8"])
    assert read_back(made.model, scheme)["residuals"] == 0
