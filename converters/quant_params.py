"""Scales and zero points: from ranges for activations, from weights for layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.quant_plan import Plan
from edgevision.converters.ranges import TensorRange

__all__ = ["Quantizer", "activation_quantizers", "channel_scales"]

# Below this a float16 copy of the scale would be zero (smallest subnormal 6e-8).
_SMALLEST_SCALE = 1e-7
# A Concat's inputs take its scale unless that would cost one of them this share of its steps.
_WORST_SHARING = 2.0


@dataclass(frozen=True)
class Quantizer:
    """real = scale · (integer − zero_point), for uint8 or int8 integers."""

    scale: np.float32
    zero_point: int
    dtype: type[np.uint8] | type[np.int8]


def activation_quantizers(
    model: onnx.ModelProto, plan: Plan, ranges: Mapping[str, TensorRange], method: str
) -> tuple[dict[str, Quantizer], list[str]]:
    """One quantizer per planned tensor, shared where the plan says so, and warnings.

    Args:
        model: The graph that the plan was made for.
        plan: Which tensors need one.
        ranges: What was measured, by tensor name.
        method: ``minmax`` or ``mean``.
    """
    warnings = [
        f"tensor {name!r} {ranges[name].warning}" for name in plan.tensors if ranges[name].warning
    ]
    intervals = {name: ranges[name].interval(method) for name in plan.tensors}
    for node in model.graph.node:
        if node.name in plan.absorbed and node.output[0] in intervals:
            low, high = intervals[node.output[0]]
            least, most = plan.absorbed[node.name]
            intervals[node.output[0]] = max(low, least), min(high, most)
    groups = _groups(plan, intervals)
    quantizers: dict[str, Quantizer] = {}
    for name in plan.tensors:
        members = groups[name]
        low = min(intervals[m][0] for m in members)
        high = max(intervals[m][1] for m in members)
        quantizers[name] = _quantizer(low, high, plan.scheme.asymmetric)
        if 0 < max(abs(low), abs(high)) < 127 * _SMALLEST_SCALE:
            warnings.append(f"tensor {name!r} is almost zero: its scale was set to a floor")
    return quantizers, warnings


def channel_scales(weights: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Symmetric int8 scales that put each output channel's largest weight on ±127."""
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others)
    scales: NDArray[np.float32] = np.maximum(largest / 127.0, _SMALLEST_SCALE).astype(np.float32)
    return scales


def _quantizer(low: float, high: float, asymmetric: bool) -> Quantizer:
    """Zero is always representable exactly, so padding costs nothing."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:  # always zero, which any scale can say
        return Quantizer(np.float32(1.0), 0, np.uint8 if asymmetric else np.int8)
    if not asymmetric:
        scale = max(max(-low, high) / 127.0, _SMALLEST_SCALE)
        return Quantizer(np.float32(scale), 0, np.int8)
    scale = max((high - low) / 255.0, _SMALLEST_SCALE)
    zero_point = int(np.clip(np.rint(-low / scale), 0, 255))
    return Quantizer(np.float32(scale), zero_point, np.uint8)


def _groups(plan: Plan, intervals: Mapping[str, tuple[float, float]]) -> dict[str, tuple[str, ...]]:
    """Tensor → all tensors that share its scale, itself included."""
    parent = {name: name for name in plan.tensors}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for left, right in plan.shared:
        if left in parent and right in parent:
            parent[root(right)] = root(left)
    for names in plan.concats:
        spans = [_span(intervals[n]) for n in names[:-1]]
        if _span(intervals[names[-1]]) <= _WORST_SHARING * min(spans):
            for name in names[:-1]:
                parent[root(name)] = root(names[-1])
    members: dict[str, list[str]] = {}
    for name in plan.tensors:
        members.setdefault(root(name), []).append(name)
    return {name: tuple(members[root(name)]) for name in plan.tensors}


def _span(interval: tuple[float, float]) -> float:
    return max(interval[1], 0.0) - min(interval[0], 0.0)
