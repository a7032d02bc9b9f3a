"""Keep onnxruntime from quantizing the layers of an INT8 graph that were to stay float.

Its optimizer WeightBiasQuantization quantizes the weights of every float Conv, ConvTranspose and Gemm
that has DequantizeLinear in front and QuantizeLinear behind: with one scale for all channels, to
nearest. 25 dB became 7 dB on one layer of EfficientNet. It looks through Relu and Clip, other
optimizers have moved both ends over nodes that only move data before, have folded the arithmetic with
constants between them, and have made Gemm of MatMul and Add. A Max with the lowest float behind the
layer changes nothing, and no optimizer looks through it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.schemes import LAYER_OPS

__all__ = ["exposed_layers", "put_shields", "without_shields"]

_SUFFIX = "/shield"
_LOWEST = "shield/lowest"


def exposed_layers(
    model: onnx.ModelProto, scaled: Collection[str], int8: Collection[str]
) -> set[str]:
    """Names of the float layers that onnxruntime might quantize.

    These are the ones with constant weights that read a tensor with a scale and are read as one. On
    the way there may be nodes with one varying input each, more than any optimizer takes away.

    Args:
        model: The graph without scales.
        scaled: Tensors that will have QuantizeLinear and DequantizeLinear.
        int8: Names of the layers that will be INT8.
    """
    index = GraphIndex(model.graph)
    floats = [n for n in model.graph.node if n.op_type in LAYER_OPS and n.name not in int8]
    return {
        node.name
        for node in floats
        if index.is_constant(node.input[1])
        and _reads_scaled(node.input[0], index, scaled)
        and _read_scaled(node.output[0], index, scaled)
    }


def put_shields(model: onnx.ModelProto, layers: Collection[str]) -> None:
    """Put a Max behind the layers named, in place."""
    graph = model.graph
    nodes = list(graph.node)
    for place, node in reversed(list(enumerate(nodes))):
        if node.name in layers:
            shielded = node.output[0]
            node.output[0] = f"{shielded}/unshielded"
            inputs = [node.output[0], _LOWEST]
            shield = helper.make_node("Max", inputs, [shielded], name=node.name + _SUFFIX)
            nodes.insert(place + 1, shield)
    if len(nodes) == len(graph.node):
        return
    del graph.node[:]
    graph.node.extend(nodes)
    lowest = np.array(np.finfo(np.float32).min, np.float32)
    graph.initializer.append(numpy_helper.from_array(lowest, _LOWEST))


def without_shields(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without them, for runtimes that compute a graph as it is written."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    shields = {n.input[0]: n.output[0] for n in graph.node if n.name.endswith(_SUFFIX)}
    kept = [n for n in graph.node if not n.name.endswith(_SUFFIX)]
    for node in kept:
        node.output[:] = [shields.get(name, name) for name in node.output]
    constants = [t for t in graph.initializer if t.name != _LOWEST]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)
    return result


def _reads_scaled(tensor: str, index: GraphIndex, scaled: Collection[str]) -> bool:
    while tensor not in scaled:
        maker = index.producers.get(tensor)
        varying = [] if maker is None or maker.op_type in LAYER_OPS else index.activations(maker)
        if len(varying) != 1:
            return False
        tensor = varying[0]
    return True


def _read_scaled(tensor: str, index: GraphIndex, scaled: Collection[str]) -> bool:
    stack = [tensor]
    while stack:
        name = stack.pop()
        if name in scaled:
            return True
        for reader in index.consumers.get(name, []):
            if reader.op_type not in LAYER_OPS and len(index.activations(reader)) == 1:
                stack += reader.output
    return False
