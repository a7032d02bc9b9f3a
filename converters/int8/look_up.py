"""HardSigmoid, and with it hard-swish, as a table look-up: what onnxruntime on a CPU has no kernel for.

HardSigmoid(x) is clip(α·x + β, 0, 1), which is what QuantizeLinear does when its steps are 1/(255·α)
and its zero point is 255·β; dequantized in steps of 1/255, the integers are the answer. onnxruntime
runs a QuantizeLinear behind DequantizeLinear in float, but takes a LeakyRelu between the two as one
look-up in a table of 256 integers. With a slope of 1 it changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper

from edgevision.converters.graph.index import attribute

__all__ = ["as_look_up", "fits_table", "gate_of", "is_look_up", "look_ups"]


def look_ups(model: onnx.ModelProto, int8: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes that will be look-ups, of those that are to be INT8."""
    return [n for n in model.graph.node if n.op_type == "HardSigmoid" and n.name in int8]


def fits_table(node: onnx.NodeProto) -> bool:
    """Whether a HardSigmoid rises, and is neither 0 nor 1 at zero: else no zero point says it."""
    slope, shift = gate_of(node)
    return slope > 0 and 0 <= shift <= 1


def gate_of(node: onnx.NodeProto) -> tuple[float, float]:
    """α and β of a HardSigmoid."""
    return float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5))


def as_look_up(node: onnx.NodeProto) -> None:
    """Make a HardSigmoid the LeakyRelu that changes nothing, in place."""
    node.op_type = "LeakyRelu"
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("alpha", 1.0))


def is_look_up(node: onnx.NodeProto) -> bool:
    """Whether a node of a written graph is such a LeakyRelu."""
    return node.op_type == "LeakyRelu" and attribute(node, "alpha", 0.01) == 1.0
