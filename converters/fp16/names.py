"""Names for tensors that are put into a graph: none that it, or a body of If, Loop or Scan in it, has already."""

from __future__ import annotations

import onnx

from edgevision.converters.graph.index import nodes_in

__all__ = ["Names"]


class Names:
    """The names that are taken in a graph, bodies included: ONNX lets no body use one again."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._taken = {value.name for value in (*graph.input, *graph.initializer)}
        for node in nodes_in(graph):
            self._taken.update(node.output)
            for item in node.attribute:
                for body in (item.g, *item.graphs):
                    self._taken.update(value.name for value in (*body.input, *body.initializer))

    def fresh(self, name: str) -> str:
        """``name``, or something like it that nothing was called yet; it is taken from now on."""
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
