"""Patterns that keep onnxruntime and TensorRT from running a layer in INT8."""

from __future__ import annotations

import numpy as np
import onnx

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.layers import weighted
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["PADS", "SPLITS"]

# What stands for minus infinity in exported pads; below it no activation is ever found.
_MINUS_INFINITY = -1e30


def _pad_into_maxpool(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. Pad(−∞) before MaxPool becomes the pool's own pads: −∞ would spoil the shared range."""
    pad = wiring.inner(node.input[0], "Pad")
    if pad is None or len([o for o in node.output if o]) != 1:
        return None
    total, value = _pads_with(pad, node, wiring)
    if total is None or value > _MINUS_INFINITY:
        return None
    kernel = attribute(node, "kernel_shape")
    if any(p >= k for p, k in zip(total, [*kernel, *kernel], strict=True)):
        return None  # onnxruntime refuses pads as large as the kernel
    pool = node_with(node, inputs=[pad.input[0]], pads=total, auto_pad="NOTSET")
    return Replacement([pad, node], [pool])


def _pads_with(
    pad: onnx.NodeProto, node: onnx.NodeProto, wiring: Wiring
) -> tuple[list[int] | None, float]:
    """The ``pads`` of a Conv or pool that does what the Pad before it does too, and the value that it pads with.

    None where the Pad does anything else than to enlarge pictures by a constant.
    """
    amounts, value = _pad_amounts(pad, wiring)
    if amounts is None or min(amounts) < 0:
        return None, 0.0
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None, 0.0
    rank = len(amounts) // 2
    if any(amounts[:2]) or any(amounts[rank : rank + 2]):
        return None, 0.0
    spatial = [*amounts[2:rank], *amounts[rank + 2 :]]
    own = attribute(node, "pads", [0] * len(spatial))
    return [a + b for a, b in zip(own, spatial, strict=True)], value


def _pad_amounts(pad: onnx.NodeProto, wiring: Wiring) -> tuple[list[int] | None, float]:
    amounts = wiring.array(pad.input[1]) if len(pad.input) > 1 else None
    if amounts is None or attribute(pad, "mode", "constant") != "constant":
        return None, 0.0
    if len(pad.input) > 3 and pad.input[3]:
        return None, 0.0
    value: float | None = 0.0
    if len(pad.input) > 2 and pad.input[2]:
        value = wiring.number(pad.input[2])
    return (None, 0.0) if value is None else ([int(a) for a in amounts], value)


def _pad_into_conv(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. Pad(0) before Conv becomes the Conv's own pads."""
    pad = wiring.inner(node.input[0], "Pad")
    if pad is None:
        return None
    total, value = _pads_with(pad, node, wiring)
    if total is None or value != 0:
        return None
    conv = node_with(node, inputs=[pad.input[0], *node.input[1:]], pads=total, auto_pad="NOTSET")
    return Replacement([pad, node], [conv])


def _split_conv(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """3. Conv followed by a channel Split becomes one Conv per part: each gets its own scale."""
    conv = wiring.inner(node.input[0], "Conv")
    layer = weighted(conv, wiring)
    if attribute(node, "axis", 0) != 1 or conv is None or layer is None or layer.groups != 1:
        return None
    sizes = _split_sizes(node, wiring, layer.outputs)
    if sizes is None:
        return None
    nodes, constants, start = [], {}, 0
    for part, size in enumerate(sizes):
        rows = slice(start, start + size)
        bias = None if layer.bias is None else layer.bias[rows]
        name = f"{conv.name or conv.output[0]}/{part}"
        made, values = layer.changed(
            wiring, layer.weights[rows], bias, outputs=[node.output[part]], name=name
        )
        nodes.append(made)
        constants.update(values)
        start += size
    return Replacement([conv, node], nodes, constants)


def _split_sizes(node: onnx.NodeProto, wiring: Wiring, channels: int) -> list[int] | None:
    if len(node.input) > 1 and node.input[1]:
        given = wiring.array(node.input[1])
        return None if given is None else [int(s) for s in np.atleast_1d(given)]
    parts = len(node.output)
    return None if channels % parts else [channels // parts] * parts


PADS = RulePass(
    "pads",
    [
        Rule(("MaxPool",), _pad_into_maxpool, "moved {n} of minus infinity into MaxPool", "pad"),
        Rule(("Conv",), _pad_into_conv, "moved {n} of zero into Conv", "pad"),
    ],
)
SPLITS = RulePass(
    "convolutions before a split",
    [Rule(("Split",), _split_conv, "divided {n} where a Split follows", "convolution")],
)
