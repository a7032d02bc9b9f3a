"""Which nodes only decode the network's answer, and so stay in float."""

from __future__ import annotations

import math

import onnx

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.schemes import LAYER_OPS

__all__ = ["decode_tail"]

# YOLOv8's DFL takes the expectation over 16 bins with a fixed 16→1 convolution: 16 weights.
_DECODE_WEIGHTS = 64


def decode_tail(model: onnx.ModelProto) -> set[str]:
    """Names of the nodes with no weighted node downstream that are not weighted themselves.

    Pixel coordinates and scores meet in such nodes; one scale for both costs all detections
    (CenterNet: F1 0). A weighted node is a Conv, ConvTranspose, Gemm or MatMul with more than 64
    constant weights, or one of two activations; smaller ones count as decode arithmetic, but only
    here: in front of a weighted node they are layers like any other.

    Args:
        model: A cleaned model; every node has a name.
    """
    index = GraphIndex(model.graph)
    real = {n.name for n in model.graph.node if _weighted(n, index)}
    before = index.reaches(real)
    return {n.name for n in model.graph.node} - before - real


def _weighted(node: onnx.NodeProto, index: GraphIndex) -> bool:
    """Whether ``node`` is a layer that carries the network's arithmetic."""
    if node.op_type not in LAYER_OPS:
        return False
    tensor = next((index.initializers[n] for n in node.input[:2] if n in index.initializers), None)
    return tensor is None or math.prod(tensor.dims) > _DECODE_WEIGHTS
