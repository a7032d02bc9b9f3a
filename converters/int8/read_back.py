"""Re-read a graph and say whether it is the INT8 that a scheme promises."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from edgevision.converters.graph.index import GraphIndex, attribute
from edgevision.converters.int8.schemes import LAYER_OPS
from edgevision.errors import ModelError

__all__ = ["read_back", "refuse_quantized"]

_QUANTIZED_OPS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
)


def refuse_quantized(model: onnx.ModelProto) -> None:
    """Raise ModelError if ``model`` is quantized already: rounding twice loses accuracy."""
    for node in model.graph.node:
        if node.op_type in _QUANTIZED_OPS or (
            node.domain == "com.microsoft" and node.op_type.startswith(("QLinear", "QGemm"))
        ):
            raise ModelError(
                "the model is quantized already",
                received=f"{node.op_type} in node {node.name or node.output[0]!r}",
                expected="a float model",
                hint="start from the fp32 export; or leave out --precision and --calibration, "
                "and this one is taken as it is",
            )


def read_back(model: onnx.ModelProto, scheme: str) -> dict[str, Any]:
    """Count what is INT8 in a written graph, and check it against the scheme.

    Args:
        model: A graph as written, or as loaded from its file.
        scheme: ``x86`` or ``trt``.

    Returns:
        ``layers`` and ``convs`` (with INT8 weights), ``float_layers``, ``quantize`` and
        ``dequantize`` nodes, ``weight_bits`` (8).

    Raises:
        ModelError: A layer or a scale is not what the scheme says; names the node.
    """
    index = GraphIndex(model.graph)
    found = {"layers": 0, "convs": 0, "float_layers": 0, "quantize": 0, "dequantize": 0}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found["quantize" if node.op_type == "QuantizeLinear" else "dequantize"] += 1
            _check_pair(node, index, scheme)
        elif node.op_type in LAYER_OPS:
            if not _dequantized(node.input[1], index):
                found["float_layers"] += 1
                continue
            _check_layer(node, index, scheme)
            found["layers"] += 1
            found["convs"] += node.op_type == "Conv"
    return {**found, "weight_bits": 8}


def _check_pair(node: onnx.NodeProto, index: GraphIndex, scheme: str) -> None:
    scale = index.array(node.input[1])
    zero = index.array(node.input[2]) if len(node.input) > 2 else None
    if scale is None or zero is None:
        raise _broken(node, "a scale or zero point that is not constant", "constants")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise _broken(node, f"the scale {scale.min():g}", "finite scales above zero")
    if scheme == "trt":
        if zero.any():
            raise _broken(node, f"the zero point {int(zero.max())}", "zero points of 0")
        if zero.dtype != np.int8:
            raise _broken(node, f"{zero.dtype} integers", "int8; TensorRT takes nothing else here")
    elif zero.dtype == np.uint8 and zero.ndim:
        raise _broken(node, "a zero point per channel", "one zero point for an activation")
    elif zero.dtype not in (np.uint8, np.int8, np.int32):
        raise _broken(node, f"{zero.dtype} integers", "uint8, int8 weights or int32 biases")


def _check_layer(node: onnx.NodeProto, index: GraphIndex, scheme: str) -> None:
    weights = index.producers[node.input[1]]
    integers, scales = index.array(weights.input[0]), index.array(weights.input[1])
    if integers is None or scales is None or integers.dtype != np.int8:
        raise _broken(node, "weights that are not constant int8", "constant int8 weights")
    axis = attribute(weights, "axis", 1)
    expected = _channel_axis(node)
    if scales.ndim != 1 or axis != expected or len(scales) != integers.shape[axis]:
        raise _broken(
            node, f"{scales.size} scales on axis {axis}", f"one per channel of axis {expected}"
        )
    if not _dequantized(node.input[0], index):
        raise _broken(node, "a float input", "an input behind DequantizeLinear")
    if len(node.input) > 2 and node.input[2]:
        integer_bias = _dequantized(node.input[2], index)
        if integer_bias != (scheme == "x86"):
            kind = "int32" if integer_bias else "float"
            raise _broken(node, f"an {kind} bias", f"the bias that scheme {scheme} takes")


def _channel_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1


def _dequantized(tensor: str, index: GraphIndex) -> bool:
    maker = index.producers.get(tensor)
    return maker is not None and maker.op_type == "DequantizeLinear"


def _broken(node: onnx.NodeProto, received: str, expected: str) -> ModelError:
    return ModelError(
        f"the INT8 graph is wrong at node {node.name or node.output[0]!r}",
        received=received,
        expected=expected,
        hint="this is a fault in edgevision: please report it with the model",
    )
