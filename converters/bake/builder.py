"""Adds nodes and constants to a graph under names that are free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.converters.graph.index import nodes_in, opset_of

__all__ = ["Builder", "replace_nodes"]

#: The first opset whose ReduceMax and ReduceMin take their axes as an input.
_AXES_ARE_INPUTS = 18


class Builder:
    """Collects new nodes; the constants go to the graph at once.

    Attributes:
        nodes: What was added, in order; the caller puts them where they belong.
    """

    def __init__(self, model: onnx.ModelProto, prefix: str) -> None:
        """Args: the model that the nodes are for, and what their names begin with."""
        graph = self._graph = model.graph
        self._prefix, self._opset = prefix, opset_of(model)
        self._taken = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for node in nodes_in(graph):
            self._taken.update([node.name, *node.input, *node.output])
        self.nodes: list[onnx.NodeProto] = []

    def constant(self, array: NDArray[Any] | np.generic, name: str) -> str:
        """A constant of that value; returns its name."""
        free = self.name(name)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(array), free))
        return free

    def whole(self, values: int | Sequence[int], name: str) -> str:
        """An int64 constant."""
        return self.constant(np.array(values, np.int64), name)

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """A node with one output; returns the name of that."""
        return self.several(op, inputs, [name], **attributes)[0]

    def several(
        self, op: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any
    ) -> list[str]:
        """A node with several outputs."""
        outputs = [self.name(name) for name in names]
        self.nodes.append(
            helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes)
        )
        return outputs

    def slice(self, tensor: str, axis: int, start: int, stop: int, name: str) -> str:
        """A part of a tensor along one axis."""
        bounds = [self.whole([value], "bound") for value in (start, stop, axis)]
        return self.add("Slice", [tensor, *bounds], name)

    def reduce(self, what: str, tensor: str, axis: int, name: str) -> str:
        """``Max`` or ``Min`` along one axis, which goes away."""
        if self._opset < _AXES_ARE_INPUTS:
            return self.add(f"Reduce{what}", [tensor], name, axes=[axis], keepdims=0)
        axes = self.whole([axis], "axes")
        return self.add(f"Reduce{what}", [tensor, axes], name, keepdims=0)

    def name(self, name: str) -> str:
        """The prefix and ``name``, with something behind it where that is taken."""
        free = f"{self._prefix}/{name}"
        while free in self._taken:
            free += "_"
        self._taken.add(free)
        return free


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Makes ``nodes`` the graph's; some of them may be its own."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
