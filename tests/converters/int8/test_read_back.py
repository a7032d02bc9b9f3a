"""Graphs that are broken in one respect are caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.int8.read_back import read_back, refuse_quantized
from edgevision.converters.int8.schemes import SCHEMES
from edgevision.errors import ModelError

Change = Callable[[onnx.ModelProto], None]


def constant(name: str, value: np.ndarray) -> Change:
    """Replaces a constant."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(value, name))

    return change


def edited(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Changes a constant."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        array = np.array(numpy_helper.to_array(tensor))
        tensor.CopyFrom(numpy_helper.from_array(edit(array).astype(array.dtype), name))

    return change


def first(value: int) -> Callable[[np.ndarray], np.ndarray]:
    """Sets the first number of an array."""

    def edit(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[0] = value
        return array

    return edit


def node_named(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def own(node: str, position: int, value: np.ndarray) -> Change:
    """Gives one node a constant of its own."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(value, "own"))
        node_named(model, node).input[position] = "own"

    return change


def rewired(node: str, position: int, tensor: str) -> Change:
    """Lets one node read another tensor."""

    def change(model: onnx.ModelProto) -> None:
        node_named(model, node).input[position] = tensor

    return change


def between(op: str, source: str, reader: str, position: int, **attributes: Any) -> Change:
    """Puts a node between a tensor and one of its readers."""

    def change(model: onnx.ModelProto) -> None:
        place = next(i for i, n in enumerate(model.graph.node) if n.name == reader)
        added = helper.make_node(op, [source], ["between"], name="between", **attributes)
        model.graph.node.insert(place, added)
        node_named(model, reader).input[position] = "between"

    return change


def fed(name: str) -> Change:
    """Makes an input of a constant."""

    def change(model: onnx.ModelProto) -> None:
        kept = [t for t in model.graph.initializer if t.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))

    return change


def axis(node: str, value: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        node_named(model, node).attribute[0].i = value

    return change


def quantized_before_relu(model: onnx.ModelProto) -> None:
    """A scale between a layer, node_a, and the Relu that TensorRT would fuse into it."""
    place = next(i for i, n in enumerate(model.graph.node) if n.name == "node_r")
    for op, source, target in (("Quantize", "a", "aq"), ("Dequantize", "aq", "dq")):
        inputs = [source, "x/scale", "x/zero"]
        model.graph.node.insert(
            place, helper.make_node(f"{op}Linear", inputs, [target], name=target)
        )
        place += 1
    node_named(model, "node_r").input[0] = "dq"


def float_bias(model: onnx.ModelProto) -> None:
    own("node_y", 2, np.ones(8, np.float32))(model)
    model.graph.node.remove(node_named(model, "node_y/bias/dequantize"))


F32 = np.float32
EVERY = tuple(SCHEMES)
CPU = ("x86", "x86-avx2", "arm")
BROKEN = {
    "a scale of 0": (EVERY, constant("x/scale", F32(0)), "the scale 0"),
    "a scale that is not a number": (EVERY, constant("x/scale", F32(np.nan)), "the scale nan"),
    "a scale without end": (EVERY, constant("x/scale", F32(np.inf)), "the scale inf"),
    "a scale that is fed": (EVERY, fed("x/scale"), "not constant"),
    "two scales of one tensor": (
        EVERY, own("x/dequantize", 1, np.array(0.5, F32)), "another scale than its QuantizeLinear"),
    "two zero points of one tensor": (
        ("x86",), own("x/dequantize", 2, np.array(3, np.uint8)), "another scale"),
    "integers from elsewhere": (
        EVERY, between("Identity", "x/quantized", "x/dequantize", 0), "integers from Identity"),
    "signed activations": (("x86", "x86-avx2"), constant("x/zero", np.int8(0)), "int8 integers"),
    "unsigned activations": (("arm", "trt"), constant("x/zero", np.uint8(0)), "uint8 integers"),
    "a zero point": (("trt",), constant("x/zero", np.int8(3)), "zero point 3"),
    "a scale per channel of an activation": (
        EVERY, constant("x/scale", np.ones(3, F32)), "3 scales"),
    "a weight too large": (
        ("x86", "arm", "trt"), edited("node_y/weights/integers", first(-128)), "a weight of ±128"),
    "a weight of eight bits": (
        ("x86-avx2",), edited("node_y/weights/integers", first(65)), "a weight of ±65"),
    "unsigned weights": (
        EVERY, constant("node_y/weights/integers", np.ones((8, 16, 1, 1), np.uint8)),
        "not constant int8"),
    "one scale for all weights": (EVERY, constant("node_y/weights/scales", F32(0.1)), "1 scales"),
    "too few scales": (EVERY, constant("node_y/weights/scales", np.ones(3, F32)), "3 scales"),
    "the scales of another axis": (EVERY, axis("node_y/weights/dequantize", 1), "axis 1"),
    "a zero point of weights": (
        EVERY, edited("node_y/weights/zeros", first(1)), "the weights' zero point 1"),
    "a layer that reads floats": (EVERY, rewired("node_y", 0, "q/float"), "a float input"),
    "a cast before a layer": (
        EVERY, between("Cast", "node_y/weights", "node_y", 1, to=TensorProto.FLOAT), "a Cast behind"),
    "a float bias": (CPU, float_bias, "a float bias"),
    "the scale of another bias": (
        CPU, edited("node_y/bias/scales", lambda a: a * 2), "another scale of the bias"),
    "a zero point of a bias": (CPU, edited("node_y/bias/zeros", first(1)), "a bias that is not"),
    "an integer bias": (("trt",), rewired("node_y", 2, "node_y/weights"), "an int32 bias"),
    "a scale before a fused Relu": (("trt",), quantized_before_relu, "a scale before Relu"),
    "float16": (
        EVERY, between("Cast", "q/float", "q/quantize", 0, to=TensorProto.FLOAT16),
        "received: float16"),
}  # fmt: skip
CASES = [
    pytest.param(scheme, change, message, id=f"{scheme}: {name}")
    for name, (schemes, change, message) in BROKEN.items()
    for scheme in schemes
]


@pytest.fixture(scope="module")
def written(kit: Any) -> dict[str, onnx.ModelProto]:
    """A small network by each scheme."""
    return {
        s: kit.quantize(kit.body(), kit.FRAMES, scheme=s, rounding=False).model for s in SCHEMES
    }


@pytest.mark.parametrize(("scheme", "change", "message"), CASES)
def test_a_graph_that_is_broken_in_one_respect_is_caught(
    written: dict[str, onnx.ModelProto], scheme: str, change: Change, message: str
) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(written[scheme])
    read_back(model, scheme)
    change(model)
    with pytest.raises(ModelError, match=message):
        read_back(model, scheme)


@pytest.mark.parametrize(
    ("made", "read", "message"),
    [
        ("x86", "arm", "uint8 integers"),
        ("arm", "x86", "int8 integers"),
        ("x86", "x86-avx2", "a weight of ±127"),
        ("trt", "arm", "a float bias"),
        ("arm", "trt", "the zero point"),
        ("trt", "x86", "int8 integers"),
    ],
)
def test_read_back_tells_the_schemes_apart(
    written: dict[str, onnx.ModelProto], made: str, read: str, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_back(written[made], read)


def test_what_is_read_back_of_each_scheme(written: dict[str, onnx.ModelProto]) -> None:
    found = {scheme: read_back(model, scheme) for scheme, model in written.items()}
    keys = ("activations", "weight_bits", "remainder", "layers", "residuals", "float_residuals")
    assert {scheme: tuple(counts[k] for k in keys) for scheme, counts in found.items()} == {
        "x86": ("uint8", 8, "float32", 5, 0, 0),
        "x86-avx2": ("uint8", 7, "float32", 5, 0, 0),
        "arm": ("int8", 8, "float32", 5, 0, 0),
        "trt": ("int8", 8, "float32", 5, 1, 0),
    }


def test_a_skip_connection_without_a_scale_is_counted(written: dict[str, onnx.ModelProto]) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(written["trt"])
    rewired("node_n", 1, "k/float")(model)
    counts = read_back(model, "trt")
    assert (counts["residuals"], counts["float_residuals"]) == (1, 1)


def test_quantized_model_is_refused(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86").model
    refuse_quantized(kit.body())
    with pytest.raises(ModelError, match="quantized already") as caught:
        kit.quantize(made, kit.FRAMES, scheme="trt")
    assert "leave out --precision and --calibration" in caught.value.hint
