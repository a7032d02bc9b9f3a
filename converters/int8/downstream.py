"""The part of a graph behind some nodes, as a model of its own: to see what a change there does at the outputs.

It reads what crosses its edge from recorded frames, so nothing in front of it runs again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgevision.converters.graph.execute import Feed, open_session
from edgevision.converters.graph.index import GraphIndex, captured

__all__ = ["Downstream", "record"]

Array = NDArray[Any]


class Downstream:
    """Some nodes, and all that depends on them.

    Args:
        model: The whole graph; not changed.
        index: Its index.
        first: Names of the nodes.

    Attributes:
        edge: The tensors that cross into this part: what has to be fed to it.
        outputs: Those of the graph's outputs that are made here.
    """

    def __init__(self, model: onnx.ModelProto, index: GraphIndex, first: Iterable[str]) -> None:
        self._model = model
        inside = set(first)
        for node in model.graph.node:  # in an order in which it can be computed
            if any(_made_by(inside, name, index) for name in _read(node)):
                inside.add(node.name)
        self._nodes = [node for node in model.graph.node if node.name in inside]
        read = dict.fromkeys(name for node in self._nodes for name in _read(node))
        made = {name for node in self._nodes for name in node.output}
        known = {*index.producers, *index.inputs}  # what a body makes for itself is not
        self.edge = [name for name in read if name in known and name not in made]
        self.outputs = [name for name in index.outputs if name in made]

    def model(self, fed: Mapping[str, Array]) -> onnx.ModelProto:
        """A copy of this part alone.

        Args:
            fed: A recorded frame: it tells the types and shapes of what crosses the edge.
        """
        read = {name for node in self._nodes for name in _read(node)}
        graph = helper.make_graph(
            self._nodes,
            "downstream",
            [_value(name, fed[name]) for name in self.edge],
            [onnx.ValueInfoProto(name=name) for name in self.outputs],
            [t for t in self._model.graph.initializer if t.name in read],
        )
        part = helper.make_model(graph, opset_imports=self._model.opset_import)
        part.ir_version = self._model.ir_version
        part.functions.extend(self._model.functions)
        return part


def record(
    model: onnx.ModelProto, tensors: Collection[str], frames: Sequence[Feed]
) -> list[dict[str, Array]]:
    """What these tensors and all outputs hold on each frame; inputs are as they were fed."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    outputs = [value.name for value in model.graph.output]
    given = {value.name for value in model.graph.input}
    wanted = [name for name in dict.fromkeys(tensors) if name not in given and name not in outputs]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = open_session(exposed)
    names = [*outputs, *wanted]
    return [
        {**feed, **dict(zip(names, session.run(names, dict(feed)), strict=True))} for feed in frames
    ]


def _read(node: onnx.NodeProto) -> list[str]:
    return [name for name in (*node.input, *captured(node)) if name]


def _made_by(nodes: Collection[str], tensor: str, index: GraphIndex) -> bool:
    maker = index.producers.get(tensor)
    return maker is not None and maker.name in nodes


def _value(name: str, value: Array) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype)
    return helper.make_tensor_value_info(name, kind, list(np.shape(value)))
