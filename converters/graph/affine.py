"""Constant factors and shifts become part of the weights beside them."""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import helper

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.layers import (
    LAYERS,
    Affine,
    Weighted,
    channelwise,
    merged_behind,
    weighted,
)
from edgevision.converters.graph.rules import Rule, RulePass

__all__ = ["AFFINE", "FACTORS"]

_ARITHMETIC = ("Mul", "Div", "Add", "Sub")
# What engines recognize as Gelu or a layer norm ends in a constant factor and shift: these stay there.
_MARKS = ("Erf", "Tanh", "Sqrt")
_MARK_WITHIN = 4
# How much smaller than the picture a tensor must be that takes over its factor.
_SMALL = 8


def _behind(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """1. A factor, shift or batch norm behind a layer."""
    for name in node.input[:2]:
        layer = weighted(wiring.inner(name, *LAYERS), wiring)
        if layer is None:
            continue
        dense = layer.node.op_type in ("Gemm", "MatMul")
        found = channelwise(node, wiring, last=dense)
        if found is None or found[0] != name:
            continue
        if layer.node.op_type == "MatMul" and found[1].shift.any():
            return _matmul_with_bias(layer, node, found[1], wiring)
        return merged_behind(layer, node, found[1], wiring)
    return None


def _matmul_with_bias(
    layer: Weighted, node: onnx.NodeProto, affine: Affine, wiring: Wiring
) -> Replacement | None:
    """A batch norm behind MatMul makes a Gemm of it; a plain Add stays, engines fuse it."""
    shape = wiring.shape(layer.node.input[0])
    if node.op_type != "BatchNormalization" or shape is None or len(shape) != 2:
        return None
    made, constants = layer.changed(wiring, *layer.after(affine), outputs=node.output)
    gemm = helper.make_node("Gemm", made.input, made.output, name=made.name)
    return Replacement([layer.node, node], [gemm], constants)


def _in_front(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """2. The same in front of a layer; a shift only where no padding comes in between."""
    layer = weighted(node, wiring)
    before = wiring.maker(node.input[0])
    known = (*_ARITHMETIC, "BatchNormalization")
    if layer is None or before is None or before.op_type not in known:
        return None
    found = channelwise(before, wiring, last=node.op_type in ("Gemm", "MatMul"))
    if found is None or not _only_layers(node.input[0], wiring):
        return None
    source, affine = found
    if before.op_type != "BatchNormalization" and _ends_a_pattern(source, wiring):
        return None
    shifts = bool(affine.shift.any())
    if shifts and (layer.pads or node.op_type in ("ConvTranspose", "MatMul")):
        return None
    weights, bias = layer.before(affine)
    made, constants = layer.changed(wiring, weights, bias, inputs=[source])
    gone = [node, before] if wiring.private(node.input[0]) else [node]
    return Replacement(gone, [made], constants)


def _norm_in_front(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """The same for a batch norm alone."""
    before = wiring.maker(node.input[0])
    norm = before is not None and before.op_type == "BatchNormalization"
    return _in_front(node, wiring) if norm else None


def _ends_a_pattern(name: str, wiring: Wiring, depth: int = _MARK_WITHIN) -> bool:
    """Whether a tensor is arithmetic on what only Gelu or a layer norm computes."""
    maker = wiring.maker(name)
    if maker is None or not depth:
        return False
    if maker.op_type in _MARKS:
        return True
    inner = maker.input if maker.op_type in _ARITHMETIC else ()
    return any(_ends_a_pattern(n, wiring, depth - 1) for n in inner)


def _only_layers(name: str, wiring: Wiring) -> bool:
    """Whether every reader is a layer, so that the tensor itself goes."""
    readers = [weighted(n, wiring) for n in wiring.readers(name)]
    if name in wiring.outputs or not all(readers):
        return False
    return all(r is not None and name not in r.node.input[1:] for r in readers)


def _factor_before_shift(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """3. ``k·x + b`` before a padded layer is ``k·(x + b/k)``: the factor goes into the weights."""
    layer = weighted(node, wiring)
    add = wiring.inner(node.input[0], "Add", "Sub")
    if layer is None or add is None or not layer.pads:
        return None
    shift = channelwise(add, wiring)
    scale = wiring.inner(shift[0], "Mul", "Div") if shift is not None else None
    factor = channelwise(scale, wiring) if scale is not None else None
    if shift is None or scale is None or factor is None or not factor[1].factor.all():
        return None
    moved = np.asarray(shift[1].shift / factor[1].factor)
    if not np.isfinite(moved).all() or np.abs(moved).max() > np.finfo(np.float32).max / 2:
        return None
    rank = layer.weights.ndim
    if _ends_a_pattern(factor[0], wiring):
        return None
    result = wiring.fresh(f"{node.output[0]}/shifted")
    name = wiring.fresh(f"{result}/shift")
    shifted = helper.make_node("Add", [factor[0], name], [result], name=add.name)
    made, constants = layer.changed(wiring, *layer.before(factor[1]), inputs=[result])
    constants[name] = moved.reshape([-1] + [1] * (rank - 2)).astype(layer.weights.dtype)
    return Replacement([node, add, scale], [shifted, made], constants)


def _before_squeeze(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """The same to the layer before a Squeeze, if the channels stay on axis 1."""
    squeeze = wiring.inner(node.input[0], "Squeeze")
    if squeeze is None or len(squeeze.input) < 2:
        return None
    axes, rank = wiring.array(squeeze.input[1]), wiring.rank(squeeze.input[0])
    if axes is None or not rank or any(a % rank < 2 for a in axes.tolist()):
        return None
    full = wiring.fresh(f"{node.output[0]}/full")
    norm = node_with(node, inputs=[squeeze.input[0], *node.input[1:]], outputs=[full])
    after = node_with(squeeze, inputs=[full, squeeze.input[1]], outputs=node.output)
    return Replacement([squeeze, node], [norm, after])


def _past_a_sum(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """4. A shift behind the sum of a layer and something else is the layer's bias."""
    shift = channelwise(node, wiring)
    total = wiring.inner(shift[0], "Add", "Sum") if shift is not None else None
    if shift is None or total is None or len(total.input) != 2:
        return None
    for side in (0, 1):
        layer = weighted(wiring.inner(total.input[side], "Conv", "ConvTranspose"), wiring)
        if layer is None or not wiring.same_shape(total.input[side], total.output[0]):
            continue
        made, constants = layer.changed(wiring, *layer.after(shift[1]))
        add = node_with(total, outputs=node.output)
        return Replacement([layer.node, total, node], [made, add], constants)
    return None


def _two_in_a_row(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """5. Two factors, or two shifts, one behind the other."""
    kinds = ("Mul", "Div") if node.op_type in ("Mul", "Div") else ("Add", "Sub")
    second = channelwise(node, wiring)
    before = wiring.inner(second[0], *kinds) if second is not None else None
    first = channelwise(before, wiring) if before is not None else None
    if second is None or before is None or first is None:
        return None
    product = kinds[0] == "Mul"
    one, two = ((a[1].factor if product else a[1].shift) for a in (first, second))
    both = np.asarray(one * two if product else one + two)
    name = wiring.fresh(f"{node.output[0]}/{'factor' if product else 'shift'}")
    rank = wiring.rank(first[0])
    dtype = helper.tensor_dtype_to_np_dtype(wiring.element(node.output[0]))
    value = both.reshape([-1] + [1] * (rank - 2)) if both.size > 1 else both.reshape(())
    made = helper.make_node(kinds[0], [first[0], name], node.output, name=node.name)
    return Replacement([before, node], [made], {name: value.astype(dtype)})


def _sum_of_two(node: onnx.NodeProto, _: Wiring) -> Replacement | None:
    """6. Sum of two inputs is Add."""
    if len(node.input) != 2:
        return None
    return Replacement([node], [helper.make_node("Add", node.input, node.output, name=node.name)])


def _sinks(node: onnx.NodeProto, wiring: Wiring) -> Replacement | None:
    """7. A number by which a picture is multiplied goes where it costs nothing: into the weights of the layers
    behind, or to a small tensor: the picture's mean, or what it is multiplied with next.
    """
    found = channelwise(node, wiring)
    if found is None or found[1].factor.size != 1 or found[1].shift.any():
        return None
    name = node.output[0]
    readers = wiring.readers(name)
    if name in wiring.outputs or not readers or not all(_takes(name, r, wiring) for r in readers):
        return None
    source, factor = found[0], found[1].factor
    if _ends_a_pattern(source, wiring):
        return None
    number = wiring.fresh(f"{name}/factor")
    dtype = helper.tensor_dtype_to_np_dtype(wiring.element(name))
    constants = {number: factor.astype(dtype)}
    made: list[onnx.NodeProto] = []
    for reader in readers:
        nodes, fresh = _taken(name, source, number, factor, reader, wiring)
        made += nodes
        constants.update(fresh)
    return Replacement([node, *readers], made, constants)


def _takes(name: str, reader: onnx.NodeProto, wiring: Wiring) -> bool:
    layer = weighted(reader, wiring)
    if layer is not None:
        return bool(reader.input[0] == name)
    if reader.op_type == "GlobalAveragePool":
        return True
    if reader.op_type != "Mul" or reader.input[0] == reader.input[1]:
        return False
    other = next(n for n in reader.input if n != name)
    sizes = [_size(n, wiring) for n in (name, other)]
    return wiring.array(other) is None and 0 < sizes[1] * _SMALL <= sizes[0]


def _taken(
    name: str,
    source: str,
    number: str,
    factor: np.ndarray,
    reader: onnx.NodeProto,
    wiring: Wiring,
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """What becomes of one reader."""
    layer = weighted(reader, wiring)
    if layer is not None:
        affine = Affine(factor, np.zeros(()))
        made, constants = layer.changed(wiring, *layer.before(affine), inputs=[source])
        return [made], constants
    small = wiring.fresh(f"{reader.output[0]}/unscaled")
    if reader.op_type == "GlobalAveragePool":
        pool = node_with(reader, inputs=[source], outputs=[small])
        return [pool, helper.make_node("Mul", [small, number], reader.output, name=small)], {}
    other = next(n for n in reader.input if n != name)
    scaled = helper.make_node("Mul", [other, number], [small], name=small)
    return [scaled, node_with(reader, inputs=[source, small])], {}


def _size(name: str, wiring: Wiring) -> int:
    """Elements of one picture; 0 where that is not known."""
    shape = wiring.shape(name)
    dims = [d for d in (shape or [0])[1:] if isinstance(d, int)]
    return math.prod(dims) if shape is not None and len(dims) == len(shape) - 1 else 0


AFFINE = RulePass(
    "constant factors and shifts",
    [
        Rule(("Sum",), _sum_of_two, "replaced {n} of two tensors with Add", "Sum"),
        Rule(("BatchNormalization",), _before_squeeze, "moved {n} before a Squeeze", "BatchNormalization"),
        Rule(("BatchNormalization",), _behind, "merged {n} into the layer before", "BatchNormalization"),
        Rule(LAYERS, _norm_in_front, "merged {n} into the layer behind", "BatchNormalization"),
        Rule(_ARITHMETIC, _two_in_a_row, "merged {n} with the one before", "constant operand"),
        Rule(_ARITHMETIC, _behind, "merged {n} into the layer before", "constant operand"),
        Rule(_ARITHMETIC, _past_a_sum, "made {n} behind a sum the bias of a layer before it", "shift"),
        Rule(LAYERS, _in_front, "merged {n} into the layer behind", "constant operand"),
        Rule(LAYERS, _factor_before_shift, "merged {n} before a shift into the layer behind", "factor"),
    ],
)  # fmt: skip
FACTORS = RulePass(
    "factors of whole pictures",
    [Rule(("Mul", "Div"), _sinks, "moved {n} of whole pictures into weights and small tensors", "factor")],
)  # fmt: skip
