"""Lets the first layers of an INT8 graph read the uint8 picture itself: it is integers already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision.converters.bake.builder import Builder, replace_nodes
from edgevision.converters.bake.fold import is_padded
from edgevision.converters.graph.index import GraphIndex, attribute, elem_types, inferred_shapes
from edgevision.converters.graph.pruning import prune
from edgevision.converters.int8.from_onnx import Quantized
from edgevision.converters.int8.schemes import SCHEMES

__all__ = ["with_integer_input"]

Array = NDArray[Any]

#: Grey levels: a quantizer with a scale of 1 rounds every pixel by as much.
_HALF_LEVEL = 0.5


@dataclass(frozen=True)
class _Entry:
    """Where pixels become float and then integers again.

    Attributes:
        quantize: The QuantizeLinear.
        pixels: The uint8 tensor.
        means: float64, what is subtracted from each channel in between, or one value for all.
        layers: The convolutions that read it, each with what dequantizes its data.
    """

    quantize: onnx.NodeProto
    pixels: str
    means: NDArray[np.float64]
    layers: list[onnx.NodeProto]


def with_integer_input(quantized: Quantized, scheme: str) -> Quantized:
    """Takes Cast, Sub and QuantizeLinear out from between a uint8 input and its convolutions.

    1. The pixels are dequantized with a scale of 1. A mean that is a whole number, the same for all
       channels, is the zero point: exact, and padding with it is what it was.
    2. What a mean is beside a zero point that lies within half a grey level of it goes into the bias.
       That is exact but for the padding, which is half a level off at most.
    3. Other means go into the bias altogether, and the convolution's padding becomes pixels of the mean,
       rounded, in front of it. A mean that no pixel can have stays as it is.

    In all cases pixels keep all their bits, which the quantizer that goes rounded.

    Args:
        quantized: From `quantize_calibrated`; not changed.
        scheme: Whose activations must be uint8 with a zero point, or nothing is done.
    """
    kind = SCHEMES[scheme]
    if kind.signed or not kind.asymmetric or not kind.integer_bias:
        return quantized
    model = onnx.ModelProto()
    model.CopyFrom(quantized.model)
    done = []
    for name in [entry.quantize.name for entry in _entries(model)]:
        # Each is looked up again: the one before has put other nodes in the graph.
        entry = next(entry for entry in _entries(model) if entry.quantize.name == name)
        done.append(_rewrite(model, entry))
    if not any(done):
        return quantized
    prune(model, [])
    onnx.checker.check_model(model)
    notes = [*quantized.report.get("notes", []), " ".join(filter(None, done))]
    return replace(quantized, model=model, report={**quantized.report, "notes": notes})


def _entries(model: onnx.ModelProto) -> list[_Entry]:
    index, types = GraphIndex(model.graph), elem_types(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        tensor, means = node.input[0], np.zeros(1)
        maker = index.producers.get(tensor)
        if maker is not None and maker.op_type == "Sub":
            constant = index.array(maker.input[1])
            if constant is None:
                continue
            means = constant.astype(np.float64).reshape(-1)
            maker = index.producers.get(maker.input[0])
        if maker is None or maker.op_type != "Cast":
            continue
        layers = _layers(node, index)
        if types.get(maker.input[0]) == TensorProto.UINT8 and layers:
            found.append(_Entry(node, maker.input[0], means, layers))
    return found


def _layers(quantize: onnx.NodeProto, index: GraphIndex) -> list[onnx.NodeProto]:
    """The INT8 convolutions behind a quantizer; none where anything else reads it."""
    dequantizers = index.readers(quantize)
    readers = [reader for node in dequantizers for reader in index.readers(node)]
    fine = all(n.op_type == "DequantizeLinear" for n in dequantizers) and all(
        r.op_type == "Conv" and r.input[0] in {n.output[0] for n in dequantizers}
        and all(_integers(index, name) is not None for name in list(r.input)[1:])
        for r in readers
    )  # fmt: skip
    outputs = {name for n in [quantize, *dequantizers] for name in n.output}
    return readers if fine and not outputs & set(index.outputs) else []


def _integers(index: GraphIndex, name: str) -> Array | None:
    """A dequantized constant as float64: weights or bias."""
    node = index.producers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    integers, scales = index.array(node.input[0]), index.array(node.input[1])
    if integers is None or scales is None:
        return None
    return integers.astype(np.float64) * scales.reshape(-1, *[1] * (integers.ndim - 1))


def _rewrite(model: onnx.ModelProto, entry: _Entry) -> str:
    """One entry, in place; what was done, or nothing."""
    index, builder = GraphIndex(model.graph), Builder(model, entry.pixels)
    zero = round(float(entry.means.min() + entry.means.max()) / 2)
    off = np.abs(entry.means - zero).max()
    pixels = entry.pixels
    if not (0 <= zero <= 255 and off <= _HALF_LEVEL):
        padded = _padding(model, entry, index)
        possible = entry.means.min() >= -_HALF_LEVEL and entry.means.max() <= 255 + _HALF_LEVEL
        if padded is None or not possible:
            return ""
        zero, pixels = 0, _pad(builder, pixels, entry.means, *padded)
        told = "its padding became pixels of the mean, rounded, and the mean went into its bias"
    elif off == 0:
        told = "exactly" if zero == 0 else f"exactly, with the mean {zero} as zero point"
    else:
        told = f"the mean {zero} is the zero point, and what is left of it went into the bias"
    data = builder.add(
        "DequantizeLinear",
        [
            pixels,
            builder.constant(np.float32(1), "scale"),
            builder.constant(np.uint8(zero), "zero"),
        ],
        "dequantized",
    )
    for layer in entry.layers:
        _rebias(builder, index, layer, entry.means - zero)
        layer.input[0] = data
        if pixels != entry.pixels:
            _set_pads(layer, [0, 0, 0, 0])
    position = next(i for i, n in enumerate(model.graph.node) if n.name == entry.quantize.name)
    nodes = list(model.graph.node)
    replace_nodes(model.graph, [*nodes[:position], *builder.nodes, *nodes[position:]])
    return f"The first layer reads the uint8 picture itself: {told}."


def _rebias(
    builder: Builder, index: GraphIndex, layer: onnx.NodeProto, means: NDArray[np.float64]
) -> None:
    """The bias in steps of the new scale, and in it what is subtracted from the pixels no more."""
    weights = _integers(index, layer.input[1])
    assert weights is not None  # `_layers` takes no others
    groups = attribute(layer, "group", 1)
    channels = np.broadcast_to(means, groups * weights.shape[1]).reshape(groups, -1)
    own = np.repeat(channels, len(weights) // groups, axis=0)[:, :, None, None]
    shift = -(weights * own).sum(axis=(1, 2, 3))
    bias = _integers(index, layer.input[2]) if len(layer.input) > 2 else None
    if bias is None and not shift.any():
        return
    scales = index.array(index.producers[layer.input[1]].input[1])
    assert scales is not None
    total = shift if bias is None else bias + shift
    integers = np.rint(total / scales.astype(np.float64)).astype(np.int32)
    inputs = [
        builder.constant(integers, "bias_integers"),
        builder.constant(scales, "bias_scales"),
        builder.constant(np.zeros(len(scales), np.int32), "bias_zeros"),
    ]
    name = builder.add("DequantizeLinear", inputs, "bias", axis=0)
    del layer.input[2:]
    layer.input.append(name)


def _padding(
    model: onnx.ModelProto, entry: _Entry, index: GraphIndex
) -> tuple[list[int], list[int]] | None:
    """Pads of the only convolution, and the shape of the pixels; None where that is not known."""
    shape = inferred_shapes(model).get(entry.pixels) or []
    if len(entry.layers) != 1 or len(shape) != 4:
        return None
    sides = [d for d in shape if isinstance(d, int)]
    weights = _integers(index, entry.layers[0].input[1])
    if len(sides) != 4 or weights is None:
        return None
    layer, kernel = entry.layers[0], weights.shape[2:]
    if not is_padded(layer, kernel, sides[2:]):
        return [0, 0, 0, 0], sides
    return _explicit(layer, kernel, sides[2:]), sides


def _explicit(layer: onnx.NodeProto, kernel: Sequence[int], sides: Sequence[int]) -> list[int]:
    """Top, left, bottom, right, as numbers where ``auto_pad`` says them (ONNX operator Conv)."""
    mode = attribute(layer, "auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        return list(attribute(layer, "pads"))
    strides = attribute(layer, "strides", [1, 1])
    dilations = attribute(layer, "dilations", [1, 1])
    before, behind = [], []
    for side, k, stride, dilation in zip(sides, kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        total = max(0, (math.ceil(side / stride) - 1) * stride + reach - side)
        small, large = total // 2, total - total // 2
        before.append(large if mode == "SAME_LOWER" else small)
        behind.append(small if mode == "SAME_LOWER" else large)
    return before + behind


def _pad(builder: Builder, pixels: str, means: Array, pads: list[int], shape: list[int]) -> str:
    """Pixels of the mean around the picture: first beside it, then above and below."""
    top, left, bottom, right = pads
    rows, channels, height, width = shape
    levels = np.broadcast_to(np.clip(np.rint(means), 0, 255), channels).astype(np.uint8)
    for axis, before, behind in ((3, left, right), (2, top, bottom)):
        parts = [pixels]
        for place, size in ((0, before), (len(parts) + 1, behind)):
            if size:
                sides = [height, size] if axis == 3 else [size, left + width + right]
                border = np.empty((rows, channels, *sides), np.uint8)
                border[:] = levels[:, None, None]
                parts.insert(place, builder.constant(border, "border"))
        if len(parts) > 1:
            pixels = builder.add("Concat", parts, "padded", axis=axis)
    return pixels


def _set_pads(layer: onnx.NodeProto, pads: list[int]) -> None:
    kept = [a for a in layer.attribute if a.name not in ("pads", "auto_pad")]
    attributes = [*kept, helper.make_attribute("pads", pads)]
    copies = [onnx.AttributeProto.FromString(a.SerializeToString()) for a in attributes]
    del layer.attribute[:]
    layer.attribute.extend(copies)
