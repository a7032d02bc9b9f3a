"""uint8 pictures become float16 before their pixels are moved: TensorRT takes uint8 into a Cast and no further."""

from __future__ import annotations

from collections.abc import Collection, MutableSequence

import onnx
from onnx import TensorProto, numpy_helper

from edgevision.converters.fp16.names import Names
from edgevision.converters.graph.index import GraphIndex, attribute, elem_types

__all__ = ["cast_pictures_first"]

#: What moves pixels and changes none.
_MOVES = frozenset({"Concat", "Gather", "Identity", "Pad", "Reshape", "Slice", "Transpose"})


def cast_pictures_first(model: onnx.ModelProto) -> list[str]:
    """Moves the Cast of a uint8 input in front of what moves its pixels.

    Exact: float16 holds every integer up to 2048. An input that anything else reads stays as it is.

    Args:
        model: Changed in place.

    Returns:
        Names of the nodes that move float16 now, and moved uint8 before.
    """
    moved: list[str] = []
    types = elem_types(model)
    for name in [value.name for value in model.graph.input]:
        if types.get(name) == TensorProto.UINT8:
            moved += _rewire(model, name)
    return moved


def _rewire(model: onnx.ModelProto, picture: str) -> list[str]:
    index = GraphIndex(model.graph)
    moves, exits = _behind(index, picture)
    halves = [node for node in exits if attribute(node, "to") == TensorProto.FLOAT16]
    casts = [node for node in halves if node.input[0] != picture]
    fine = all(node.op_type == "Cast" for node in exits) and _only(index, moves, picture)
    if not (moves and casts and fine):
        return []
    cast, nodes = casts[0], model.graph.node
    old, made = cast.output[0], cast.input[0]
    maker = index.producers[made]
    # The tensor that the Cast gave is now what the last move gives.
    for node in [*moves, *exits]:
        _rename(node.input, made, old)
    _rename(maker.output, made, old)
    first = Names(model.graph).fresh(f"{picture}/fp16")
    for node in index.consumers[picture]:
        _rename(node.input, picture, first)
    earlier = onnx.NodeProto.FromString(cast.SerializeToString())
    earlier.input[0], earlier.output[0] = picture, first
    nodes.remove(cast)
    nodes.insert(0, earlier)
    for node in moves:
        _half_constants(model, index, node)
    stale = {name for node in moves for name in node.output} | {old, made}
    kept = [value for value in model.graph.value_info if value.name not in stale]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    return [node.name for node in moves]


def _behind(index: GraphIndex, picture: str) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that move a picture's pixels, and those that read what the moves give."""
    moves: list[onnx.NodeProto] = []
    exits: list[onnx.NodeProto] = []
    todo = [picture]
    while todo:
        name = todo.pop()
        for node in index.consumers.get(name, []):
            if node.op_type in _MOVES and node.domain in ("", "ai.onnx"):
                if node not in moves:
                    moves.append(node)
                    todo += node.output
            elif node not in exits:
                exits.append(node)
    return moves, exits


def _only(index: GraphIndex, moves: Collection[onnx.NodeProto], picture: str) -> bool:
    """Whether nothing but the picture and constants goes into the moves, and none of it is an output."""
    known = {picture, *(name for node in moves for name in node.output)}
    read = {name for node in moves for name in node.input if not index.is_constant(name)}
    return read <= known and not known & set(index.outputs)


def _rename(names: MutableSequence[str], before: str, after: str) -> None:
    for position, name in enumerate(names):
        if name == before:
            names[position] = after


def _half_constants(model: onnx.ModelProto, index: GraphIndex, node: onnx.NodeProto) -> None:
    """What a move puts beside the pixels, such as a Pad's value, in float16."""
    for position, name in enumerate(node.input):
        tensor = index.initializers.get(name)
        if tensor is None or tensor.data_type != TensorProto.UINT8:
            continue
        half = Names(model.graph).fresh(f"{name}/fp16")
        value = numpy_helper.to_array(tensor).astype("float16")
        model.graph.initializer.append(numpy_helper.from_array(value, half))
        node.input[position] = half
