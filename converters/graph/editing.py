"""A graph that can be changed while its wiring stays known."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.converters.graph.index import captured, shape_of

__all__ = ["Replacement", "Wiring", "light_inference", "node_with"]

Array = NDArray[Any]
Dims = list[int | str]

# Larger constants are weights: no shape follows from their values.
_LARGEST_SHAPE = 1024


@dataclass(frozen=True)
class Replacement:
    """A local change of a graph.

    Attributes:
        remove: Nodes to take out.
        insert: Nodes to put in; the order of the graph is put right afterwards.
        constants: New constants by name.
        aliases: Tensor → the tensor that its readers shall read from now on.
    """

    remove: Sequence[onnx.NodeProto] = ()
    insert: Sequence[onnx.NodeProto] = ()
    constants: Mapping[str, Array] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


class Wiring:
    """The main graph of a model, taken apart; `write_back` puts it together again.

    Bodies of If, Loop and Scan are left alone. Tensors that they read have readers, and cannot be
    renamed.

    Attributes:
        nodes: Copies of the model's nodes. Rules must not change them.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        known = light_inference(model).graph
        values = [*known.input, *known.value_info, *known.output]
        self._shapes = {v.name: shape_of(v) for v in values}
        self._types = {v.name: v.type.tensor_type.elem_type for v in values}
        self.nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
        self.outputs = {v.name for v in model.graph.output}
        self._inputs = {v.name for v in model.graph.input}
        self._constants = {t.name: t for t in model.graph.initializer}
        self._makers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        self._captured: set[str] = set()
        for node in self.nodes:
            self._note(node)
        self._taken = {*self._makers, *self._readers, *self._inputs, *self._constants}
        self._gone: set[int] = set()

    def maker(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor; None for inputs and constants."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, each once."""
        return self._readers.get(name, [])

    def private(self, name: str) -> bool:
        """Whether exactly one node reads the tensor, and nobody outside the graph does."""
        return len(self.readers(name)) == 1 and name not in self.outputs

    def inner(self, name: str, *operators: str) -> onnx.NodeProto | None:
        """The node behind a private tensor, if it is one of ``operators`` with one output."""
        node = self._makers.get(name)
        if node is None or node.op_type not in operators or not self.private(name):
            return None
        return node if len([o for o in node.output if o]) == 1 else None

    def array(self, name: str) -> Array | None:
        """The value of a constant; None where the tensor is computed or fed."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def number(self, name: str) -> float | None:
        """The value of a constant of one element."""
        tensor = self._constants.get(name)
        if tensor is None or int(np.prod(tensor.dims)) != 1:
            return None
        return float(numpy_helper.to_array(tensor).reshape(-1)[0])

    def shape(self, name: str) -> Dims | None:
        """Dims of a tensor: an int, or text that is "" where nothing is known; None without rank."""
        tensor = self._constants.get(name)
        return [*tensor.dims] if tensor is not None else self._shapes.get(name)

    def rank(self, name: str) -> int:
        """How many dims a tensor has; 0 where that is not known."""
        return len(self.shape(name) or [])

    def element(self, name: str) -> int:
        """``TensorProto`` element type; UNDEFINED (0) where it is not known."""
        tensor = self._constants.get(name)
        return int(tensor.data_type if tensor is not None else self._types.get(name, 0))

    def same_shape(self, one: str, other: str) -> bool:
        """Whether two tensors are known to have the same dims, open ones included."""
        left, right = self.shape(one), self.shape(other)
        return left is not None and left == right and "" not in left

    def fresh(self, name: str) -> str:
        """``name``, or something like it that no tensor is called yet."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def can_alias(self, old: str, new: str) -> bool:
        """Whether everybody who reads ``old`` could read ``new`` instead."""
        if old in self._captured or new in self._captured:
            return False
        if old not in self.outputs:
            return True
        return new in self._makers and new not in self.outputs

    def holds(self, nodes: Sequence[onnx.NodeProto]) -> bool:
        """Whether all these nodes are still there."""
        return all(id(n) not in self._gone for n in nodes)

    def apply(self, found: Replacement) -> None:
        """Make one change."""
        for node in found.remove:
            self._forget(node)
        for name, value in found.constants.items():
            self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        for node in found.insert:
            self.nodes.append(node)
            self._note(node)
        for old, new in found.aliases.items():
            self._rename(old, new)

    def write_back(self) -> None:
        """Put nodes, in an order in which each can run, and constants into the model."""
        graph = self._model.graph
        old = {t.name for t in graph.initializer}
        ordered = self._sorted()
        del graph.node[:]
        graph.node.extend(ordered)
        graph.initializer.extend(t for name, t in self._constants.items() if name not in old)

    def _note(self, node: onnx.NodeProto) -> None:
        inside = captured(node)
        self._captured.update(inside)
        for name in node.output:
            if name:
                self._makers[name] = node
        for name in dict.fromkeys([*node.input, *inside]):
            if name:
                self._readers.setdefault(name, []).append(node)

    def _forget(self, node: onnx.NodeProto) -> None:
        self._gone.add(id(node))
        for name in node.output:
            if name and self._makers.get(name) is node:
                del self._makers[name]
        for name in dict.fromkeys([*node.input, *captured(node)]):
            if name:
                self._readers[name] = [n for n in self._readers[name] if n is not node]

    def _rename(self, old: str, new: str) -> None:
        if old in self.outputs:  # the output keeps its name, whoever makes it
            maker = self._makers.pop(new)
            for position, name in enumerate(maker.output):
                maker.output[position] = old if name == new else name
            self._makers[old] = maker
            old, new = new, old
        for node in self._readers.pop(old, []):
            for position, name in enumerate(node.input):
                node.input[position] = new if name == old else name
            if not any(n is node for n in self._readers.setdefault(new, [])):
                self._readers[new].append(node)

    def _sorted(self) -> list[onnx.NodeProto]:
        """Every node behind those that it reads from; otherwise in the order that they had."""
        nodes = [n for n in self.nodes if id(n) not in self._gone]
        place = {name: i for i, n in enumerate(nodes) for name in n.output if name}
        before = [{place[i] for i in [*n.input, *captured(n)] if i in place} for n in nodes]
        behind: list[list[int]] = [[] for _ in nodes]
        for position, needed in enumerate(before):
            for other in needed:
                behind[other].append(position)
        ready = [i for i, needed in enumerate(before) if not needed]
        waiting = [len(needed) for needed in before]
        ordered = []
        while ready:
            position = heapq.heappop(ready)
            ordered.append(nodes[position])
            for other in behind[position]:
                waiting[other] -= 1
                if not waiting[other]:
                    heapq.heappush(ready, other)
        if len(ordered) < len(nodes):
            raise ValueError("the rewritten graph has a loop")
        return ordered


def light_inference(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its weights and with all shapes that can be inferred.

    Weights become inputs of the same type and shape: what is inferred does not depend on their
    values, and copying them is what takes the time.
    """
    light = onnx.ModelProto()
    light.ir_version = max(4, model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = "shapes"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    listed = {v.name for v in model.graph.input}
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=np.int64) <= _LARGEST_SHAPE:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return onnx.shape_inference.infer_shapes(light, data_prop=True)


def node_with(node: onnx.NodeProto, **changed: Any) -> onnx.NodeProto:
    """A copy of a node: ``inputs``, ``outputs`` and ``name`` replaced, other keywords as attributes.

    An attribute that is None is dropped.
    """
    copy: onnx.NodeProto = onnx.NodeProto.FromString(node.SerializeToString())
    for key, values in (("inputs", copy.input), ("outputs", copy.output)):
        if key in changed:
            fresh = changed.pop(key)
            del values[:]
            values.extend(fresh)
    copy.name = changed.pop("name", copy.name)
    kept = [a for a in node.attribute if a.name not in changed]
    kept += [helper.make_attribute(k, v) for k, v in changed.items() if v is not None]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    return copy
