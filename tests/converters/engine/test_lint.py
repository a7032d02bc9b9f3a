"""What the lint finds, held against what TensorRT-RTX's real parser and builder say; no GPU needed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from edgevision.converters.engine.lint import check_lint, lint
from edgevision.errors import ModelError

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT-RTX is not installed: pip install 'edgevision[rtx]'",
)
# In a process of its own: the library may crash on what it does not take.
BUILD = """
import sys
import tensorrt_rtx_bindings as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
built = parser.parse_from_file(sys.argv[1]) and builder.build_serialized_network(network, config)
print("built" if built else "refused")
"""
SHAPE = [1, 4, 8, 8]
N = helper.make_node


def made(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Any] | None = None,
    *,
    kind: int = T.FLOAT,
    gives: int = T.FLOAT,
    shape: Sequence[Any] = SHAPE,
    out: Sequence[Any] = SHAPE,
    more: Sequence[tuple[str, int, Sequence[Any]]] = (),
    domain: str = "",
) -> onnx.ModelProto:
    inputs = [("x", kind, shape), *more]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info("y", gives, out)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 19)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def quantized(zero: Any = 0, kind: type = np.int8, scale: Any = 0.1) -> onnx.ModelProto:
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        N("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantize"),
    ]
    return made(nodes, {"s": np.float32(scale), "z": np.array(zero, kind)})


def layer(kind: type = np.int8, zero: int = 0, bias: str = "") -> onnx.ModelProto:
    nodes = [
        N("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantize"),
        N("DequantizeLinear", ["q", "s", "z"], ["xd"], name="dequantize"),
        N("DequantizeLinear", ["wi", "ws", "wz"], ["wd"], axis=0, name="weights"),
    ]
    constants: dict[str, Any] = {
        "s": np.float32(0.1), "z": np.int8(0), "wi": np.ones((4, 4, 1, 1), kind),
        "ws": np.full(4, 0.02, np.float32), "wz": np.full(4, zero, kind),
    }  # fmt: skip
    if bias == "int32":
        nodes.append(N("DequantizeLinear", ["bi", "bs", "bz"], ["b"], axis=0, name="bias"))
        constants |= {"bi": np.ones(4, np.int32), "bs": np.full(4, 0.002, np.float32)}
        constants["bz"] = np.zeros(4, np.int32)
    elif bias:
        constants["b"] = np.ones(4, np.float32)
    nodes.append(N("Conv", ["xd", "wd", *(["b"] if bias else [])], ["y"], name="conv"))
    return made(nodes, constants)


def mixed(op: str, out: Sequence[Any] = SHAPE, **attributes: Any) -> onnx.ModelProto:
    nodes = [
        N("Cast", ["x"], ["h"], to=T.FLOAT16),
        N(op, ["x", "h"], ["y"], name="op", **attributes),
    ]
    return made(nodes, out=out)


def moved(op: str, kind: int, constants: dict[str, Any] | None = None, **attributes: Any) -> Any:
    nodes = [
        N(op, ["x", *(constants or {})], ["t"], name="op", **attributes),
        N("Cast", ["t"], ["y"], to=T.FLOAT),
    ]
    return made(nodes, constants, kind=kind, out=["a", "b", "c", "d"])


NMS = {
    "k": np.array([5]), "iou": np.array([0.5], np.float32), "least": np.array([0.1], np.float32),
}  # fmt: skip

FINE = {
    "symmetric int8": quantized(),
    "int8 layer with float bias": layer(bias="float32"),
    "cast of a uint8 picture": made([N("Cast", ["x"], ["y"], to=T.FLOAT)], kind=T.UINT8),
    "transposed int8": moved("Transpose", T.INT8, perm=[0, 2, 3, 1]),
    "transposed int32": moved("Transpose", T.INT32, perm=[0, 2, 3, 1]),
    "power with another type": made([N("Pow", ["x", "e"], ["y"])], {"e": np.array(2)}),
    "double inside": made(
        [N("Cast", ["x"], ["d"], to=T.DOUBLE), N("Cast", ["d"], ["y"], to=T.FLOAT)]
    ),
    "cubic resize": made(
        [N("Resize", ["x", "", "s"], ["y"], mode="cubic")],
        {"s": np.array([1, 1, 2, 2], np.float32)},
        out=[1, 4, 16, 16],
    ),
    "Gelu of com.microsoft": made(
        [N("Gelu", ["x"], ["y"], domain="com.microsoft")], domain="com.microsoft"
    ),
}
REFUSED = {
    "zero point": (quantized(3), "a zero point that is not 0 (3)"),
    "negative zero point": (quantized(-128), "(-128)"),
    "unsigned activations": (quantized(128, np.uint8), "unsigned integers"),
    "scale 0": (quantized(scale=0.0), "a scale that is not above 0 (0)"),
    "negative scale": (quantized(scale=-1.0), "a scale that is not above 0 (-1)"),
    "int16": (quantized(kind=np.int16), "integers of type int16"),
    "unsigned weights": (layer(np.uint8), "unsigned integers"),
    "zero point of weights": (layer(zero=1), "a zero point that is not 0 (1)"),
    "int32 bias": (layer(bias="int32"), "int32 behind a DequantizeLinear"),
    "mixed Add": (mixed("Add"), "inputs of different types (float16 and float32)"),
    "mixed MatMul": (mixed("MatMul"), "inputs of different types"),
    "mixed Concat": (mixed("Concat", [2, 4, 8, 8], axis=0), "inputs of different types"),
    "float16 into float32 weights": (
        made(
            [N("Cast", ["x"], ["h"], to=T.FLOAT16), N("Conv", ["h", "w"], ["y"], name="op")],
            {"w": np.ones((4, 4, 1, 1), np.float32)},
            gives=T.FLOAT16,
        ),
        "inputs of different types",
    ),
    "mixed Where": (
        made(
            [
                N("Cast", ["x"], ["h"], to=T.FLOAT16),
                N("Greater", ["x", "z"], ["g"]),
                N("Where", ["g", "x", "h"], ["y"], name="op"),
            ],
            {"z": np.float32(0)},
        ),
        "inputs of different types",
    ),
    "transposed uint8": (moved("Transpose", T.UINT8, perm=[0, 2, 3, 1]), "it works on uint8"),
    "gathered uint8": (moved("Gather", T.UINT8, {"i": np.array([2, 1, 0])}, axis=1), "uint8"),
    "padded uint8": (
        moved("Pad", T.UINT8, {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.uint8(3)}),
        "it works on uint8",
    ),
    "int16 inside": (
        made([N("Cast", ["x"], ["i"], to=T.INT16, name="op"), N("Cast", ["i"], ["y"], to=T.FLOAT)]),
        "it gives int16",
    ),
    "int16 input": (made([N("Cast", ["x"], ["y"], to=T.FLOAT)], kind=T.INT16), "it is int16"),
    "QLinearConv": (
        made(
            [N("QLinearConv", ["x", "s", "z", "w", "s", "z", "s", "z"], ["y"], name="op")],
            {"s": np.float32(0.1), "z": np.int8(0), "w": np.ones((4, 4, 1, 1), np.int8)},
            kind=T.INT8,
            gives=T.INT8,
        ),
        "another runtime's INT8",
    ),
    "DynamicQuantizeLinear": (
        made(
            [
                N("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="op"),
                N("DequantizeLinear", ["q", "s", "z"], ["y"]),
            ]
        ),
        "another runtime's INT8",
    ),
    "an operator of one's own": (
        made([N("Magic", ["x"], ["y"], name="op", domain="my.ops")], domain="my.ops"),
        "an operator of my.ops",
    ),
    "a plugin": (made([N("EfficientNMS_TRT", ["x"], ["y"], name="op")]), "an unknown operator"),
    "NonMaxSuppression": (
        made(
            [N("NonMaxSuppression", ["x", "scores", *NMS], ["y"], name="op")],
            NMS,
            shape=[1, 10, 4],
            more=[("scores", T.FLOAT, [1, 2, 10])],
            gives=T.INT64,
            out=["n", 3],
        ),
        "no kernel",
    ),
    "Unique": (
        made([N("Unique", ["x"], ["y"], name="op")], shape=[8], out=["n"]),
        "does not have this operator",
    ),
    "a sequence": (
        made(
            [
                N("SplitToSequence", ["x"], ["q"], axis=1, name="op"),
                N("ConcatFromSequence", ["q"], ["y"], axis=1),
            ]
        ),
        "does not have this operator",
    ),
}


def verdict(model: onnx.ModelProto, folder: Path) -> str:
    onnx.save(model, folder / "m.onnx")
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder / "m.onnx")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return (ended.stdout.split() or ["crashed"])[-1]


@pytest.mark.parametrize("model", FINE.values(), ids=FINE)
def test_nothing_is_found_where_nothing_is_wrong(model: onnx.ModelProto):
    assert lint(model, "tensorrt-rtx") == []


@pytest.mark.parametrize(("model", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named_with_its_node_and_a_way_out(model: onnx.ModelProto, problem: str):
    found = lint(model, "tensorrt-rtx")
    assert any(problem in f"{finding.problem} ({finding.value})" for finding in found), found
    names = {node.name or node.output[0] for node in model.graph.node} | {"x", "y"}
    assert all(finding.node in names and finding.way_out for finding in found)


@needs_rtx
@pytest.mark.parametrize("model", FINE.values(), ids=FINE)
def test_tensorrt_builds_what_the_lint_lets_through(model: onnx.ModelProto, tmp_path: Path):
    assert verdict(model, tmp_path) == "built"


@needs_rtx
@pytest.mark.parametrize("model", [m for m, _ in REFUSED.values()], ids=REFUSED)
def test_tensorrt_refuses_what_the_lint_finds(model: onnx.ModelProto, tmp_path: Path):
    assert verdict(model, tmp_path) != "built"


def test_unsigned_activations_are_found_though_the_parser_takes_them_as_signed():
    # TensorRT-RTX 1.7.1 builds it, and saturates what is above 127.
    assert "unsigned" in lint(quantized(0, np.uint8), "tensorrt-rtx")[0].problem


def test_an_input_that_would_change_its_type_is_found():
    model = made([N("Cast", ["x"], ["y"], to=T.FLOAT)], kind=T.DOUBLE)
    assert [f.problem for f in lint(model, "tensorrt-rtx")] == ["it is float64"]


@pytest.mark.parametrize("name", ["NonMaxSuppression", "a plugin"])
def test_tensorrt_has_kernels_and_plugins_that_rtx_lacks(name: str):
    model, _ = REFUSED[name]
    assert lint(model, "tensorrt") == []


def test_all_findings_become_one_error_alike_ones_together():
    findings = lint(layer(np.uint8, zero=1, bias="int32"), "tensorrt-rtx")
    with pytest.raises(ModelError, match="in 3 places") as raised:
        check_lint(findings, "int8-x86")
    assert "unsigned integers, which are taken as signed: weights (DequantizeLinear)" in str(
        raised.value
    )
    assert "bias (DequantizeLinear)" in raised.value.received
    assert raised.value.hint.count("--target trt") == 1
    assert json.dumps([finding.to_dict() for finding in findings])


def test_a_node_inside_a_loop_is_found_too():
    body = helper.make_graph(
        [N("Magic", ["x"], ["t"], name="inside", domain="my.ops")], "then", [],
        [helper.make_tensor_value_info("t", T.FLOAT, SHAPE)],
    )  # fmt: skip
    model = made(
        [N("If", ["c"], ["y"], then_branch=body, else_branch=body)],
        more=[("c", T.BOOL, [])],
        domain="my.ops",
    )
    assert {finding.node for finding in lint(model, "tensorrt")} == {"inside"}
