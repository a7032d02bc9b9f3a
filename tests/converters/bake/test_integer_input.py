"""INT8 graphs read the uint8 picture itself, and come no further from float than by way of a quantizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.bake.input import bake_input
from edgevision.converters.bake.integer_input import with_integer_input
from edgevision.converters.graph.execute import run_once
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import Quantized, quantize_calibrated
from edgevision.converters.int8.read_back import read_back
from edgevision.spec import InputSpec

SIDE = 24
NCHW = {"size": (SIDE, SIDE), "tensor": "x", "colour": "bgr", "scale": 1.0}


def network(layout: str = "nchw", **attributes: Any) -> onnx.ModelProto:
    """Two convolutions; only the first one pads."""
    random = np.random.default_rng(1)
    per_group = 3 // attributes.get("group", 1)
    arrays = {
        "w1": random.normal(0, 0.3, (9, per_group, 3, 3)),
        "b1": random.normal(0, 0.1, 9),
        "w2": random.normal(0, 0.2, (8, 9, 3, 3)),
    }
    first, nodes = "x", []
    if layout == "nhwc":
        nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2], name="turn")]
        first = "t"
    nodes += [
        helper.make_node("Conv", [first, "w1", "b1"], ["c1"], name="one", **attributes),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2"], ["y"], name="two"),
    ]
    shape = (1, 3, SIDE, SIDE) if layout == "nchw" else (1, SIDE, SIDE, 3)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pictures(layout: str = "nchw") -> list[dict[str, NDArray[np.uint8]]]:
    """Every grey level from 0 to 255 is in each."""
    random = np.random.default_rng(2)
    shape = (1, 3, SIDE, SIDE) if layout == "nchw" else (1, SIDE, SIDE, 3)
    found = []
    for _ in range(4):
        picture = random.integers(0, 256, shape).astype(np.uint8)
        if layout == "nchw":
            picture[0, :, 0, 0], picture[0, :, 0, 1] = 0, 255
        else:
            picture[0, 0, 0], picture[0, 0, 1] = 0, 255
        found.append({"x": picture})
    return found


def made(spec: InputSpec, scheme: str = "x86", **attributes: Any) -> tuple[onnx.ModelProto, Quantized, Quantized]:  # fmt: skip
    """The float model with a baked input, INT8 of it, and that with an integer input."""
    baked = bake_input(network(spec.layout, **attributes), spec).model
    feeds = pictures(spec.layout)
    measured = calibrate(baked, lambda: iter(feeds), scheme=scheme, rounding=False)
    int8 = quantize_calibrated(baked, measured, ranges="minmax", rounding=False)
    return baked, int8, with_integer_input(int8, scheme)


def error(reference: onnx.ModelProto, model: onnx.ModelProto, layout: str = "nchw") -> float:
    gaps = [
        run_once(reference, feed, optimize=False)["y"] - run_once(model, feed, optimize=False)["y"]
        for feed in pictures(layout)
    ]
    return float(np.sqrt(np.mean(np.square(gaps))))


def ops_before_the_first_layer(model: onnx.ModelProto) -> list[str]:
    """Backwards from the convolution's data to the input."""
    producers = {name: node for node in model.graph.node for name in node.output}
    tensor, found = next(n for n in model.graph.node if n.name == "one").input[0], []
    while tensor in producers:
        found.append(producers[tensor].op_type)
        constants = {t.name for t in model.graph.initializer}
        tensor = next(name for name in producers[tensor].input if name not in constants)
    return found[::-1]


@pytest.mark.parametrize("mean", [0.0, 127.0])
@pytest.mark.parametrize("pads", [[0] * 4, [1, 1, 1, 1], [0, 1, 2, 0]])
def test_a_whole_mean_is_exact(mean: float, pads: list[int]) -> None:
    spec = InputSpec(**NCHW, mean=(mean,), std=(64.0,))
    _, int8, direct = made(spec, pads=pads)
    assert ops_before_the_first_layer(direct.model) == ["DequantizeLinear"]
    for (
        feed
    ) in pictures():  # their levels span 0…255, so the quantizer that went had the scale 1 too
        before, after = (run_once(q.model, feed, optimize=False)["y"] for q in (int8, direct))
        np.testing.assert_allclose(after, before, atol=np.abs(before).max() / 100)
    assert read_back(direct.model, "x86")["layers"] == 2


@pytest.mark.parametrize(
    ("mean", "before"),
    [
        ((127.5,), ["DequantizeLinear"]),
        ((103.53, 116.28, 123.675), ["Concat", "Concat", "DequantizeLinear"]),
    ],
)
@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1]},
        {"pads": [2, 1, 1, 2], "dilations": [2, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER"},
        {"pads": [1, 1, 1, 1], "group": 3},
    ],
)
def test_other_means_come_no_further_from_float(mean: tuple[float, ...], before: list[str], attributes: dict[str, Any]) -> None:  # fmt: skip
    reference, int8, direct = made(InputSpec(**NCHW, mean=mean, std=(58.0,)), **attributes)
    found = ops_before_the_first_layer(direct.model)
    assert [op for op in found if op != "Concat"] == ["DequantizeLinear"]
    assert len(found) <= len(before)
    assert error(reference, direct.model) <= 1.1 * error(reference, int8.model)
    assert "uint8 picture" in direct.report["notes"][0]
    read_back(direct.model, "x86")


def test_nhwc_pictures_are_transposed_as_integers() -> None:
    spec = InputSpec(size=(SIDE, SIDE), tensor="x", layout="nhwc", mean=(0.5,), std=(0.5,))
    reference, int8, direct = made(spec, pads=[1] * 4)
    assert ops_before_the_first_layer(direct.model) == ["Transpose", "DequantizeLinear"]
    assert error(reference, direct.model, "nhwc") <= 1.1 * error(reference, int8.model, "nhwc")
    read_back(direct.model, "x86")


def test_a_mean_that_no_pixel_can_have_is_left_alone() -> None:
    _, int8, direct = made(InputSpec(**NCHW, mean=(300.0,), std=(58.0,)), pads=[1] * 4)
    assert direct is int8


@pytest.mark.parametrize("scheme", ["arm", "trt"])
def test_schemes_of_other_integers_are_left_alone(scheme: str) -> None:
    _, int8, direct = made(InputSpec(**NCHW, mean=(0.0,), std=(255.0,)), scheme, pads=[1] * 4)
    assert direct is int8


def test_float_inputs_are_left_alone() -> None:
    feeds = [{"x": feed["x"].astype(np.float32)} for feed in pictures()]
    measured = calibrate(network(pads=[1] * 4), lambda: iter(feeds), scheme="x86", rounding=False)
    int8 = quantize_calibrated(network(pads=[1] * 4), measured, ranges="minmax", rounding=False)
    assert with_integer_input(int8, "x86") is int8


def test_each_of_two_first_layers_reads_the_picture_itself() -> None:
    """One pads, so the mean is subtracted before it; into the other's bias it went."""
    random = np.random.default_rng(3)
    arrays = {
        "w1": random.normal(0, 0.3, (4, 3, 3, 3)),
        "w2": random.normal(0, 0.3, (4, 3, 1, 1)),
        "w3": random.normal(0, 0.3, (16, 8, 3, 3)),
    }
    made_of = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["c1"], name="one", pads=[1] * 4),
            helper.make_node("Conv", ["x", "w2"], ["c2"], name="two"),
            helper.make_node("Concat", ["c1", "c2"], ["c"], name="join", axis=1),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("Conv", ["r", "w3"], ["y"], name="last"),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()],
    )
    model = helper.make_model(made_of, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    reference = bake_input(model, InputSpec(**NCHW, mean=(127.5,), std=(58.0,))).model
    measured = calibrate(reference, lambda: iter(pictures()), scheme="x86", rounding=False)
    int8 = quantize_calibrated(reference, measured, ranges="minmax", rounding=False)
    direct = with_integer_input(int8, "x86")
    left = {node.op_type for node in direct.model.graph.node}
    assert not left & {"Cast", "Sub"}
    assert direct.report["notes"][0].count("uint8 picture") == 2
    assert error(reference, direct.model) <= 1.1 * error(reference, int8.model)
    read_back(direct.model, "x86")
