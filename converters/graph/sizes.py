"""Changes of a picture's size, in the order and form that costs least.

A ConvTranspose whose tiles do not overlap stays as it is: a 1x1 Conv and DepthToSpace compute the same, but
onnxruntime's took 1.5 to 3 times as long, and no less with the Conv in INT8.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.layers import weighted
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["SIZES"]

_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")
# Their sampling points may lie outside the picture, where a constant stands in for it.
_OUTSIDE = ("tf_crop_and_resize",)
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "PRelu")


def _conv_first(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. A 1x1 Conv behind an enlarging Resize goes before it: mixing channels and mixing neighbours with
    weights that sum to 1 do not care which is first, and there are fewer pixels.
    """
    layer = weighted(node, wiring)
    resize = wiring.inner(node.input[0], "Resize")
    if layer is None or resize is None or not _pointwise(node, layer.weights.shape[2:]):
        return None
    where = attribute(resize, "coordinate_transformation_mode", "half_pixel")
    if attribute(resize, "mode", "nearest") not in ("nearest", "linear") or where in _OUTSIDE:
        return None
    if attribute(resize, "axes"):
        return None
    scales = wiring.array(resize.input[2]) if len(resize.input) > 2 and resize.input[2] else None
    if scales is None or scales.size != 4 or (scales[:2] != 1).any() or (scales[2:] < 1).any():
        return None
    # An activation behind it is computed within the Conv, and would not be any more.
    if any(r.op_type in _ACTIVATIONS for r in wiring.readers(node.output[0])):
        return None
    if layer.outputs > 2 * layer.inputs:
        return None
    small = wiring.fresh(f"{node.output[0]}/small")
    conv = node_with(node, inputs=[resize.input[0], *node.input[1:]], outputs=[small])
    larger = node_with(resize, inputs=[small, *resize.input[1:]], outputs=node.output)
    return Replacement([resize, node], [conv, larger])


def _pointwise(node: onnx.NodeProto, kernel: tuple[int, ...]) -> bool:
    steps = [*attribute(node, "strides", [1]), *kernel]
    return len(kernel) == 2 and all(s == 1 for s in steps) and not any(attribute(node, "pads", [0]))


def _halving(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. A linear Resize by ½ is the mean of 2x2 pixels: half-pixel sampling points lie in the middle of four."""
    where = attribute(node, "coordinate_transformation_mode")
    if attribute(node, "mode") != "linear" or where not in _HALF_PIXEL:
        return None
    if attribute(node, "antialias", 0) or attribute(node, "axes"):
        return None
    if wiring.element(node.input[0]) not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return None  # AveragePool takes no integers
    scales = wiring.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scales is not None and scales.size and (scales[-2:] != 0.5).any():
        return None  # 0.51 · 4 is 2 pixels too, but others
    shape, result = wiring.shape(node.input[0]), wiring.shape(node.output[0])
    if shape is None or result is None or len(shape) != 4:
        return None
    sides = [d for d in shape[2:] if isinstance(d, int) and not d % 2 and d >= 4]
    if len(sides) < 2 or result != [*shape[:2], *(d // 2 for d in sides)]:
        return None
    pool = helper.make_node(
        "AveragePool", [node.input[0]], node.output, name=node.name, kernel_shape=[2, 2], strides=[2, 2]
    )  # fmt: skip
    return Replacement([node], [pool])


SIZES = RulePass(
    "changes of size",
    [
        Rule(("Conv",), _conv_first, "moved {n} before the Resize in front", "1x1 Conv"),
        Rule(("Resize",), _halving, "replaced {n} by one half with AveragePool 2x2", "linear Resize"),
    ],
)  # fmt: skip
