"""Write QuantizeLinear and DequantizeLinear nodes, integer weights and biases into a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.converters.graph.index import GraphIndex, captured
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.look_up import as_look_up, look_ups
from edgevision.converters.int8.params import Quantizer, gate_quantizer, quantizer_of, representable
from edgevision.converters.int8.planned import OPERAND_OPS, Plan
from edgevision.converters.int8.schemes import Scheme
from edgevision.converters.int8.shields import exposed_layers, put_shields

__all__ = ["IntegerLayer", "write"]

Array = NDArray[Any]
# Half of int32: the products of the convolution are added to the bias.
_BIAS_LIMIT = 2.0**30


@dataclass(frozen=True)
class IntegerLayer:
    """The numbers of one quantized layer.

    Attributes:
        weights: int8, in the shape of the float weights.
        scales: float32, one per output channel.
        bias: float32, one per output channel, corrected; None if the layer has none.
    """

    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float32] | None


def write(
    model: onnx.ModelProto,
    plan: Plan,
    quantizers: Mapping[str, Quantizer],
    layers: Mapping[str, IntegerLayer],
) -> onnx.ModelProto:
    """The quantized copy of ``model``; names of inputs, outputs and nodes stay as they are."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _Writer(result, plan, quantizers, layers).write()
    put_shields(result, exposed_layers(model, quantizers, layers))
    onnx.checker.check_model(result)
    return result


class _Writer:
    def __init__(
        self,
        model: onnx.ModelProto,
        plan: Plan,
        quantizers: Mapping[str, Quantizer],
        layers: Mapping[str, IntegerLayer],
    ) -> None:
        self.graph = model.graph
        self.index = GraphIndex(model.graph)
        self.plan = plan
        self.quantizers = quantizers
        self.integers = layers
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.renamed: dict[str, str] = {}
        self.look_ups = {gate.name: gate for gate in look_ups(model, plan.others)}
        # What float nodes make, float nodes read as it is, whoever else reads it in integers; but for
        # an Add that is to be fused into an INT8 layer.
        self.exact: dict[str, str] = {}

    def write(self) -> None:
        layers = {layer.node: layer for layer in self.plan.layers}
        for value in self.graph.input:
            if value.name in self.quantizers:
                self.renamed[value.name] = f"{value.name}/dequantized"
                self._pair(value.name, value.name, self.renamed[value.name])
        for node in list(self.graph.node):
            if node.name in self.plan.absorbed:
                continue
            copy = onnx.NodeProto.FromString(node.SerializeToString())
            integer = node.name in layers or node.name in self.plan.others
            stepped = integer or node.name in self.plan.residuals
            names = self.renamed if stepped else {**self.renamed, **self.exact}
            for position, name in enumerate(copy.input):
                copy.input[position] = names.get(name, name)
            if node.name in layers:
                self._layer(copy, layers[node.name])
            elif node.name in self.look_ups:
                as_look_up(copy)
            elif node.name in self.plan.others:
                self._constant_operands(copy)
            self._outputs(copy)
            if not integer:
                self.exact.update({n: f"{n}/float" for n in node.output if n in self.quantizers})
        self._finish()

    def _outputs(self, node: onnx.NodeProto) -> None:
        """Put the node down, and behind it a pair for each output that has a quantizer."""
        pairs = []
        for position, name in enumerate(node.output):
            final = self._behind_absorbed(name)
            if final in self.quantizers:
                node.output[position] = f"{final}/float"
                pairs.append((f"{final}/float", final))
        self.nodes.append(node)
        gate = self.look_ups.get(node.name)
        for source, final in pairs:
            by = None if gate is None else gate_quantizer(gate, self.quantizers[final])
            self._pair(final, source, final, by)

    def _behind_absorbed(self, name: str) -> str:
        """The tensor that a dropped Relu or Clip would have made of ``name``."""
        for reader in self.index.consumers.get(name, []):
            if reader.name in self.plan.absorbed:
                return str(reader.output[0])
        return name

    def _pair(self, tensor: str, source: str, target: str, by: Quantizer | None = None) -> None:
        """The two nodes of a tensor; ``by`` is how it is quantized, where not as it is dequantized."""
        own = self._parameters(self.quantizers[tensor], tensor)
        other = own if by is None else self._parameters(by, f"{tensor}/table")
        middle = f"{tensor}/quantized"
        self.nodes += [
            helper.make_node(
                "QuantizeLinear", [source, *other], [middle], name=f"{tensor}/quantize"
            ),
            helper.make_node(
                "DequantizeLinear", [middle, *own], [target], name=f"{tensor}/dequantize"
            ),
        ]

    def _parameters(self, quantizer: Quantizer, name: str) -> list[str]:
        return [
            self._constant(np.array(quantizer.scale, np.float32), f"{name}/scale"),
            self._constant(np.array(quantizer.zero_point, quantizer.dtype), f"{name}/zero"),
        ]

    def _layer(self, node: onnx.NodeProto, layer: Layer) -> None:
        integers = self.integers[layer.node]
        data_scale = self.quantizers[layer.data].scale
        integers = _with_room_for_bias(integers, layer.axis, data_scale, self.plan.scheme)
        node.input[1] = self._dequantized(
            integers.weights, integers.scales, f"{layer.node}/weights", layer.axis
        )
        if integers.bias is None:
            return
        name = f"{layer.node}/bias"
        if self.plan.scheme.integer_bias and layer.op != "MatMul":
            scales = (data_scale * integers.scales).astype(np.float32)
            bias = np.rint(integers.bias.astype(np.float64) / scales).astype(np.int32)
            target = self._dequantized(bias, scales, name, 0)
        else:
            target = self._constant(integers.bias, name)
        del node.input[2:]
        node.input.append(target)

    def _dequantized(
        self, integers: Array, scales: NDArray[np.float32], name: str, axis: int
    ) -> str:
        inputs = [
            self._constant(integers, f"{name}/integers"),
            self._constant(scales, f"{name}/scales"),
            self._constant(np.zeros(len(scales), integers.dtype), f"{name}/zeros"),
        ]
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear", inputs, [name], name=f"{name}/dequantize", axis=axis
            )
        )
        return name

    def _constant_operands(self, node: onnx.NodeProto) -> None:
        """Constants of Add, Mul and Concat become integers too, or the kernel could not be used."""
        if node.op_type not in OPERAND_OPS:
            return
        for position, source in enumerate(node.input):
            array = self.index.array(source)
            if array is None:
                continue
            name = f"{node.name}/operand{position}"
            quantizer = quantizer_of(float(array.min()), float(array.max()), self.plan.scheme)
            inputs = [
                self._constant(quantizer.integers(array), f"{name}/integers"),
                self._constant(np.array(quantizer.scale, np.float32), f"{name}/scale"),
                self._constant(np.array(quantizer.zero_point, quantizer.dtype), f"{name}/zero"),
            ]
            self.nodes.append(
                helper.make_node("DequantizeLinear", inputs, [name], name=f"{name}/dequantize")
            )
            node.input[position] = name

    def _constant(self, array: Array, name: str) -> str:
        if name not in self.constants:
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def _finish(self) -> None:
        read = {name for node in self.nodes for name in [*node.input, *captured(node)]}
        read.update(v.name for v in self.graph.output)
        kept = [t for t in self.graph.initializer if t.name in read]
        kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        del self.graph.initializer[:]
        self.graph.initializer.extend([*kept, *self.constants.values()])
        del self.graph.value_info[:]


def _with_room_for_bias(
    layer: IntegerLayer, axis: int, data_scale: np.float32, scheme: Scheme
) -> IntegerLayer:
    """Coarser weights in channels whose bias would not fit int32, which runtimes make float ones too.

    Such weights (a dead channel's, say 1e-20) hardly matter beside their bias: the error is
    below 1e-6 of it.
    """
    if layer.bias is None:
        return layer
    least = np.abs(layer.bias.astype(np.float64)) / (_BIAS_LIMIT * float(data_scale))
    scales = representable(np.maximum(layer.scales, least).astype(np.float32), scheme)
    if np.array_equal(scales, layer.scales):
        return layer
    shape = [1] * layer.weights.ndim
    shape[axis] = -1
    weights = np.rint(layer.weights * (layer.scales / scales).reshape(shape)).astype(np.int8)
    return IntegerLayer(weights, scales, layer.bias)
