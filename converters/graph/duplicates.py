"""What is computed or stored twice is computed and stored once."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from edgevision.converters.graph.editing import Replacement, Wiring
from edgevision.converters.graph.index import RANDOM, bodies, captured, nodes_in
from edgevision.converters.graph.passes import Pass
from edgevision.text import counted

__all__ = ["SHARED_CONSTANTS", "SHARED_NODES"]


class _SharedConstants(Pass):
    """Constants of the same type, shape and value become one."""

    name = "equal constants"

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """Fewer than two constants that may be touched."""
        return None if len(_sharable(model)) > 1 else "fewer than two constants"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Keep the first of each kind."""
        first: dict[object, str] = {}
        other = {}
        for tensor in _sharable(model):
            kept = first.setdefault(_value(tensor), tensor.name)
            if kept != tensor.name:
                other[tensor.name] = kept
        for node in nodes_in(model.graph):
            for position, name in enumerate(node.input):
                node.input[position] = other.get(name, name)
        for position in reversed(range(len(model.graph.initializer))):
            if model.graph.initializer[position].name in other:
                del model.graph.initializer[position]
        stored = f"stored {counted(len(other), 'constant')} once that were there twice"
        return model, [stored] if other else []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """No two are alike any more."""
        values = [_value(t) for t in _sharable(model)]
        return None if len(set(values)) == len(values) else "equal constants are left"


class _SharedNodes(Pass):
    """Nodes of the same operator, attributes and inputs become one."""

    name = "equal nodes"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Sweeps in graph order: what reads the kept node may then be equal too.

        A kept node may take over the name of an output. What read it before was looked at under the old
        name, so there are sweeps until one finds nothing.
        """
        total = 0
        while found := _shared_in_a_sweep(model):
            total += found
        computed = f"computed {counted(total, 'node')} once that were there twice"
        return model, [computed] if total else []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """No two are alike any more, but for those that give outputs of the graph or of a body."""
        fixed = {v.name for v in model.graph.output} | _read_in_bodies(model.graph)
        inner = [n for n in model.graph.node if _repeatable(n) and not fixed & {*n.output}]
        works = [_work(n) for n in inner]
        return None if len(set(works)) == len(works) else "equal nodes are left"


def _shared_in_a_sweep(model: onnx.ModelProto) -> int:
    """How many nodes went; those that a body reads can neither go nor take another's place."""
    wiring = Wiring(model)
    fixed = _read_in_bodies(model.graph)
    first: dict[object, onnx.NodeProto] = {}
    count = 0
    for node in wiring.nodes:
        if not _repeatable(node) or fixed.intersection(node.output):
            continue
        kept = first.setdefault(_work(node), node)
        pairs = [(a, b) for a, b in zip(node.output, kept.output, strict=True) if a]
        if kept is not node and all(wiring.can_alias(old, new) for old, new in pairs):
            wiring.apply(Replacement([node], aliases=dict(pairs)))
            count += 1
    if count:
        wiring.write_back()
    return count


def _read_in_bodies(graph: onnx.GraphProto) -> set[str]:
    return {name for node in graph.node for name in captured(node)}


def _sharable(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Constants that are neither outputs nor inputs by name."""
    fixed = {v.name for v in [*model.graph.output, *model.graph.input]}
    return [t for t in model.graph.initializer if t.name not in fixed]


def _value(tensor: onnx.TensorProto) -> object:
    if tensor.data_type == onnx.TensorProto.STRING:
        return tensor.name
    return tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes()


def _repeatable(node: onnx.NodeProto) -> bool:
    return node.op_type not in RANDOM and node.domain in ("", "ai.onnx") and not bodies(node)


def _work(node: onnx.NodeProto) -> object:
    """What a node computes."""
    attributes = sorted(a.SerializeToString(deterministic=True) for a in node.attribute)
    outputs = tuple(bool(name) for name in node.output)
    return node.op_type, tuple(node.input), outputs, tuple(attributes)


SHARED_CONSTANTS = _SharedConstants()
SHARED_NODES = _SharedNodes()
