"""Activations that were written out in parts, as the one or two operators they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgevision.converters.graph.editing import Replacement, Wiring
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["HARD_SWISH", "LEAKY"]

# Factors this near to 1 come of 1/6 in float32; 0.16662598 · 6, which is 1/6 in float16, does not.
_ONE = 1e-6


@dataclass(frozen=True)
class _Gate:
    """``Clip(source + b, 0, high) · c`` as ``top · HardSigmoid(source; alpha, beta)``."""

    source: str
    alpha: float
    beta: float
    top: float
    nodes: list[onnx.NodeProto]


def _gate(name: str, wiring: Wiring) -> _Gate | None:
    """The gate that makes a tensor, if one does."""
    factor, nodes = 1.0, []
    scaled = wiring.inner(name, "Mul", "Div")
    if scaled is not None:
        found = _scaled(scaled, wiring)
        if found is None:
            return None
        name, factor = found
        nodes = [scaled]
    clip = wiring.inner(name, "Clip")
    if clip is None or len(clip.input) < 3:
        return None
    low, high = (wiring.number(i) if i else None for i in clip.input[1:3])
    shift = wiring.inner(clip.input[0], "Add")
    found = _with_number(shift, wiring) if shift is not None else None
    if low != 0 or not high or high < 0 or shift is None or found is None:
        return None
    nodes = [*nodes, clip, shift]
    return _Gate(found[0], 1 / high, found[1] / high, factor * high, nodes)


def _scaled(node: onnx.NodeProto, wiring: Wiring) -> tuple[str, float] | None:
    """``x`` and ``c`` of ``c · x`` or ``x / (1/c)``."""
    found = _with_number(node, wiring)
    if node.op_type == "Mul" or found is None:
        return found
    return (found[0], 1 / found[1]) if found[1] and found[0] == node.input[0] else None


def _with_number(node: onnx.NodeProto, wiring: Wiring) -> tuple[str, float] | None:
    """The activation and the number that a node of two operands reads."""
    for side in (1, 0):
        constant, other = node.input[side], node.input[1 - side]
        number = wiring.number(constant)
        # A constant of higher rank would add dims.
        if number is not None and wiring.rank(constant) <= wiring.rank(other):
            return str(other), number
    return None


def _hard_swish(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. ``x · Clip(x + b, 0, h) · c`` is ``x · HardSigmoid(x) · (c · h)``, with what c really is."""
    for left, right in _both_ways(node):
        gate = _gate(right, wiring)
        if gate is None or wiring.element(node.output[0]) != TensorProto.FLOAT:
            continue
        if left == gate.source:
            return _gated(node, wiring, gate, gate.top, gate.nodes)
        scaled = wiring.inner(left, "Mul", "Div")
        found = _scaled(scaled, wiring) if scaled is not None else None
        if scaled is not None and found is not None and found[0] == gate.source:
            return _gated(node, wiring, gate, gate.top * found[1], [*gate.nodes, scaled])
    return None


def _gated(
    node: onnx.NodeProto, wiring: Wiring, gate: _Gate, top: float, gone: list[onnx.NodeProto]
) -> Replacement:
    """The two nodes, and behind them the number that is left over."""
    result, hard = node.output[0], wiring.fresh(f"{node.output[0]}/gate")
    made = [_hard(gate, hard)]
    if abs(top - 1) <= _ONE:
        made.append(helper.make_node("Mul", [gate.source, hard], [result], name=node.name))
        return Replacement([node, *gone], made)
    product, number = wiring.fresh(f"{result}/product"), wiring.fresh(f"{result}/factor")
    made.append(helper.make_node("Mul", [gate.source, hard], [product], name=node.name))
    made.append(helper.make_node("Mul", [product, number], [result], name=number))
    return Replacement([node, *gone], made, {number: np.array(top, np.float32)})


def _hard(gate: _Gate, output: str) -> onnx.NodeProto:
    return helper.make_node(
        "HardSigmoid", [gate.source], [output], name=output, alpha=gate.alpha, beta=gate.beta
    )


def _hard_swish_operator(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. HardSwish itself, in the form that every engine knows."""
    if wiring.element(node.output[0]) != TensorProto.FLOAT:
        return None
    return _gated(node, wiring, _Gate(node.input[0], 1 / 6, 0.5, 1.0, []), 1.0, [])


def _hard_sigmoid(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """3. ``Clip(x + 3, 0, 6) / 6``, where the number really is 1/6."""
    found = _scaled(node, wiring)
    if found is None or wiring.element(node.output[0]) != TensorProto.FLOAT:
        return None
    gate = _gate(found[0], wiring)
    if gate is None or abs(gate.top * found[1] - 1) > _ONE:
        return None
    return Replacement([node, *gate.nodes], [_hard(gate, node.output[0])])


def _leaky(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """4. ``max(x, 0) + s · min(x, 0)`` with one number s is LeakyRelu.

    With a slope per channel it stays: onnxruntime's PRelu is no faster, and slower beside INT8.
    """
    for left, right in _both_ways(node):
        above = _one_side(left, "Max", wiring)
        scaled = wiring.inner(right, "Mul")
        found = _with_number(scaled, wiring) if scaled is not None else None
        below = _below(found[0], wiring) if found is not None else None
        if above is None or scaled is None or found is None or below is None:
            continue
        if below[0] != above[0] or wiring.element(node.output[0]) != TensorProto.FLOAT:
            continue
        slope = found[1] * below[1]
        leaky = helper.make_node("LeakyRelu", [above[0]], node.output, name=node.name, alpha=slope)
        return Replacement([node, scaled, *above[1], *below[2]], [leaky])
    return None


def _below(name: str, wiring: Wiring) -> tuple[str, float, list[onnx.NodeProto]] | None:
    """``x`` and a sign, where ``name`` is ``min(x, 0)`` or, with the sign −1, ``Relu(−x)``."""
    least = _one_side(name, "Min", wiring)
    if least is not None:
        return least[0], 1.0, least[1]
    relu = wiring.inner(name, "Relu")
    negative = wiring.inner(relu.input[0], "Neg") if relu is not None else None
    if relu is None or negative is None:
        return None
    return negative.input[0], -1.0, [relu, negative]


def _one_side(name: str, operator: str, wiring: Wiring) -> tuple[str, list[onnx.NodeProto]] | None:
    """``x``, where ``name`` is Max or Min of x and 0; for Max, Relu too."""
    node = wiring.inner(name, operator, *(["Relu"] if operator == "Max" else []))
    if node is None:
        return None
    if node.op_type == "Relu":
        return node.input[0], [node]
    found = _with_number(node, wiring) if len(node.input) == 2 else None
    return (found[0], [node]) if found is not None and found[1] == 0 else None


def _min_of_max(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """5. ``min(max(x, a), b)`` with a ≤ b is Clip."""
    outer = _with_number(node, wiring) if len(node.input) == 2 else None
    before = wiring.inner(outer[0], "Max", "Relu") if outer is not None else None
    if outer is None or before is None or wiring.element(node.output[0]) != TensorProto.FLOAT:
        return None
    inner = (before.input[0], 0.0) if before.op_type == "Relu" else None
    if before.op_type == "Max" and len(before.input) == 2:
        inner = _with_number(before, wiring)
    if inner is None or inner[1] > outer[1]:
        return None
    names = [wiring.fresh(f"{node.output[0]}/{end}") for end in ("low", "high")]
    clip = helper.make_node("Clip", [inner[0], *names], node.output, name=node.name)
    values = {n: np.array(v, np.float32) for n, v in zip(names, (inner[1], outer[1]), strict=True)}
    return Replacement([before, node], [clip], values)


def _both_ways(node: onnx.NodeProto) -> Iterator[tuple[str, str]]:
    """The two operands in both orders."""
    if len(node.input) == 2:
        yield node.input[0], node.input[1]
        yield node.input[1], node.input[0]


HARD_SWISH = RulePass(
    "hard-swish",
    [
        Rule(("Min",), _min_of_max, "replaced {n} of a Max with Clip", "Min"),
        Rule(("Mul",), _hard_swish, "wrote {n} as x · HardSigmoid(x)", "hard-swish activation"),
        Rule(("HardSwish",), _hard_swish_operator, "wrote {n} as x · HardSigmoid(x)", "HardSwish"),
        Rule(("Mul", "Div"), _hard_sigmoid, "replaced {n} with HardSigmoid", "clipped sum"),
    ],
)
LEAKY = RulePass(
    "leaky activations",
    [Rule(("Add",), _leaky, "replaced {n} of max and min with LeakyRelu", "sum")],
)
