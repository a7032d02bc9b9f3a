"""Transposes that cancel out, next to each other or across what lies between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["TRANSPOSES"]

Array = NDArray[Any]

# Operators that compute every element by itself, from the elements in the same place.
_ELEMENTWISE = frozenset(
    {
        "Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mul", "Neg", "PRelu", "Pow", "Reciprocal",
        "Relu", "Round", "Selu", "Sigmoid", "Softplus", "Sqrt", "Sub", "Sum", "Tanh",
    }
)  # fmt: skip
# Clip's bounds are numbers, not operands.
_BOUNDS = ("Clip",)


@dataclass
class _Region:
    """Connected nodes that do not care about the order of axes, behind a Transpose of ``perm``.

    Attributes:
        perm: The Transpose's.
        nodes: In no particular order.
        sources: Tensors that they read from outside, constants apart.
        results: Their tensors that someone outside reads.
    """

    perm: list[int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


def _in_a_row(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. A Transpose of a Transpose is one, or none; where others read the first, only none.

    So that each change leaves fewer Transposes, and rules come to an end.
    """
    before = wiring.maker(node.input[0])
    if before is None or before.op_type != "Transpose":
        return None
    first, second = attribute(before, "perm"), attribute(node, "perm")
    if first is None or second is None:
        return None
    perm = [first[i] for i in second]
    source, result = before.input[0], node.output[0]
    if perm == sorted(perm) and wiring.can_alias(result, source):
        return Replacement([node], aliases={result: source})
    between = before.output[0]
    if between in wiring.outputs or any(r is not node for r in wiring.readers(between)):
        return None
    return Replacement([node], [node_with(node, inputs=[source], perm=perm)])


def _across(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. Elementwise nodes behind it work on the untransposed tensors, where that leaves fewer Transposes."""
    perm = attribute(node, "perm")
    if perm is None:
        return None
    region = _region(node, list(perm), wiring)
    if not region.nodes or _gain(region, wiring) <= 0:
        return None
    return _moved(region, wiring)


def _region(start: onnx.NodeProto, perm: list[int], wiring: Wiring) -> _Region:
    region = _Region(perm)
    inside: set[int] = set()
    waiting = [n for n in wiring.readers(start.output[0]) if _fits(n, perm, wiring)]
    while waiting:
        node = waiting.pop(0)
        if id(node) in inside:
            continue
        inside.add(id(node))
        region.nodes.append(node)
        makers = [wiring.maker(n) for n in _operands(node, wiring)]
        near = [*(m for m in makers if m is not None), *wiring.readers(node.output[0])]
        waiting += [n for n in near if id(n) not in inside and _fits(n, perm, wiring)]
    made = {n.output[0] for n in region.nodes}
    read = [name for n in region.nodes for name in _operands(n, wiring)]
    region.sources = [n for n in dict.fromkeys(read) if n not in made]
    for node in region.nodes:
        name = node.output[0]
        outside = any(id(r) not in inside for r in wiring.readers(name))
        if outside or name in wiring.outputs:
            region.results.append(name)
    return region


def _fits(node: onnx.NodeProto, perm: Sequence[int], wiring: Wiring) -> bool:
    if node.op_type not in _ELEMENTWISE or node.domain not in ("", "ai.onnx"):
        return False
    if len(node.output) != 1 or wiring.rank(node.output[0]) != len(perm):
        return False
    operands = _operands(node, wiring)
    if not operands or any(wiring.rank(n) != len(perm) for n in operands):
        return False
    return node.op_type not in _BOUNDS or operands == [node.input[0]]


def _operands(node: onnx.NodeProto, wiring: Wiring) -> list[str]:
    """What it reads, constants apart."""
    return [n for n in node.input if n and wiring.array(n) is None]


def _gain(region: _Region, wiring: Wiring) -> int:
    """How many Transposes fewer there would be."""
    inside = {id(n) for n in region.nodes}
    gain = 0
    for name in region.sources:
        maker = _transpose_of(name, region.perm, wiring)
        if maker is None:
            gain -= 1
        elif name not in wiring.outputs and all(id(r) in inside for r in wiring.readers(name)):
            gain += 1
    for name in region.results:
        undone = _undone(name, region, wiring)
        others = [r for r in wiring.readers(name) if id(r) not in inside]
        gain += len(undone) - (name in wiring.outputs or len(others) > len(undone))
    return gain


def _transpose_of(name: str, perm: list[int], wiring: Wiring) -> onnx.NodeProto | None:
    maker = wiring.maker(name)
    if maker is None or maker.op_type != "Transpose":
        return None
    return maker if list(attribute(maker, "perm", [])) == perm else None


def _undone(name: str, region: _Region, wiring: Wiring) -> list[onnx.NodeProto]:
    """The Transposes that turn a result back; of those that give outputs of the graph, none."""
    back = np.argsort(region.perm).tolist()
    return [
        r
        for r in wiring.readers(name)
        if r.op_type == "Transpose"
        and list(attribute(r, "perm", [])) == back
        and r.output[0] not in wiring.outputs
        and wiring.can_alias(r.output[0], name)
    ]


def _moved(region: _Region, wiring: Wiring) -> Replacement:
    names: dict[str, str] = {}
    made: list[onnx.NodeProto] = []
    constants: dict[str, Array] = {}
    aliases: dict[str, str] = {}
    gone = list(region.nodes)
    back = np.argsort(region.perm).tolist()
    for name in region.sources:
        maker = _transpose_of(name, region.perm, wiring)
        if maker is not None:
            names[name] = maker.input[0]
            continue
        names[name] = wiring.fresh(f"{name}/back")
        made.append(
            helper.make_node("Transpose", [name], [names[name]], name=names[name], perm=back)
        )
    for node in region.nodes:
        names[node.output[0]] = wiring.fresh(f"{node.output[0]}/plain")
    for node in region.nodes:
        inputs = [names.get(n) or _turned(n, node, back, wiring, constants) for n in node.input]
        made.append(node_with(node, inputs=inputs, outputs=[names[node.output[0]]]))
    for name in region.results:
        undone = _undone(name, region, wiring)
        gone += undone
        aliases.update({n.output[0]: names[name] for n in undone})
        made.append(
            helper.make_node(
                "Transpose", [names[name]], [name], name=f"{name}/turned", perm=region.perm
            )
        )
    return Replacement(gone, made, constants, aliases)


def _turned(
    name: str, node: onnx.NodeProto, back: list[int], wiring: Wiring, constants: dict[str, Array]
) -> str:
    """A constant operand in the other order of axes."""
    value = wiring.array(name) if name else None
    if value is None or value.size == 1 or node.op_type in _BOUNDS:
        return name
    value = value.reshape([1] * (len(back) - value.ndim) + list(value.shape)).transpose(back)
    fresh = wiring.fresh(f"{name}/plain")
    constants[fresh] = value
    return fresh


TRANSPOSES = RulePass(
    "transposes",
    [
        Rule(("Transpose",), _in_a_row, "merged {n} with the one before", "Transpose"),
        Rule(("Transpose",), _across, "took {n} from around elementwise nodes", "Transpose"),
    ],
)
