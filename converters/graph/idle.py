"""Nodes that give back what they read, and pairs that could be one node."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["IDLE_NODES"]

# Operators that only give the same values in another shape.
_RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
# Operators of any number of inputs that give back a single one.
_GATHERING = ("Concat", "Sum", "Max", "Min", "Mean")
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0, "Pow": 1.0}
_COMMUTES = ("Add", "Mul")


def _idle(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. The result is an input, unchanged."""
    if len([o for o in node.output if o]) != 1:
        return None
    kept = _kept_input(node, wiring)
    if kept is None or not wiring.can_alias(node.output[0], kept):
        return None
    return Replacement([node], aliases={node.output[0]: kept})


def _kept_input(node: onnx.NodeProto, wiring: Wiring) -> str | None:
    """The input that this node hands on as it is, or None."""
    if node.op_type in _NEUTRAL:
        return _beside_neutral(node, wiring)
    if node.op_type in _GATHERING:
        return str(node.input[0]) if len(node.input) == 1 else None
    return str(node.input[0]) if _does_nothing(node, wiring) else None


def _beside_neutral(node: onnx.NodeProto, wiring: Wiring) -> str | None:
    """``x + 0``, ``x · 1`` and the like; the constant must not make ``x`` larger by broadcasting."""
    sides = (0, 1) if node.op_type in _COMMUTES else (0,)
    for side in sides:
        kept, other = node.input[side], wiring.array(node.input[1 - side])
        if other is None or not other.size or (other != _NEUTRAL[node.op_type]).any():
            continue
        number = other.size == 1 and other.ndim <= min(1, wiring.rank(kept))
        if number or wiring.same_shape(kept, node.output[0]):
            return str(kept)
    return None


def _does_nothing(node: onnx.NodeProto, wiring: Wiring) -> bool:
    if node.op_type == "Identity":
        return True
    if node.op_type == "Dropout":
        return len(node.input) < 3 or not node.input[2] or wiring.number(node.input[2]) == 0
    if node.op_type == "Cast":
        return bool(wiring.element(node.input[0]) == attribute(node, "to"))
    if node.op_type == "Transpose":
        perm = attribute(node, "perm")
        return perm is not None and list(perm) == sorted(perm)
    if not wiring.same_shape(node.input[0], node.output[0]):
        return False
    if node.op_type == "Slice":
        return _steps_forward(node, wiring)
    if node.op_type == "Pad":  # what is cut off on one side may be added on the other
        amounts = wiring.array(node.input[1]) if len(node.input) > 1 else None
        return amounts is not None and not amounts.any()
    if node.op_type in ("MaxPool", "AveragePool"):
        return _looks_at_one(node)
    if node.op_type == "Resize":
        return _resizes_by_one(node, wiring)
    return True  # of the same shape: Reshape and its kin, Expand, Tile, Split into one part


def _steps_forward(node: onnx.NodeProto, wiring: Wiring) -> bool:
    if len(node.input) < 5 or not node.input[4]:
        return True
    steps = wiring.array(node.input[4])
    return steps is not None and bool((steps == 1).all())


def _resizes_by_one(node: onnx.NodeProto, wiring: Wiring) -> bool:
    """Where nothing shifts the sampling points; 1.05 · 10 is 10 pixels too, but others."""
    if attribute(node, "coordinate_transformation_mode", "half_pixel").startswith("tf_"):
        return False
    scales = wiring.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    return scales is None or scales.size == 0 or bool((scales == 1).all())


def _looks_at_one(node: onnx.NodeProto) -> bool:
    sizes = [*attribute(node, "kernel_shape"), *attribute(node, "strides", [1])]
    return all(s == 1 for s in sizes) and not any(attribute(node, "pads", [0]))


def _reshaped_twice(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. A Reshape reads what only another reshaping node made: it could read that one's input."""
    before = wiring.inner(node.input[0], *_RESHAPING)
    target = wiring.array(node.input[1])
    if before is None or target is None or attribute(node, "allowzero", 0):
        return None
    if not (target != 0).all():  # 0 copies a dim of the shape in between
        return None
    return Replacement([before, node], [node_with(node, inputs=[before.input[0], node.input[1]])])


def _squeezed_back(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """3. Squeeze and Unsqueeze of the same axes, or two that become a Reshape to a known shape."""
    before = wiring.inner(node.input[0], *_RESHAPING)
    if before is None:
        return None
    source, result = before.input[0], node.output[0]
    if wiring.same_shape(source, result) and wiring.can_alias(result, source):
        return Replacement([before, node], aliases={result: source})
    shape = wiring.shape(result)
    if shape is None or not all(isinstance(d, int) and d > 0 for d in shape):
        return None
    target = wiring.fresh(f"{result}/shape")
    reshape = onnx.helper.make_node("Reshape", [source, target], [result], name=node.name)
    return Replacement([before, node], [reshape], {target: np.array(shape, np.int64)})


def _cast_twice(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """4. Integers cast to wider integers and then on: the step in between loses nothing."""
    before = wiring.inner(node.input[0], "Cast")
    if before is None:
        return None
    widening = {(TensorProto.INT32, TensorProto.INT64), (TensorProto.UINT8, TensorProto.INT32),
                (TensorProto.UINT8, TensorProto.INT64), (TensorProto.BOOL, TensorProto.INT32),
                (TensorProto.BOOL, TensorProto.INT64)}  # fmt: skip
    if (wiring.element(before.input[0]), attribute(before, "to")) not in widening:
        return None
    return Replacement([before, node], [node_with(node, inputs=[before.input[0]])])


IDLE_NODES = RulePass(
    "idle nodes",
    [
        Rule(
            ("Identity", "Dropout", "Cast", "Transpose", "Slice", "Pad", "Expand", "Tile", "Resize",
             "MaxPool", "AveragePool", "Split", *_RESHAPING, *_GATHERING, *_NEUTRAL),
            _idle, "dropped {n} without effect", "node",
        ),
        Rule(("Reshape",), _reshaped_twice, "merged {n} with the one before", "Reshape"),
        Rule(("Flatten", "Squeeze", "Unsqueeze"), _squeezed_back, "merged {n} with the one before", "reshaping node"),
        Rule(("Cast",), _cast_twice, "merged {n} with the one before", "Cast"),
    ],
)  # fmt: skip
