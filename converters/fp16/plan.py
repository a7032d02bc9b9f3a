"""Decide which nodes of a float32 graph compute in float16, and say why the others do not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision.converters.fp16.types import Slots, half_slots
from edgevision.converters.fp16.weights import unfit_constant, unfit_weights
from edgevision.converters.graph.index import (
    GraphIndex,
    attribute,
    elem_types,
    inferred_shapes,
    opset_of,
)
from edgevision.converters.int8.ranges import TensorRange
from edgevision.converters.int8.schemes import LAYER_OPS
from edgevision.converters.int8.tail import decode_tail

__all__ = ["HalfPlan", "plan_half"]

#: Half of the largest float16: other pictures than those measured may reach further.
_LARGEST = 65504 / 2
#: The smallest normal float16: a tensor that stays below it loses most of its digits.
_SMALLEST = 2.0**-14

# What torch.autocast computes in float32 (pytorch.org/docs, "Autocast Op Reference"), with the
# forms that such operators take in ONNX: normalisations, sums of many values, steep functions.
_NORMS = frozenset(
    {
        *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"),
        *("MeanVarianceNormalization", "LpNormalization", "LRN", "Softmax", "LogSoftmax"),
    }
)
_SUMS = frozenset(
    {
        *("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        *("ReduceLogSum", "ReduceLogSumExp", "CumSum", "LpPool", "GlobalLpPool"),
    }
)
_STEEP = frozenset(
    {
        *("Exp", "Log", "Pow", "Sqrt", "Reciprocal", "Softplus", "Sin", "Cos", "Tan", "Sinh"),
        *("Cosh", "Asin", "Acos", "Asinh", "Acosh", "Atanh", "Det"),
    }
)
# Positions and ranks: float16 counts in steps of 2 above 2048 and of 4 above 4096.
_POSITIONS = frozenset({"RoiAlign", "MaxRoiPool", "TopK", "Mod", "Floor", "Ceil", "Round"})
_LARGEST_EXACT = 2048
# Sums whose length is known: float16 where the measured range leaves room for all of them.
_POOLS = frozenset({"AveragePool", "GlobalAveragePool"})

_TAIL = "part of the decode tail: above 2048, float16 counts pixels in steps of 2"
_ISLAND = "beside float32 nodes, where float16 would only add casts"
_NO_FORM = "gives float32 whatever it reads, or holds graphs of its own"
_NORM = "a normalisation: sums of squares or exponentials"
_SUM = "a sum of many values"
_STEEP_REASON = "a steep function: small errors grow, large values overflow"
_POSITION = "computes positions or ranks"
_UNKNOWN = "may overflow, and there were no pictures to see whether it does"


@dataclass
class HalfPlan:
    """What becomes float16.

    Attributes:
        half: Name of each node that computes in float16 → where in it.
        layers: Those among them that carry weights, in graph order.
        kept_float: Name → reason, for every other node that gives float32.
        tensors: float32 tensors that become float16, in graph order; their ranges decide.
    """

    half: dict[str, Slots] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    kept_float: dict[str, str] = field(default_factory=dict)
    tensors: list[str] = field(default_factory=list)


def plan_half(
    model: onnx.ModelProto, ranges: Mapping[str, TensorRange] | None, *, pictures: bool = True
) -> HalfPlan:
    """Plan the float16 part of a cleaned model.

    Args:
        model: Cleaned; every node has a name.
        ranges: Tensor name → what was seen in it; None plans what is to be looked at, all that may
            be float16 whatever its range will be.
        pictures: The ranges are those of pictures. Those of noise show some overflows, and prove
            nothing safe: then whatever may overflow stays float32.
    """
    return _Planner(model, ranges, pictures).plan()


class _Planner:
    def __init__(
        self, model: onnx.ModelProto, ranges: Mapping[str, TensorRange] | None, pictures: bool
    ) -> None:
        self.nodes = list(model.graph.node)
        self.index = GraphIndex(model.graph)
        self.types = elem_types(model)
        self.shapes = inferred_shapes(model)
        self.opset = opset_of(model)
        self.tail = decode_tail(model)
        self.ranges = ranges or {}
        self.before = ranges is None
        self.pictures = pictures
        self.result = HalfPlan()

    def plan(self) -> HalfPlan:
        for node in self.nodes:
            slots = half_slots(node, self.types, self.opset)
            reason = self._obstacle(node, slots)
            if reason is None and slots is not None:
                self.result.half[node.name] = slots
            elif self._gives_float(node):
                self.result.kept_float[node.name] = reason or _NO_FORM
        self._drop_islands()
        return self._write_down()

    def _obstacle(self, node: onnx.NodeProto, slots: Slots | None) -> str | None:
        """Why a node stays float32; None if it need not."""
        if node.name in self.tail:
            return _TAIL
        if slots is None:
            return _NO_FORM
        return (
            _by_operator(node.op_type)
            or self._by_constant(node, slots)
            or self._by_range(node, slots)
        )

    def _by_constant(self, node: onnx.NodeProto, slots: Slots) -> str | None:
        problem = None
        for position in slots.inputs:
            array = self.index.array(node.input[position])
            if array is not None and position == 1 and node.op_type in LAYER_OPS:
                problem = self._by_weights(node, array)
            elif array is not None:
                problem = unfit_constant(node, position, array)
            if problem:
                break
        return problem

    def _by_weights(self, node: onnx.NodeProto, weights: NDArray[Any]) -> str | None:
        if self.before:  # what the layer reads may show that they do not matter
            return None
        if node.op_type != "Conv":  # elsewhere channels lie on another axis, or on none
            return unfit_weights(weights.reshape(1, -1), None, None)
        bias = self.index.array(node.input[2]) if len(node.input) > 2 else None
        seen = self.ranges.get(node.input[0]) if self.pictures else None
        return unfit_weights(weights, bias, _extreme(seen) if seen else None)

    def _by_range(self, node: onnx.NodeProto, slots: Slots) -> str | None:
        if not (self.before or self.pictures) and self._may_overflow(node):
            return _UNKNOWN
        for tensor in self._touched(node, slots):
            problem = _unfit_range(self.ranges.get(tensor))
            if problem:
                return problem
        if node.op_type == "Cast" and not self._counts(node.output[0]):
            return _POSITION
        return None if self._sum_fits(node) else _SUM

    def _counts(self, tensor: str) -> bool:
        """Whether float16 tells apart the whole numbers that a tensor holds."""
        return tensor not in self.ranges or _extreme(self.ranges[tensor]) <= _LARGEST_EXACT

    def _may_overflow(self, node: onnx.NodeProto) -> bool:
        """Where values are summed, squared or divided, or come from integers of any size."""
        if node.op_type in _POOLS or node.op_type == "Cast":
            return True
        if node.op_type == "Div":
            return not self.index.is_constant(node.input[1])
        if node.op_type in ("MatMul", "Gemm", "Einsum"):
            return not any(self.index.is_constant(name) for name in node.input[:2])
        return node.op_type == "Mul" and node.input[0] == node.input[1]

    def _sum_fits(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in _POOLS or node.input[0] not in self.ranges:
            return True
        shape = self.shapes.get(node.input[0]) or []
        window = attribute(node, "kernel_shape") or shape[2:] or [""]
        count = math.prod(d if isinstance(d, int) and d else math.inf for d in window)
        return count * _extreme(self.ranges[node.input[0]]) <= _LARGEST

    def _touched(self, node: onnx.NodeProto, slots: Slots) -> list[str]:
        """The float32 tensors of a node that would be float16, constants left out."""
        names = [node.input[i] for i in slots.inputs] + [node.output[i] for i in slots.outputs]
        return [n for n in dict.fromkeys(names) if not self.index.is_constant(n)]

    def _gives_float(self, node: onnx.NodeProto) -> bool:
        return any(self.types.get(name) == TensorProto.FLOAT for name in node.output)

    def _drop_islands(self) -> None:
        """Leave groups of nodes without a layer in float32."""
        half = self.result.half
        kept: set[str] = set()
        stack = [node for node in self.nodes if node.name in half and node.op_type in LAYER_OPS]
        while stack:
            node = stack.pop()
            if node.name not in kept:
                kept.add(node.name)
                stack += [other for other in self._beside(node) if other.name in half]
        for name in [name for name in half if name not in kept]:
            del half[name]
            self.result.kept_float[name] = _ISLAND

    def _beside(self, node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
        """The nodes that give or read what is float16 in a node; quantized tensors join them too."""
        for name in node.input:
            if name in self.index.producers:
                yield self.index.producers[name]
        for name in node.output:
            yield from self.index.consumers.get(name, [])

    def _write_down(self) -> HalfPlan:
        plan, tensors = self.result, {}
        for node in self.nodes:
            if node.name in plan.half:
                tensors.update(dict.fromkeys(self._touched(node, plan.half[node.name])))
                if node.op_type in LAYER_OPS:
                    plan.layers.append(node.name)
        empty = {name for name, shape in self.shapes.items() if shape and 0 in shape}
        plan.tensors = [name for name in tensors if name not in empty]
        return plan


def _by_operator(op: str) -> str | None:
    groups = ((_NORMS, _NORM), (_SUMS, _SUM), (_STEEP, _STEEP_REASON), (_POSITIONS, _POSITION))
    return next((reason for group, reason in groups if op in group), None)


def _unfit_range(seen: TensorRange | None) -> str | None:
    if seen is None:
        return None
    if seen.non_finite or not seen.frames:
        return "meets values that are not finite"
    extreme = _extreme(seen)
    if extreme > _LARGEST:
        return f"meets values beyond {_LARGEST:g}, half of what float16 holds"
    if 0 < extreme < _SMALLEST:
        return f"meets nothing above {_SMALLEST:.2g}, where float16 loses its digits"
    return None


def _extreme(seen: TensorRange) -> float:
    return max(abs(seen.low), abs(seen.high))
