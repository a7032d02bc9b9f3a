"""Decide which nodes of a graph compute in INT8 and which tensors carry a scale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import onnx
from onnx import TensorProto

from edgevision.converters.graph import GraphIndex, attribute, elem_types
from edgevision.converters.quant_schemes import Scheme
from edgevision.converters.tail import decode_tail, weighted

__all__ = ["Layer", "Plan", "make_plan"]


# They move or pick values: input and output share one scale, so the integers pass untouched.
_PASSING = frozenset(
    {
        "MaxPool",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Resize",
        "DepthToSpace",
        "SpaceToDepth",
    }
)


@dataclass(frozen=True)
class Layer:
    """One node with constant weights that will compute in INT8.

    Attributes:
        node: Its name.
        op: Its operator.
        data: The activation that it reads.
        weights: Name of its constant weights.
        bias: Name of its constant bias, or "".
        axis: The axis of the weights that counts output channels.
        groups: Convolution groups.
    """

    node: str
    op: str
    data: str
    weights: str
    bias: str
    axis: int
    groups: int


@dataclass
class Plan:
    """What becomes INT8.

    Attributes:
        scheme: The kernels it is made for.
        layers: Nodes with weights, in graph order.
        others: Names of INT8 nodes without weights.
        tensors: Tensors that get QuantizeLinear and DequantizeLinear, in graph order.
        shared: Sets of such tensors with one scale, as pairs to be joined.
        concats: Inputs and output of each INT8 Concat.
        absorbed: Relu and Clip nodes to be dropped: name → (low, high) that they clip to.
        kept_float: Name → reason, for nodes with weights and for INT8-able ones left out.
    """

    scheme: Scheme
    layers: list[Layer] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    tensors: list[str] = field(default_factory=list)
    shared: list[tuple[str, str]] = field(default_factory=list)
    concats: list[list[str]] = field(default_factory=list)
    absorbed: dict[str, tuple[float, float]] = field(default_factory=dict)
    kept_float: dict[str, str] = field(default_factory=dict)


def make_plan(model: onnx.ModelProto, scheme: Scheme, *, exclude: Collection[str] = ()) -> Plan:
    """Plan the INT8 part of a cleaned model.

    Args:
        model: Cleaned; every node has a name.
        scheme: The kernels to plan for.
        exclude: Names of nodes that must stay float.
    """
    return _Planner(model, scheme, exclude).plan()


class _Planner:
    def __init__(self, model: onnx.ModelProto, scheme: Scheme, exclude: Collection[str]) -> None:
        self.index = GraphIndex(model.graph)
        self.nodes = list(model.graph.node)
        self.scheme = scheme
        self.exclude = set(exclude)
        self.tail = decode_tail(model)
        self.types = elem_types(model)
        self.result = Plan(scheme)
        self.layers: dict[str, Layer] = {}
        self.chosen: set[str] = set()
        self.activation: dict[str, onnx.NodeProto] = {}

    def plan(self) -> Plan:
        for node in self.nodes:
            self._consider(node)
        if self.scheme.absorbs:
            self._find_activations()
        self._drop_islands()
        return self._write_down()

    def _consider(self, node: onnx.NodeProto) -> None:
        """Choose ``node`` if it may be INT8, or note why it may not."""
        reason = self._obstacle(node)
        if reason is None:
            self.chosen.add(node.name)
        elif reason:
            self.result.kept_float[node.name] = reason

    def _obstacle(self, node: onnx.NodeProto) -> str | None:
        """None if INT8 is possible, "" if it is not worth a word, else the reason."""
        heavy = weighted(node, self.index)
        eligible = heavy or node.op_type in self.scheme.arithmetic or node.op_type in _PASSING
        if not eligible:
            return ""
        if node.name in self.exclude:
            return "excluded on request"
        if node.name in self.tail:
            return "decode tail" if heavy or node.op_type in self.scheme.arithmetic else ""
        if self.types.get(node.output[0]) != TensorProto.FLOAT:
            return ""
        if heavy:
            return self._layer_obstacle(node)
        return self._other_obstacle(node)

    def _layer_obstacle(self, node: onnx.NodeProto) -> str | None:
        if node.op_type not in self.scheme.layers:
            return f"no INT8 kernel for {node.op_type} in scheme {self.scheme.name}"
        layer = _layer(node, self.index)
        if isinstance(layer, str):
            return layer
        self.layers[node.name] = layer
        return None

    def _other_obstacle(self, node: onnx.NodeProto) -> str | None:
        data = self.index.activations(node)
        if any(self.types.get(name) != TensorProto.FLOAT for name in data):
            return ""
        if node.op_type == "Resize" and attribute(node, "mode", "nearest") == "cubic":
            return "cubic Resize overshoots its input's range"
        if node.op_type == "MaxPool" and len([o for o in node.output if o]) > 1:
            return "MaxPool that also gives indices"
        return None

    def _find_activations(self) -> None:
        """Relu and Clip that only one INT8 node feeds, and that clip to a range with zero."""
        for node in self.nodes:
            bounds = _bounds(node, self.index)
            if bounds is None or node.name in self.tail or node.name in self.exclude:
                continue
            maker = self.index.producers.get(node.input[0])
            if maker is None or maker.name not in self.chosen or maker.op_type in _PASSING:
                continue
            if len(self.index.consumers[node.input[0]]) > 1:
                continue
            if node.input[0] in self.index.outputs:
                continue
            self.activation[maker.name] = node
            self.result.absorbed[node.name] = bounds

    def _drop_islands(self) -> None:
        """Leave nodes without weights in float where INT8 would only add conversions."""
        changed = True
        while changed:
            changed = False
            for node in self.nodes:
                if node.name not in self.chosen or node.name in self.layers:
                    continue
                if not (self._fed_by_int8(node) and self._read_by_int8(node)):
                    self.chosen.discard(node.name)
                    changed = True

    def _fed_by_int8(self, node: onnx.NodeProto) -> bool:
        data = self.index.activations(node)
        return bool(data) and all(self._is_int8(name) for name in data)

    def _is_int8(self, tensor: str) -> bool:
        maker = self._maker(tensor)
        if maker is not None and maker.name in self.chosen:
            return self._gives_int8(maker)
        return any(n.name in self.layers for n in self.index.consumers.get(tensor, []))

    def _gives_int8(self, node: onnx.NodeProto) -> bool:
        if node.name in self.layers and node.op_type in self.scheme.float_output:
            return self.scheme.name == "trt" or self._read_by_int8(node)
        return True

    def _maker(self, tensor: str) -> onnx.NodeProto | None:
        """The INT8 node behind a tensor, looking through an absorbed activation."""
        maker = self.index.producers.get(tensor)
        if maker is not None and maker.name in self.result.absorbed:
            return self.index.producers.get(maker.input[0])
        return maker

    def _outputs(self, node: onnx.NodeProto) -> list[str]:
        behind = self.activation.get(node.name)
        return [o for o in (behind or node).output if o]

    def _read_by_int8(self, node: onnx.NodeProto) -> bool:
        return any(
            reader.name in self.chosen
            for name in self._outputs(node)
            for reader in self.index.consumers.get(name, [])
        )

    def _write_down(self) -> Plan:
        plan = self.result
        plan.layers = [self.layers[n.name] for n in self.nodes if n.name in self.layers]
        plan.others = self.chosen - set(self.layers)
        kept = {self.activation[name].name for name in self.chosen if name in self.activation}
        plan.absorbed = {n: b for n, b in plan.absorbed.items() if n in kept}
        wanted: dict[str, None] = {}
        for node in self.nodes:
            if node.name in self.chosen:
                self._note_tensors(node, wanted)
            elif node.name not in plan.kept_float and weighted(node, self.index):
                plan.kept_float[node.name] = "not float32"
        plan.tensors = list(wanted)
        return plan

    def _note_tensors(self, node: onnx.NodeProto, wanted: dict[str, None]) -> None:
        data = (
            [self.layers[node.name].data]
            if node.name in self.layers
            else self.index.activations(node)
        )
        wanted.update(dict.fromkeys(data))
        outputs = self._outputs(node)
        if self._needs_output(node):
            wanted.update(dict.fromkeys(outputs))
        if node.op_type in _PASSING:
            self.result.shared += [(data[0], name) for name in outputs]
        if node.op_type == "Concat":
            self.result.concats.append([*data, *outputs])

    def _needs_output(self, node: onnx.NodeProto) -> bool:
        if self.activation.get(node.name) is not None:
            return True  # the quantizer is what clips
        # Of a layer that can give float, a reader that wants INT8 asks itself.
        return not (node.name in self.layers and node.op_type in self.scheme.float_output)


def _layer(node: onnx.NodeProto, index: GraphIndex) -> Layer | str:
    """The node as a layer, or why it cannot be one."""
    weights = index.initializers.get(node.input[1])
    bias = node.input[2] if len(node.input) > 2 else ""
    if weights is None or index.is_constant(node.input[0]):
        return "its weights are not constant"
    if weights.data_type != TensorProto.FLOAT:
        return "its weights are not float32"
    if bias and bias not in index.initializers:
        return "its bias is not constant"
    axis, groups, rank = 0, 1, len(weights.dims)
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = attribute(node, "group", 1)
        axis = 0 if node.op_type == "Conv" else 1
        if node.op_type == "ConvTranspose" and groups != 1:
            return "grouped ConvTranspose has no per-channel axis"
    elif rank != 2:
        return f"its weights have {rank} dims"
    elif node.op_type == "Gemm":
        if attribute(node, "transA", 0) or attribute(node, "alpha", 1.0) != 1.0:
            return "Gemm with transA or alpha"
        if bias and attribute(node, "beta", 1.0) != 1.0:
            return "Gemm with beta"
        axis = 0 if attribute(node, "transB", 0) else 1
        if bias and list(index.initializers[bias].dims) != [weights.dims[axis]]:
            return "Gemm with a bias that is not one value per output"
    else:
        axis = 1
    return Layer(node.name, node.op_type, node.input[0], node.input[1], bias, axis, groups)


def _bounds(node: onnx.NodeProto, index: GraphIndex) -> tuple[float, float] | None:
    """What a Relu or Clip clips to, if constant and with zero inside."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    bounds = [float("-inf"), float("inf")]
    for position in (1, 2):
        if len(node.input) > position and node.input[position]:
            value = index.array(node.input[position])
            if value is None:
                return None
            bounds[position - 1] = float(value.reshape(-1)[0])
    return (bounds[0], bounds[1]) if bounds[0] <= 0.0 <= bounds[1] else None
