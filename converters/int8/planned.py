"""What becomes INT8 in a graph, as it was planned, and the operators that plans are about."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.schemes import Scheme

__all__ = ["OPERAND_OPS", "PASSING_OPS", "Plan", "clip_bounds"]

# They move or pick values: input and output share one scale, so the integers pass untouched.
PASSING_OPS = frozenset(
    {
        "MaxPool",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Resize",
        "DepthToSpace",
        "SpaceToDepth",
    }
)
# Their constant operands become integers with a scale of their own.
OPERAND_OPS = frozenset({"Add", "Mul", "Concat"})


@dataclass
class Plan:
    """What becomes INT8.

    Attributes:
        scheme: The kernels it is made for.
        layers: Nodes with weights, in graph order.
        others: Names of INT8 nodes without weights.
        tensors: Tensors that get QuantizeLinear and DequantizeLinear, in graph order.
        shared: Sets of such tensors with one scale, as pairs to be joined.
        concats: Inputs and output of each INT8 Concat.
        absorbed: Relu and Clip nodes to be dropped: name → (low, high) that they clip to.
        bridges: Those of ``others`` that are computed in float between INT8 neighbours.
        residuals: Add that is left to be fused → its other input, which has a scale too.
        kept_float: Name → reason, for every node that is computed in float, bridges included.
    """

    scheme: Scheme
    layers: list[Layer] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    tensors: list[str] = field(default_factory=list)
    shared: list[tuple[str, str]] = field(default_factory=list)
    concats: list[list[str]] = field(default_factory=list)
    absorbed: dict[str, tuple[float, float]] = field(default_factory=dict)
    bridges: set[str] = field(default_factory=set)
    residuals: dict[str, str] = field(default_factory=dict)
    kept_float: dict[str, str] = field(default_factory=dict)


def clip_bounds(node: onnx.NodeProto, index: GraphIndex) -> tuple[float, float] | None:
    """What a Relu or Clip clips to, if constant and with zero inside; else None."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    bounds = [float("-inf"), float("inf")]
    for position in (1, 2):
        if len(node.input) > position and node.input[position]:
            value = index.array(node.input[position])
            if value is None:
                return None
            bounds[position - 1] = float(value.reshape(-1)[0])
    return (bounds[0], bounds[1]) if bounds[0] <= 0.0 <= bounds[1] else None
