"""Decide which nodes of a graph compute in INT8 and which tensors carry a scale."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import TensorProto

from edgevision.converters.graph.index import GraphIndex, attribute, elem_types
from edgevision.converters.int8.layer import Layer, as_layer
from edgevision.converters.int8.look_up import fits_table
from edgevision.converters.int8.planned import OPERAND_OPS, PASSING_OPS, Plan, clip_bounds
from edgevision.converters.int8.residuals import residual_inputs
from edgevision.converters.int8.schemes import LAYER_OPS, Scheme
from edgevision.converters.int8.tail import decode_tail

__all__ = ["make_plan"]

_TAIL = "part of the decode tail"
_ISLAND = "beside float nodes, where int8 would only add conversions"
_MOVING = "only moves data that float nodes give or read"
_BRIDGE = "moves data in float between int8 nodes: no int8 kernel"
_FUSED = "left to be fused into the int8 layer before it"


def make_plan(
    model: onnx.ModelProto,
    scheme: Scheme,
    *,
    exclude: Collection[str] = (),
    barred: Mapping[str, str] | None = None,
) -> Plan:
    """Plan the INT8 part of a cleaned model.

    Args:
        model: Cleaned; every node has a name.
        scheme: The kernels to plan for.
        exclude: Names of nodes that must stay float.
        barred: Tensors that cannot have a scale → the reason, given for the nodes beside them.
            Leaving tensors out never brings new ones in.
    """
    return _Planner(model, scheme, exclude, barred or {}).plan()


class _Planner:
    def __init__(
        self,
        model: onnx.ModelProto,
        scheme: Scheme,
        exclude: Collection[str],
        barred: Mapping[str, str],
    ) -> None:
        self.index = GraphIndex(model.graph)
        self.nodes = list(model.graph.node)
        self.scheme = scheme
        self.exclude = set(exclude)
        self.barred = barred
        self.tail = decode_tail(model)
        self.types = elem_types(model)
        self.result = Plan(scheme)
        self.layers: dict[str, Layer] = {}
        self.chosen: set[str] = set()
        self.activation: dict[str, onnx.NodeProto] = {}

    def plan(self) -> Plan:
        for node in self.nodes:
            reason = self._obstacle(node)
            if reason is None:
                self.chosen.add(node.name)
            else:
                self.result.kept_float[node.name] = reason
        self._find_activations()
        self._drop_islands()
        return self._write_down()

    def _obstacle(self, node: onnx.NodeProto) -> str | None:
        """Why ``node`` cannot be INT8, or None if it can."""
        if node.name in self.exclude:
            return "excluded on request"
        if node.name in self.tail:
            return _TAIL
        layer = node.op_type in LAYER_OPS
        reason = self._layer_obstacle(node) if layer else self._other_obstacle(node)
        if reason is None:
            reason = next((self.barred[t] for t in self._tensors(node) if t in self.barred), None)
        if reason is not None:
            self.layers.pop(node.name, None)
        return reason

    def _layer_obstacle(self, node: onnx.NodeProto) -> str | None:
        if node.op_type not in self.scheme.layers:
            return f"no int8 kernel for {node.op_type}"
        layer = as_layer(node, self.index)
        if isinstance(layer, str):
            return layer
        self.layers[node.name] = layer
        return self._type_obstacle([node.output[0]])

    def _other_obstacle(self, node: onnx.NodeProto) -> str | None:
        data = self.index.activations(node)
        reason = self._type_obstacle([*data, *node.output[:1]])
        if reason is not None:
            return reason
        if node.op_type not in self.scheme.arithmetic | PASSING_OPS:
            return f"no int8 kernel for {node.op_type}"
        if node.op_type == "Resize" and attribute(node, "mode", "nearest") == "cubic":
            return "cubic Resize overshoots its input's range"
        if node.op_type == "HardSigmoid" and not fits_table(node):
            return "HardSigmoid with a slope or shift that no table holds"
        if node.op_type == "MaxPool" and len([o for o in node.output if o]) > 1:
            return "MaxPool that also gives indices"
        return self._operand_obstacle(node)

    def _type_obstacle(self, tensors: Collection[str]) -> str | None:
        types = {self.types.get(name, TensorProto.UNDEFINED) for name in tensors}
        if types <= {TensorProto.FLOAT}:
            return None
        unknown = TensorProto.UNDEFINED in types
        return "its element type is not known" if unknown else "does not compute in float32"

    def _operand_obstacle(self, node: onnx.NodeProto) -> str | None:
        """An attention mask of −∞, say, has no scale."""
        if node.op_type not in OPERAND_OPS:
            return None
        constants = [a for a in map(self.index.array, node.input) if a is not None]
        if all(a.size and np.isfinite(a).all() for a in constants):
            return None
        return "a constant operand is empty or not finite"

    def _find_activations(self) -> None:
        """Drop each Relu and Clip that the quantizer behind an INT8 node stands for."""
        for node in self.nodes:
            behind = self._behind(node) if node.name in self.chosen else None
            bounds = None if behind is None else clip_bounds(behind, self.index)
            # The layer in front of a tensor without a scale may give float: then nothing clips.
            if behind is None or bounds is None or behind.output[0] in self.barred:
                continue
            self.activation[node.name] = behind
            self.result.absorbed[behind.name] = bounds

    def _behind(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The Relu or Clip that alone reads ``node`` and clips to a range with zero."""
        readers = self.index.consumers.get(node.output[0], [])
        if not self.scheme.absorbs or node.op_type in PASSING_OPS or len(readers) != 1:
            return None
        reader = readers[0]
        if reader.name in self.tail or reader.name in self.exclude:
            return None
        if node.output[0] in self.index.outputs or clip_bounds(reader, self.index) is None:
            return None
        return reader

    def _tensors(self, node: onnx.NodeProto) -> list[str]:
        """The tensors that must have a scale for ``node`` to be INT8."""
        if node.name in self.layers:
            data = [self.layers[node.name].data]
            if node.op_type in self.scheme.float_output:
                return data
        else:
            data = self.index.activations(node)
        return [*data, *(self._behind(node) or node).output]

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
            return self.scheme.runtime == "tensorrt" or self._read_by_int8(node)
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
        if "Add" in self.scheme.fused:
            plan.residuals = self._residuals(wanted)
            wanted.update(dict.fromkeys(plan.residuals.values()))
        plan.tensors = list(wanted)
        self._note_reasons()
        return plan

    def _note_reasons(self) -> None:
        """Account for the nodes whose place depends on their neighbours."""
        plan = self.result
        settled = self.tail | self.exclude
        fused = set(self.layers)
        for node in self.nodes:
            if node.name in plan.absorbed:
                del plan.kept_float[node.name]
            elif node.name in plan.others and _kind(node) in self.scheme.bridges:
                plan.bridges.add(node.name)
                plan.kept_float[node.name] = _BRIDGE
            elif node.name not in self.chosen and node.name not in plan.kept_float:
                plan.kept_float[node.name] = _MOVING if node.op_type in PASSING_OPS else _ISLAND
            elif node.name not in settled and self._fuses(node, fused):
                fused.add(node.name)
                plan.kept_float[node.name] = _FUSED

    def _fuses(self, node: onnx.NodeProto, makers: Collection[str]) -> bool:
        found = [self.index.producers.get(name) for name in node.input]
        behind = any(maker is not None and maker.name in makers for maker in found)
        return behind and node.op_type in self.scheme.fused

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
        if node.op_type in PASSING_OPS:
            self.result.shared += [(data[0], name) for name in outputs]
        if node.op_type == "Concat":
            self.result.concats.append([*data, *outputs])

    def _residuals(self, scaled: Collection[str]) -> dict[str, str]:
        left_alone = self.tail | self.exclude
        nodes = [node for node in self.nodes if node.name not in left_alone]
        found = residual_inputs(nodes, self.index, self.layers, scaled)
        return {
            name: tensor
            for name, tensor in found.items()
            if tensor not in self.barred and self._type_obstacle([tensor]) is None
        }

    def _needs_output(self, node: onnx.NodeProto) -> bool:
        if self.activation.get(node.name) is not None:
            return True  # the quantizer is what clips
        # Of a layer that can give float, a reader that wants INT8 asks itself.
        return not (node.name in self.layers and node.op_type in self.scheme.float_output)


def _kind(node: onnx.NodeProto) -> str:
    """The operator, and of Resize its mode, as `Scheme.bridges` has it."""
    if node.op_type != "Resize":
        return str(node.op_type)
    return f"{attribute(node, 'mode', 'nearest')} Resize"
