"""What an ONNX file asks for, and whether the builder's network and engine are that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper

from edgevision.converters.engine.order import Asked
from edgevision.converters.graph.index import GraphIndex, elem_types
from edgevision.converters.int8.schemes import LAYER_OPS
from edgevision.errors import BackendError

__all__ = ["asked_of", "check_built", "shortfalls"]

#: Element type → how TensorRT's inspector may write it.
_INSPECTED = {"int8": ("int8", "qint8"), "float16": ("half", "fp16", "float16")}


def asked_of(model: onnx.ModelProto) -> Asked:
    """Reads a variant's graph. What follows an operator that onnx does not know, such as a plugin, has no type."""
    types, index = elem_types(model), GraphIndex(model.graph)
    layers = [node for node in model.graph.node if node.op_type in LAYER_OPS]
    return Asked(
        # The builder drops an input that nothing reads.
        inputs={name: _type(types, name) for name in index.inputs if name in index.consumers},
        outputs={name: _type(types, name) for name in index.outputs},
        layers=dict(Counter(_type(types, n.output[0]) for n in layers if types.get(n.output[0]))),
        int8_layers=sum(_is_int8(node, index) for node in layers),
    )


def check_built(asked: Asked, built: Mapping[str, Any], variant_id: str) -> None:
    """Compares what was built with what was asked.

    Raises:
        BackendError: Something falls short; names all of it.
    """
    missing = shortfalls(asked, built)
    if missing:
        raise BackendError(
            f"the engine of {variant_id} is not what was asked for",
            received="; ".join(missing),
            expected="the inputs, outputs and precisions of the ONNX file",
            hint="do not deploy it: please report this with the model and TensorRT's version",
        )


def shortfalls(asked: Asked, built: Mapping[str, Any]) -> list[str]:
    """What of the asked is not in the built, one phrase each.

    1. Inputs and outputs have the names and types of the ONNX file, in the network, and in the engine where
       there is a GPU to open it on.
    2. As many layers read both sides from DequantizeLinear, and no fewer give each type. The parser may split
       a layer, and makes none wider: the network is strongly typed.
    3. Where the inspector reports an engine's layers, the types that were asked for occur in it.

    Args:
        asked: From `asked_of`.
        built: ``network`` {``inputs``, ``outputs``, ``layers``, ``int8_layers``}; ``engine``, likewise with
            ``inputs``, ``outputs`` and ``types``, or None where it could not be opened.
    """
    found = []
    for place in ("network", "engine"):
        part = built.get(place)
        if part is None:
            continue
        for way in ("inputs", "outputs"):
            found += _differences(place, way, getattr(asked, way), part[way])
    network, engine = built["network"], built.get("engine")
    if network["int8_layers"] < asked.int8_layers:
        found.append(f"{network['int8_layers']} of {asked.int8_layers} layers in int8")
    for kind, count in asked.layers.items():
        if network["layers"].get(kind, 0) < count:
            found.append(f"{network['layers'].get(kind, 0)} of {count} layers in {kind}")
    if engine is not None and engine["types"]:
        # A float16 layer that reads int8 on both sides may be fused with what quantizes its output: then nothing of
        # it is left in float16.
        floats = asked.layers.get("float16", 0) - asked.int8_layers
        wanted = {"int8": asked.int8_layers, "float16": max(floats, 0)}
        seen = {kind.lower() for kind in engine["types"]}
        found += [
            f"no layer of the engine in {kind}"
            for kind, count in wanted.items()
            if count and not seen & set(_INSPECTED[kind])
        ]
    return found


def _differences(
    place: str, way: str, asked: Mapping[str, str], built: Mapping[str, str]
) -> list[str]:
    return [
        f"{place}: {way[:-1]} {name!r} is {built.get(name, 'missing')}, and {kind} was asked for"
        for name, kind in asked.items()
        if built.get(name) != kind
    ]


def _is_int8(node: onnx.NodeProto, index: GraphIndex) -> bool:
    makers = [index.producers.get(name) for name in list(node.input)[:2]]
    return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _type(types: Mapping[str, int], name: str) -> str:
    kind = types.get(name, 0)
    return str(helper.tensor_dtype_to_np_dtype(kind)) if kind else "unknown"
