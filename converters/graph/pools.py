"""Means over whole pictures, as the operator that has a kernel of its own."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from edgevision.converters.graph.editing import Replacement, Wiring
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["POOLS"]


def _full_size(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. AveragePool with a kernel as large as the picture, without pads."""
    shape = wiring.shape(node.input[0])
    if shape is None or shape[2:] != list(attribute(node, "kernel_shape")):
        return None
    if any(attribute(node, "pads", [0])):
        return None
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return _global(node)


def _mean(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. ReduceMean over all axes behind the channels that keeps them; from opset 18 on an input says which."""
    shape = wiring.shape(node.input[0])
    axes = attribute(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        axes = wiring.array(node.input[1])
    if shape is None or len(shape) < 3 or axes is None or not attribute(node, "keepdims", 1):
        return None
    if wiring.element(node.input[0]) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return None
    if sorted(int(a) % len(shape) for a in axes) != list(range(2, len(shape))):
        return None
    return _global(node)


def _mean_of_sum(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """3. The mean of a sum that nobody else reads is the sum of the means: one pass less over the pictures."""
    total = wiring.inner(node.input[0], "Add")
    if total is None or not wiring.same_shape(*total.input):
        return None
    if any(wiring.array(name) is not None for name in total.input):
        return None
    means = [wiring.fresh(f"{node.output[0]}/{side}") for side in ("left", "right")]
    pools = [
        helper.make_node("GlobalAveragePool", [source], [mean], name=mean)
        for source, mean in zip(total.input, means, strict=True)
    ]
    add = helper.make_node("Add", means, node.output, name=node.name)
    return Replacement([total, node], [*pools, add])


def _global(node: onnx.NodeProto) -> Replacement:
    pool = helper.make_node("GlobalAveragePool", [node.input[0]], node.output, name=node.name)
    return Replacement([node], [pool])


POOLS = RulePass(
    "pools",
    [
        Rule(("AveragePool",), _full_size, "replaced {n} with GlobalAveragePool", "full-size AveragePool"),
        Rule(("ReduceMean",), _mean, "replaced {n} with GlobalAveragePool", "spatial ReduceMean"),
        Rule(("GlobalAveragePool",), _mean_of_sum, "took {n} before a sum", "global mean"),
    ],
)  # fmt: skip
