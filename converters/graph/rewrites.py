"""Rewrite patterns that keep onnxruntime and TensorRT from running a layer in INT8.

Each rewrite is exact up to rounding; `clean` compares the outputs before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.converters.graph.index import GraphIndex, attribute, shape_of
from edgevision.text import counted

__all__ = ["rewrite"]

# What stands for minus infinity in exported pads; below it no activation is ever found.
_MINUS_INFINITY = -1e30


def rewrite(model: onnx.ModelProto, changes: list[str]) -> None:
    """Apply every rewrite in place, until none finds anything, and say what was done.

    1. Pad(−∞) before MaxPool becomes the pool's own pads: −∞ would spoil the shared range.
    2. Conv followed by a channel Split becomes one Conv per part: each gets its own scale.
    3. A linear half-pixel Resize by ½ is the mean of 2×2 pixels: AveragePool has INT8 kernels.
    4. AveragePool over the whole image becomes GlobalAveragePool.
    5. BatchNormalization behind ConvTranspose is merged into its weights.
    6. Identity and Dropout that give a graph output go; those inside are folded before.
    """
    rules: list[tuple[Callable[[onnx.NodeProto, GraphIndex], Replacement | None], str, str]] = [
        (_pad_into_maxpool, "moved {n} of minus infinity into MaxPool", "pad"),
        (_split_conv, "divided {n} where a Split follows", "convolution"),
        (_halving_resize, "replaced {n} by one half with AveragePool 2x2", "linear Resize"),
        (_global_pool, "replaced {n} with GlobalAveragePool", "full-size AveragePool"),
        (_nothing_done, "dropped {n} (Identity, Dropout) before the outputs", "idle node"),
        (_transposed_batch_norm, "merged {n} into ConvTranspose", "BatchNormalization"),
    ]
    for rule, sentence, thing in rules:
        count = 0
        while _apply_once(model, rule):
            count += 1
        if count:
            changes.append(sentence.format(n=counted(count, thing)))


class Replacement:
    """Nodes to take out, nodes and constants to put in their place."""

    def __init__(
        self,
        remove: Sequence[onnx.NodeProto],
        insert: Sequence[onnx.NodeProto],
        constants: Sequence[onnx.TensorProto] = (),
    ) -> None:
        self.remove, self.insert, self.constants = remove, insert, constants


def _apply_once(
    model: onnx.ModelProto, rule: Callable[[onnx.NodeProto, GraphIndex], Replacement | None]
) -> bool:
    # Shapes are needed by some rules and go stale with every change.
    inferred = onnx.shape_inference.infer_shapes(model)
    index = GraphIndex(inferred.graph)
    for node in inferred.graph.node:
        found = rule(node, index)
        if found is not None:
            _substitute(model.graph, inferred.graph, found)
            return True
    return False


def _substitute(graph: onnx.GraphProto, source: onnx.GraphProto, found: Replacement) -> None:
    """Put the new nodes where the last removed one stood, so the order stays topological."""
    removed = [id(n) for n in found.remove]
    last = max(i for i, n in enumerate(source.node) if id(n) in removed)
    nodes: list[onnx.NodeProto] = []
    for position, node in enumerate(source.node):
        if position == last:
            nodes.extend(found.insert)
        elif id(node) not in removed:
            nodes.append(node)
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(found.constants)


def _pad_into_maxpool(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 1."""
    if node.op_type != "MaxPool" or len([o for o in node.output if o]) != 1:
        return None
    pad = index.producers.get(node.input[0])
    if pad is None or pad.op_type != "Pad" or len(index.consumers[pad.output[0]]) != 1:
        return None
    amounts, value = _pad_amounts(pad, index)
    if amounts is None or value > _MINUS_INFINITY or pad.output[0] in index.outputs:
        return None
    rank = len(amounts) // 2
    spatial = [*amounts[2:rank], *amounts[rank + 2 :]]
    if any(amounts[:2]) or any(amounts[rank : rank + 2]) or min(spatial) < 0:
        return None
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    kernel = attribute(node, "kernel_shape")
    own = attribute(node, "pads", [0] * len(spatial))
    total = [a + b for a, b in zip(own, spatial, strict=True)]
    if any(p >= k for p, k in zip(total, [*kernel, *kernel], strict=True)):
        return None  # onnxruntime refuses pads as large as the kernel
    pool = _with(node, pads=total, auto_pad="NOTSET")
    pool.input[0] = pad.input[0]
    return Replacement([pad, node], [pool])


def _pad_amounts(pad: onnx.NodeProto, index: GraphIndex) -> tuple[list[int] | None, float]:
    amounts = index.array(pad.input[1]) if len(pad.input) > 1 else None
    if amounts is None or attribute(pad, "mode", "constant") != "constant":
        return None, 0.0
    if len(pad.input) > 3 and pad.input[3]:
        return None, 0.0
    value = 0.0
    if len(pad.input) > 2 and pad.input[2]:
        constant = index.array(pad.input[2])
        if constant is None:
            return None, 0.0
        value = float(constant.reshape(-1)[0])
    return [int(a) for a in amounts], value


def _split_conv(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 2."""
    if node.op_type != "Split" or attribute(node, "axis", 0) != 1:
        return None
    conv = index.producers.get(node.input[0])
    if conv is None or conv.op_type != "Conv" or attribute(conv, "group", 1) != 1:
        return None
    if len(index.consumers[conv.output[0]]) != 1 or conv.output[0] in index.outputs:
        return None
    weights = index.array(conv.input[1])
    bias = index.array(conv.input[2]) if len(conv.input) > 2 else None
    if weights is None or (bias is None and len(conv.input) > 2 and conv.input[2]):
        return None
    sizes = _split_sizes(node, index, len(weights))
    if sizes is None:
        return None
    nodes, constants, start = [], [], 0
    for part, size in enumerate(sizes):
        stop = start + size
        names = [f"{conv.input[1]}/{node.output[part]}"]
        constants.append(_tensor(weights[start:stop], names[0]))
        if bias is not None:
            names.append(f"{conv.input[2]}/{node.output[part]}")
            constants.append(_tensor(bias[start:stop], names[1]))
        piece = _with(conv)
        piece.name = f"{conv.name or conv.output[0]}/{part}"
        del piece.input[1:]
        piece.input.extend(names)
        piece.output[0] = node.output[part]
        nodes.append(piece)
        start = stop
    return Replacement([conv, node], nodes, constants)


def _split_sizes(node: onnx.NodeProto, index: GraphIndex, channels: int) -> list[int] | None:
    if len(node.input) > 1 and node.input[1]:
        given = index.array(node.input[1])
        return None if given is None else [int(s) for s in given]
    parts = len(node.output)
    return None if channels % parts else [channels // parts] * parts


def _halving_resize(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 3. At scale ½, half-pixel sampling points lie in the middle of four pixels."""
    if node.op_type != "Resize" or attribute(node, "mode") != "linear":
        return None
    if attribute(node, "coordinate_transformation_mode") not in (
        "half_pixel",
        "pytorch_half_pixel",
    ):
        return None
    shape = _shape(node.input[0], index)
    if attribute(node, "antialias", 0) or attribute(node, "axes") or shape is None:
        return None
    if len(shape) != 4 or any(not isinstance(d, int) or d % 2 or d < 4 for d in shape[2:]):
        return None
    out = _shape(node.output[0], index)
    if out is None or out[2:] != [int(d) // 2 for d in shape[2:]] or out[:2] != shape[:2]:
        return None
    pool = helper.make_node(
        "AveragePool",
        [node.input[0]],
        [node.output[0]],
        name=node.name,
        kernel_shape=[2, 2],
        strides=[2, 2],
    )
    return Replacement([node], [pool])


def _global_pool(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 4."""
    if node.op_type != "AveragePool" or any(attribute(node, "pads", [0])):
        return None
    shape = _shape(node.input[0], index)
    if shape is None or shape[2:] != list(attribute(node, "kernel_shape")):
        return None
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    pool = helper.make_node("GlobalAveragePool", [node.input[0]], [node.output[0]], name=node.name)
    return Replacement([node], [pool])


def _transposed_batch_norm(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 5. y = (x − μ)·γ/√(σ²+ε) + β, ONNX operator BatchNormalization."""
    if node.op_type != "BatchNormalization" or len([o for o in node.output if o]) != 1:
        return None
    conv = index.producers.get(node.input[0])
    if conv is None or conv.op_type != "ConvTranspose" or attribute(conv, "group", 1) != 1:
        return None
    if len(index.consumers[conv.output[0]]) != 1 or conv.output[0] in index.outputs:
        return None
    weights = index.array(conv.input[1])
    parts = [index.array(name) for name in node.input[1:5]]
    if weights is None or any(p is None for p in parts):
        return None
    gamma, beta, mean, variance = (p.astype(np.float64) for p in parts if p is not None)
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    old = index.array(conv.input[2]) if len(conv.input) > 2 and conv.input[2] else 0.0
    if old is None:
        return None
    bias = (old - mean) * factor + beta
    merged = weights * factor.reshape(1, -1, *[1] * (weights.ndim - 2))
    names = [f"{conv.input[1]}/{node.output[0]}", f"{node.output[0]}/bias"]
    piece = _with(conv)
    del piece.input[1:]
    piece.input.extend(names)
    piece.output[0] = node.output[0]
    constants = [
        _tensor(merged.astype(weights.dtype), names[0]),
        _tensor(bias.astype(weights.dtype), names[1]),
    ]
    return Replacement([conv, node], [piece], constants)


def _nothing_done(node: onnx.NodeProto, index: GraphIndex) -> Replacement | None:
    """Rule 6. The maker of the value takes over the name of the output."""
    if node.op_type not in ("Identity", "Dropout") or len([o for o in node.output if o]) != 1:
        return None
    maker = index.producers.get(node.input[0])
    training = index.array(node.input[2]) if len(node.input) > 2 else None
    if maker is None or (training is not None and training.any()):
        return None
    if len(index.consumers[node.input[0]]) != 1 or node.input[0] in index.outputs:
        return None
    if len(maker.output) > 1:  # another output may be read before this place
        return None
    piece = _with(maker)
    piece.output[0] = node.output[0]
    return Replacement([maker, node], [piece])


def _shape(name: str, index: GraphIndex) -> list[int | str] | None:
    values = [*index.graph.value_info, *index.graph.output, *index.graph.input]
    for value in values:
        if value.name == name:
            return shape_of(value)
    return None


def _with(node: onnx.NodeProto, **attributes: Any) -> onnx.NodeProto:
    """A copy of ``node`` with some attributes set."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    kept = [a for a in copy.attribute if a.name not in attributes]
    kept += [helper.make_attribute(k, v) for k, v in attributes.items()]
    fresh = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in kept]
    del copy.attribute[:]
    copy.attribute.extend(fresh)
    return copy


def _tensor(array: NDArray[Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(array), name)
