"""Layers with constant weights: scale what comes out, scale or shift what goes in, move the bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.index import attribute

__all__ = ["LAYERS", "Affine", "Weighted", "channelwise", "merged_behind", "weighted"]

Array = NDArray[Any]

#: Operators whose weights this file can change.
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Affine:
    """``factor · x + shift``, each a number or one number per channel, in float64."""

    factor: Array
    shift: Array


@dataclass(frozen=True)
class Weighted:
    """A layer with constant weights.

    Attributes:
        node: The node itself.
        weights: As stored.
        bias: One number per output channel; None if it has none.
        out_axis: The axis of the weights that counts output channels.
        in_axis: The axis that counts input channels (of one group).
        groups: Convolution groups.
    """

    node: onnx.NodeProto
    weights: Array
    bias: Array | None
    out_axis: int
    in_axis: int
    groups: int

    @property
    def outputs(self) -> int:
        """Output channels."""
        return int(self.weights.shape[self.out_axis])

    @property
    def inputs(self) -> int:
        """Input channels of all groups."""
        return int(self.weights.shape[self.in_axis] * self.groups)

    @property
    def pads(self) -> bool:
        """Whether zeros from outside its input count."""
        if self.node.op_type != "Conv":
            return False
        automatic = attribute(self.node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        return automatic or any(attribute(self.node, "pads", [0]))

    def after(self, affine: Affine) -> tuple[Array, Array | None]:
        """Weights and bias of ``affine`` behind the layer; None where it still has no bias."""
        factor = np.broadcast_to(affine.factor, self.outputs)
        weights = self.weights * _along(factor, self.out_axis, self.weights.ndim)
        bias = (0.0 if self.bias is None else self.bias) * factor + affine.shift
        return weights, bias if self.bias is not None or bias.any() else None

    def before(self, affine: Affine) -> tuple[Array, Array | None]:
        """Weights and bias of the layer behind ``affine``."""
        factor = self._of_inputs(affine.factor)
        shift = self._of_inputs(affine.shift)
        others = tuple(i for i in range(self.weights.ndim) if i != self.out_axis)
        added = (self.weights.astype(np.float64) * shift).sum(axis=others)
        bias = added if self.bias is None else self.bias + added
        return self.weights * factor, bias if self.bias is not None or added.any() else None

    def changed(
        self, wiring: Wiring, weights: Array, bias: Array | None, **edits: Any
    ) -> tuple[onnx.NodeProto, dict[str, Array]]:
        """The layer with other weights, and these as constants; ``edits`` as `node_with` has them."""
        inputs = edits.pop("inputs", self.node.input)
        result = edits.get("outputs", self.node.output)[0]
        names = [wiring.fresh(f"{result}/weights")]
        constants = {names[0]: weights.astype(self.weights.dtype)}
        if bias is not None:
            names.append(wiring.fresh(f"{result}/bias"))
            constants[names[1]] = bias.astype(self.weights.dtype)
        return node_with(self.node, inputs=[inputs[0], *names], **edits), constants

    def _of_inputs(self, values: Array) -> Array:
        """One number per input channel, in the shape of the weights."""
        values = np.broadcast_to(values, self.inputs)
        if self.groups == 1:
            return _along(values, self.in_axis, self.weights.ndim)
        # A Conv of groups: each output channel sees the inputs of its own group.
        per_group = values.reshape(self.groups, -1).repeat(self.outputs // self.groups, axis=0)
        return per_group.reshape(*per_group.shape, *[1] * (self.weights.ndim - 2))


def weighted(node: onnx.NodeProto | None, wiring: Wiring) -> Weighted | None:
    """The node as a layer whose weights can be changed, or None."""
    if node is None or node.op_type not in LAYERS:
        return None
    weights = wiring.array(node.input[1])
    bias = wiring.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if weights is None or weights.dtype.kind != "f" or wiring.array(node.input[0]) is not None:
        return None
    if len(node.input) > 2 and node.input[2] and bias is None:
        return None
    groups = attribute(node, "group", 1)
    if node.op_type == "Conv":
        return Weighted(node, weights, bias, 0, 1, groups)
    if node.op_type == "ConvTranspose":
        return Weighted(node, weights, bias, 1, 0, 1) if groups == 1 else None
    return _dense(node, weights, bias) if weights.ndim == 2 else None


def _dense(node: onnx.NodeProto, weights: Array, bias: Array | None) -> Weighted | None:
    """MatMul, or a Gemm that multiplies and adds and does nothing else."""
    if node.op_type == "MatMul":
        return Weighted(node, weights, None, 1, 0, 1)
    if attribute(node, "alpha", 1.0) != 1 or attribute(node, "transA", 0):
        return None
    out_axis = 0 if attribute(node, "transB", 0) else 1
    if bias is not None:
        outputs = weights.shape[out_axis]
        # As many values in a column are one for each row of the batch.
        column = bias.ndim == 2 and len(bias) != 1
        if attribute(node, "beta", 1.0) != 1 or column or bias.size not in (1, outputs):
            return None
        bias = np.broadcast_to(bias.reshape(-1), outputs)
    return Weighted(node, weights, bias, out_axis, 1 - out_axis, 1)


def channelwise(
    node: onnx.NodeProto, wiring: Wiring, *, last: bool = False
) -> tuple[str, Affine] | None:
    """``x`` and what is done to it, for a node that scales or shifts each channel by constants.

    Args:
        node: Mul, Div, Add, Sub or BatchNormalization.
        wiring: The graph it is in.
        last: Channels are on the last axis, as before Gemm and MatMul; else on axis 1.
    """
    if node.op_type == "BatchNormalization":
        return None if last and wiring.rank(node.input[0]) != 2 else _norm(node, wiring)
    sides = (1, 0) if node.op_type in ("Mul", "Add") else (1,)
    for side in sides:
        constant = wiring.array(node.input[side])
        shape = wiring.shape(node.input[1 - side])
        if constant is None or shape is None or constant.dtype.kind != "f":
            continue
        values = _per_channel(constant.astype(np.float64), shape, len(shape) - 1 if last else 1)
        affine = None if values is None else _affine(node.op_type, values)
        if affine is not None:
            return str(node.input[1 - side]), affine
    return None


def merged_behind(
    layer: Weighted, node: onnx.NodeProto, affine: Affine, wiring: Wiring
) -> Replacement:
    """``layer`` that also does what ``node`` does behind it."""
    made, constants = layer.changed(wiring, *layer.after(affine), outputs=node.output)
    return Replacement([layer.node, node], [made], constants)


def _affine(operator: str, values: Array) -> Affine | None:
    one, zero = np.float64(1.0), np.float64(0.0)
    if operator == "Div":
        return Affine(1 / values, np.array(zero)) if values.all() else None
    if operator == "Mul":
        return Affine(values, np.array(zero))
    return Affine(np.array(one), values if operator == "Add" else -values)


def _norm(node: onnx.NodeProto, wiring: Wiring) -> tuple[str, Affine] | None:
    """y = (x − μ)·γ/√(σ²+ε) + β, ONNX operator BatchNormalization."""
    parts = [wiring.array(name) for name in node.input[1:5]]
    if any(p is None for p in parts) or len([o for o in node.output if o]) != 1:
        return None
    gamma, beta, mean, variance = (p.astype(np.float64) for p in parts if p is not None)
    factor = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return str(node.input[0]), Affine(factor, beta - mean * factor)


def _per_channel(constant: Array, shape: list[int | str], axis: int) -> Array | None:
    """The constant as one number, or one per channel; None if it says more, or adds dims."""
    if constant.ndim > len(shape) or not len(shape) > axis or not np.isfinite(constant).all():
        return None
    if constant.size == 1:
        return constant.reshape(())
    padded = constant.reshape([1] * (len(shape) - constant.ndim) + list(constant.shape))
    if padded.size != padded.shape[axis] or padded.size != shape[axis]:
        return None
    return padded.reshape(-1)


def _along(values: Array, axis: int, rank: int) -> Array:
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])
