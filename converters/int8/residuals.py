"""The skip connections of a network, as far as an Add can be fused into the layer before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import onnx

from edgevision.converters.graph.index import GraphIndex

__all__ = ["residual_inputs"]


def residual_inputs(
    nodes: Iterable[onnx.NodeProto],
    index: GraphIndex,
    layers: Collection[str],
    scaled: Collection[str],
) -> dict[str, str]:
    """Each Add that TensorRT can fuse into an INT8 layer → its other input.

    That input decides what the fused layer gives: with a float one it cannot give INT8, so it has to
    stand behind QuantizeLinear and DequantizeLinear. Where both branches end in a layer, the Add
    joins the later one. Source: NVIDIA, "Working with Quantized Types", Q/DQ Layer-Placement
    Recommendations, on skip connections.

    Args:
        nodes: Those to look at, in graph order.
        index: Of their graph.
        layers: Names of the INT8 layers.
        scaled: Tensors with a scale of their own: what gives them gives INT8 already, and fuses no Add.
    """
    places = {node.name: place for place, node in enumerate(index.graph.node)}
    found: dict[str, str] = {}
    for node in nodes:
        branches = index.activations(node) if node.op_type == "Add" else []
        if len(branches) != 2:
            continue
        ends = [
            (places[index.producers[name].name], name)
            for name in branches
            if _ends_in_layer(name, index, layers) and name not in scaled
        ]
        if ends:
            _, fused = max(ends)
            found[node.name] = next(name for name in branches if name != fused)
    return found


def _ends_in_layer(tensor: str, index: GraphIndex, layers: Collection[str]) -> bool:
    """Whether a layer gives the tensor, and nothing but the Add reads it."""
    maker = index.producers.get(tensor)
    alone = len(index.consumers[tensor]) == 1 and tensor not in index.outputs
    return maker is not None and maker.name in layers and alone
