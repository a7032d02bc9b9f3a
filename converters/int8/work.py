"""What a layer costs to run: its multiply-adds, the only figure that holds on every processor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx

from edgevision.converters.graph.index import GraphIndex, attribute, known_shapes
from edgevision.converters.int8.layer import Layer

__all__ = ["int8_share", "multiply_adds"]


def multiply_adds(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, float]:
    """Layer → multiply-adds of one run, as far as shapes are known; an open dim counts as 1."""
    index, shapes = GraphIndex(model.graph), known_shapes(model)
    nodes = {node.name: node for node in model.graph.node}
    return {layer.node: _of_layer(nodes[layer.node], layer, index, shapes) for layer in layers}


def int8_share(work: Mapping[str, float], floats: Sequence[str]) -> float:
    """The share of all multiply-adds of ``work`` that runs in INT8 when ``floats`` do not, 0…1."""
    total = sum(work.values())
    return 1.0 - sum(work.get(name, 0.0) for name in floats) / total if total else 1.0


def _of_layer(
    node: onnx.NodeProto, layer: Layer, index: GraphIndex, shapes: Mapping[str, Sequence[int]]
) -> float:
    weights = math.prod(index.initializers[layer.weights].dims)
    if layer.op == "ConvTranspose":  # every input value meets all weights of its channel
        given = shapes.get(layer.data, [])
        return float(weights * math.prod(given[2:]) * (given[0] if given else 1))
    made = shapes.get(node.output[0], [])
    if layer.op == "Conv":
        return float(weights * math.prod(made[2:]) * (made[0] if made else 1))
    rows = math.prod(made[:-1])
    return float(weights * max(1, rows // max(1, attribute(node, "group", 1))))
