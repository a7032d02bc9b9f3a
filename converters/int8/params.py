"""Scales and zero points: from ranges for activations, from weights for layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.look_up import gate_of, look_ups
from edgevision.converters.int8.planned import PASSING_OPS, Plan, clip_bounds
from edgevision.converters.int8.range_methods import Interval
from edgevision.converters.int8.ranges import TensorRange
from edgevision.converters.int8.schemes import LAYER_OPS, Scheme

__all__ = [
    "Quantizer",
    "activation_quantizers",
    "channel_scales",
    "gate_quantizer",
    "quantizer_of",
    "representable",
    "unfit",
]

# Below this a float16 copy of the scale would be zero (smallest subnormal 6e-8).
_SMALLEST_SCALE = 1e-7
# A Concat's inputs take its scale unless that would cost one of them this share of its steps.
_WORST_SHARING = 2.0

_NEVER_FINITE = "beside values that were never finite"
_SILENT = "beside values that were 0 in every calibration picture, which tells no scale"


@dataclass(frozen=True)
class Quantizer:
    """real = scale · (integer − zero_point), for uint8 or int8 integers."""

    scale: np.float32
    zero_point: int
    dtype: type[np.uint8] | type[np.int8]

    def integers(self, values: NDArray[Any]) -> NDArray[Any]:
        """``values`` as integers of the same shape, saturated; ONNX operator QuantizeLinear."""
        limits = np.iinfo(self.dtype)
        steps = np.rint(values / self.scale) + self.zero_point
        result: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return result


def activation_quantizers(
    model: onnx.ModelProto, plan: Plan, intervals: Mapping[str, Interval]
) -> tuple[dict[str, Quantizer], list[str]]:
    """One quantizer per planned tensor, shared where the plan says so, and warnings.

    Args:
        model: The graph that the plan was made for.
        plan: Which tensors need one.
        intervals: The range of each of its tensors, see `range_methods`.
    """
    warnings = []
    sharing = _sharing(model, plan, {n: intervals[n] for n in plan.tensors})
    quantizers: dict[str, Quantizer] = {}
    for name in plan.tensors:
        low, high = sharing.interval(name)
        quantizers[name] = quantizer_of(low, high, plan.scheme)
        if 0 < max(abs(low), abs(high)) < 127 * _SMALLEST_SCALE:
            warnings.append(f"tensor {name!r} is almost zero: its scale was set to a floor")
    return quantizers, warnings


def channel_scales(weights: NDArray[np.float32], axis: int, scheme: Scheme) -> NDArray[np.float32]:
    """Symmetric scales that put each output channel's largest weight on the scheme's limit."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others)
    scales = np.maximum(largest / scheme.weight_limit, _SMALLEST_SCALE).astype(np.float32)
    return representable(scales, scheme)


def quantizer_of(low: float, high: float, scheme: Scheme) -> Quantizer:
    """The quantizer of an interval, widened so that zero is exact: padding then costs nothing."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:  # always zero, which any scale can say
        scale, zero_point = np.float32(1.0), 0
    elif scheme.asymmetric:
        steps = max((high - low) / 255.0, _SMALLEST_SCALE)
        scale, zero_point = np.float32(steps), int(np.clip(np.rint(-low / steps), 0, 255))
    else:
        scale, zero_point = np.float32(max(max(-low, high) / 127.0, _SMALLEST_SCALE)), 0
    if scheme.asymmetric and scheme.signed:  # the same integers, 128 lower
        zero_point -= 128
    step = np.float32(representable(np.array(scale), scheme))
    return Quantizer(step, zero_point, scheme.activations)


def gate_quantizer(node: onnx.NodeProto, output: Quantizer) -> Quantizer:
    """How the input of a HardSigmoid is quantized so that its output needs nothing more.

    Args:
        node: The HardSigmoid.
        output: Of the interval 0…1.
    """
    slope, shift = gate_of(node)
    limits = np.iinfo(output.dtype)
    zero_point = output.zero_point + int(np.rint(shift / float(output.scale)))
    return Quantizer(
        np.float32(float(output.scale) / slope),
        int(np.clip(zero_point, limits.min, limits.max)),
        output.dtype,
    )


def representable(scales: NDArray[np.float32], scheme: Scheme) -> NDArray[np.float32]:
    """The scales, or where they will be float16 the next numbers up that it holds: nothing is lost then.

    Those beyond its range stay: what has such a scale stays float32.
    """
    if not scheme.half_scales:
        return scales
    with np.errstate(over="ignore"):
        half = scales.astype(np.float16)
        up = np.where(
            half.astype(np.float32) < scales, np.nextafter(half, np.float16(np.inf)), half
        )
    result: NDArray[np.float32] = np.where(np.isfinite(up), up.astype(np.float32), scales)
    return result


def unfit(model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, TensorRange]) -> dict[str, str]:
    """Planned tensors that no scale can be taken for → the reason.

    1. Never finite: there is no range.
    2. Only 0 was seen, in the tensor and in all that share its scale: at run time it may hold
       anything. A branch that its own weights make 0 is no such case.
    """
    found = {name: _NEVER_FINITE for name in plan.tensors if not ranges[name].frames}
    measured = {name: (ranges[name].low, ranges[name].high) for name in plan.tensors}
    sharing = _Sharing(measured, {})
    for left, right in plan.shared:
        sharing.join(left, right)
    mute = [n for n in plan.tensors if ranges[n].silent and sharing.interval(n) == (0.0, 0.0)]
    dead = _dead(model) if mute else set()
    return found | {name: _SILENT for name in mute if name not in dead}


class _Sharing:
    """Tensors in groups of one scale each.

    A quantizer that stands for an absorbed Relu or Clip must saturate where that would have
    clipped, so no group may span more than the bounds of any absorbed node in it.
    """

    def __init__(self, intervals: Mapping[str, Interval], absorbed: Mapping[str, Interval]) -> None:
        """Every tensor by itself; ``absorbed`` has the bounds of those that a quantizer clips."""
        self._parent = {name: name for name in intervals}
        self._interval = dict(intervals)
        self._bounds = {name: absorbed.get(name, (-np.inf, np.inf)) for name in intervals}

    def interval(self, name: str) -> Interval:
        """The hull of all intervals in the group of ``name``."""
        return self._interval[self._root(name)]

    def may_join(self, left: str, right: str) -> bool:
        """Whether one scale for both would still clip what is to be clipped."""
        low, high = _hull(self.interval(left), self.interval(right))
        least, most = self._joint_bounds(left, right)
        return least <= min(low, 0.0) and max(high, 0.0) <= most

    def join(self, left: str, right: str) -> None:
        """Give both one scale; nothing happens where either has none."""
        if left not in self._parent or right not in self._parent:
            return
        hull = _hull(self.interval(left), self.interval(right))
        bounds = self._joint_bounds(left, right)
        root = self._root(left)
        self._parent[self._root(right)] = root
        self._interval[root], self._bounds[root] = hull, bounds

    def _joint_bounds(self, left: str, right: str) -> Interval:
        one, two = self._bounds[self._root(left)], self._bounds[self._root(right)]
        return max(one[0], two[0]), min(one[1], two[1])

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name


def _sharing(model: onnx.ModelProto, plan: Plan, intervals: Mapping[str, Interval]) -> _Sharing:
    """What shares a scale: tensors whose values are only moved, and most inputs of a Concat."""
    bounds = {
        node.output[0]: plan.absorbed[node.name]
        for node in model.graph.node
        if node.name in plan.absorbed
    }
    clipped = {name: _clipped(interval, bounds.get(name)) for name, interval in intervals.items()}
    tables = [gate.output[0] for gate in look_ups(model, plan.others)]
    clipped |= dict.fromkeys(tables, (0.0, 1.0))
    bounds |= dict.fromkeys(tables, (0.0, 1.0))
    sharing = _Sharing(clipped, bounds)
    for left, right in plan.shared:
        sharing.join(left, right)
    for *inputs, output in plan.concats:
        if _span(clipped[output]) <= _WORST_SHARING * min(_span(clipped[n]) for n in inputs):
            _share_concat(sharing, inputs, output)
    return sharing


def _share_concat(sharing: _Sharing, inputs: Sequence[str], output: str) -> None:
    """An input that must be clipped more narrowly keeps its own scale; the kernel converts it."""
    for name in inputs:
        if sharing.may_join(output, name):
            sharing.join(output, name)


def _dead(model: onnx.ModelProto) -> set[str]:
    """Tensors that are 0 whatever the model is fed, as far as layers and what moves values tell."""
    index = GraphIndex(model.graph)
    certain: dict[str, Interval] = {}
    for node in model.graph.node:
        interval = _certain(node, index, certain)
        if interval is not None:
            certain.update(dict.fromkeys(node.output, interval))
    return {name for name, interval in certain.items() if interval == (0.0, 0.0)}


def _certain(
    node: onnx.NodeProto, index: GraphIndex, certain: Mapping[str, Interval]
) -> Interval | None:
    """An interval that the node's output never leaves, or None where that is not known."""
    known = certain.get(node.input[0]) if node.input else None
    if node.op_type in PASSING_OPS:
        return known
    if node.op_type == "Mul":
        return (0.0, 0.0) if (0.0, 0.0) in [certain.get(name) for name in node.input] else None
    if node.op_type in LAYER_OPS:
        weights = index.array(node.input[1])
        # Weights below half the smallest scale are all 0 once they are integers.
        mute = weights is not None and np.abs(weights).max() < _SMALLEST_SCALE / 2
        return _of_bias(node, index) if mute or known == (0.0, 0.0) else None
    bounds = clip_bounds(node, index)
    return _clipped(known, bounds) if known and bounds else None


def _of_bias(node: onnx.NodeProto, index: GraphIndex) -> Interval | None:
    if len(node.input) < 3 or not node.input[2]:
        return 0.0, 0.0
    bias = index.array(node.input[2])
    return None if bias is None else (float(bias.min()), float(bias.max()))


def _clipped(interval: Interval, bounds: Interval | None) -> Interval:
    least, most = bounds or (-np.inf, np.inf)
    return min(max(interval[0], least), most), min(max(interval[1], least), most)


def _hull(one: Interval, two: Interval) -> Interval:
    return min(one[0], two[0]), max(one[1], two[1])


def _span(interval: Interval) -> float:
    return max(interval[1], 0.0) - min(interval[0], 0.0)
