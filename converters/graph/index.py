"""Read-only questions about an ONNX graph: who makes a tensor, who reads it, what is constant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = [
    "RANDOM",
    "GraphIndex",
    "attribute",
    "bodies",
    "captured",
    "domains",
    "elem_types",
    "inferred_shapes",
    "known_shapes",
    "nodes_in",
    "opset_of",
    "shape_of",
]

Array = NDArray[Any]

#: Operators that give something else each time; Dropout only where it trains.
RANDOM = frozenset(
    {
        "Bernoulli", "Dropout", "Multinomial",
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    }
)  # fmt: skip


class GraphIndex:
    """One graph's wiring, read once; stale as soon as the graph is changed.

    Attributes:
        graph: The graph itself, not a copy.
        producers: Tensor name → the node that computes it.
        consumers: Tensor name → the nodes that read it, in graph order, each once.
        initializers: Name → constant.
        outputs: Names of the graph's outputs, in order.
        inputs: Names of the graph's inputs without initializers, in order.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.producers: dict[str, onnx.NodeProto] = {}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        self.initializers = {t.name: t for t in graph.initializer}
        self.outputs = [v.name for v in graph.output]
        self.inputs = [v.name for v in graph.input if v.name not in self.initializers]
        for node in graph.node:
            for name in node.output:
                if name:
                    self.producers[name] = node
            for name in dict.fromkeys([*node.input, *captured(node)]):
                if name:
                    self.consumers.setdefault(name, []).append(node)

    def array(self, name: str) -> Array | None:
        """The constant called ``name``, or None where it is computed or fed."""
        tensor = self.initializers.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def is_constant(self, name: str) -> bool:
        """Whether ``name`` is an initializer (absent optional inputs count as constant)."""
        return not name or name in self.initializers

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of ``node`` that change from frame to frame, in order, each once."""
        return [n for n in dict.fromkeys(node.input) if not self.is_constant(n)]

    def readers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that read any output of ``node``."""
        return [c for name in node.output for c in self.consumers.get(name, [])]

    def upstream_of(self, names: Iterable[str]) -> set[str]:
        """Names of all nodes on some path into the tensors ``names``."""
        seen: set[str] = set()
        stack = list(names)
        while stack:
            node = self.producers.get(stack.pop())
            if node is not None and node.name not in seen:
                seen.add(node.name)
                stack.extend([*node.input, *captured(node)])
        return seen

    def reaches(self, targets: Iterable[str]) -> set[str]:
        """Names of the nodes from which some node named in ``targets`` can be reached.

        The targets themselves are not in the answer unless another target lies behind them.
        """
        wanted = set(targets)
        names = [i for node in self.graph.node if node.name in wanted for i in [*node.input]]
        return self.upstream_of(names)


def bodies(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside If, Loop and Scan; none for other nodes."""
    return [g for a in node.attribute for g in ([a.g] if a.HasField("g") else []) + list(a.graphs)]


def captured(node: onnx.NodeProto) -> list[str]:
    """Names that the bodies of If, Loop and Scan may read from the graph around them."""
    names: list[str] = []
    for body in bodies(node):
        for inner in body.node:
            names += [*inner.input, *captured(inner)]
        names += [o.name for o in body.output]
    return names


def nodes_in(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph, each followed by those in its If, Loop and Scan bodies."""
    for node in graph.node:
        yield node
        for body in bodies(node):
            yield from nodes_in(body)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the ``ai.onnx`` operators; 1 where the model does not say."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)


def domains(model: onnx.ModelProto) -> set[str]:
    """Operator domains that a model uses, in bodies and functions too; ``""`` is ai.onnx."""
    inside = [n for function in model.functions for n in function.node]
    deeper = [n for node in inside for body in bodies(node) for n in nodes_in(body)]
    nodes = [*nodes_in(model.graph), *inside, *deeper]
    used = {item.domain for item in [*nodes, *model.functions]}
    return {"" if domain == "ai.onnx" else domain for domain in used}


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of one attribute, text decoded, or ``default``."""
    for item in node.attribute:
        if item.name == name:
            value = helper.get_attribute_value(item)
            return value.decode() if isinstance(value, bytes) else value
    return default


def shape_of(value: onnx.ValueInfoProto) -> list[int | str] | None:
    """The dims of a tensor: int where fixed, str where symbolic ("" unnamed), None if unknown."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]


def inferred_shapes(model: onnx.ModelProto) -> dict[str, list[int | str] | None]:
    """Tensor name → its dims by shape inference, as `shape_of` has them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    return {v.name: shape_of(v) for v in [*graph.input, *graph.value_info, *graph.output]}


def known_shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The same, where an open dim counts as 1 and an unknown shape has none."""
    return {
        name: [d if isinstance(d, int) else 1 for d in shape or []]
        for name, shape in inferred_shapes(model).items()
    }


def elem_types(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name → ``TensorProto`` element type, by shape inference, where it is known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {v.name: v.type.tensor_type.elem_type for v in values}
    types.update({t.name: t.data_type for t in graph.initializer})
    return types
