"""Nodes with weights, as INT8 layers: where their data, weights and channels are, or why they cannot be one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from edgevision.converters.graph.index import GraphIndex, attribute

__all__ = ["Layer", "as_layer"]


@dataclass(frozen=True)
class Layer:
    """One node with constant weights that will compute in INT8.

    Attributes:
        node: Its name.
        op: Its operator.
        data: The activation that it reads.
        weights: Name of its constant weights.
        bias: Name of its constant bias, or "".
        axis: The axis of the weights that counts output channels.
        groups: Convolution groups.
    """

    node: str
    op: str
    data: str
    weights: str
    bias: str
    axis: int
    groups: int


def as_layer(node: onnx.NodeProto, index: GraphIndex) -> Layer | str:
    """The node as a layer, or why it cannot be one."""
    weights = index.initializers.get(node.input[1])
    bias = node.input[2] if len(node.input) > 2 else ""
    if weights is None:
        return "its weights are not constant"
    if index.is_constant(node.input[0]):
        return "its input is constant"
    if weights.data_type != TensorProto.FLOAT:
        return f"its weights are {TensorProto.DataType.Name(weights.data_type).lower()}"
    if bias and bias not in index.initializers:
        return "its bias is not constant"
    if not all(np.isfinite(a).all() for a in map(index.array, node.input[1:]) if a is not None):
        return "its weights are not finite"
    axis, groups, rank = 0, 1, len(weights.dims)
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = attribute(node, "group", 1)
        axis = 0 if node.op_type == "Conv" else 1
        if node.op_type == "ConvTranspose" and groups != 1:
            return "grouped ConvTranspose has no per-channel axis"
    elif rank != 2:
        return f"its weights have {rank} dims"
    elif node.op_type == "Gemm":
        if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0:
            return "Gemm with transA or alpha"
        if bias and attribute(node, "beta", 1.0) != 1.0:
            return "Gemm with beta"
        axis = 0 if attribute(node, "transB", 0) else 1
        if bias and list(index.initializers[bias].dims) != [weights.dims[axis]]:
            return "Gemm with a bias that is not one value per output"
    else:
        axis = 1
    return Layer(node.name, node.op_type, node.input[0], node.input[1], bias, axis, groups)
