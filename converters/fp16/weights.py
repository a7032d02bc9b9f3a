"""Whether constants survive float16, and what they become there."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.int8.schemes import LAYER_OPS

__all__ = ["as_half", "unfit_constant", "unfit_weights"]

#: Rounding to float16 moves a normal number by at most 2⁻¹¹ of itself; more than this is a loss.
_LOSS = 2.0**-8
#: A channel of weights this much smaller than the largest is dead: its bias is all that it gives.
_DEAD = 1e-6
_LIMIT = float(np.finfo(np.float16).max)
_DIVIDING = ("Div", "QuantizeLinear", "DequantizeLinear")

_BEYOND = "has a constant beyond 65504"
_TOO_SMALL = "has a constant too small for float16"

Array = NDArray[Any]


def as_half(array: Array, *, saturate: bool = False) -> NDArray[np.float16]:
    """The constant in float16; ``saturate`` takes numbers beyond its largest as that largest."""
    if saturate:
        array = _saturated(array)
    with np.errstate(over="ignore"):  # `unfit_constant` has looked for it
        return array.astype(np.float16)


def unfit_constant(node: onnx.NodeProto, position: int, array: Array) -> str | None:
    """Why the constant at an input of a node must stay float32, or None; not for a layer's weights.

    1. Finite numbers beyond 65504 would become infinite; only as a bound of Clip they mean no
       more than "none", and may saturate.
    2. A layer's bias is added to what is larger: nothing more is asked of it.
    3. A divisor, or a scale of QuantizeLinear or DequantizeLinear, must keep each of its numbers:
       none may become 0. Other constants are judged beside the largest number in them; an epsilon
       stands alone.
    """
    if node.op_type == "Clip":
        array = _saturated(array)
    half = as_half(array)
    if _overflows(array, half):
        return _BEYOND
    if node.op_type in LAYER_OPS or not array.size:
        return None
    error, size = _changes(array, half)
    if not (node.op_type in _DIVIDING and position == 1):
        error, size = error.max(keepdims=True), size.max(keepdims=True)
    return _TOO_SMALL if bool((error > _LOSS * size).any()) else None


def unfit_weights(weights: Array, bias: Array | None, reach: float | None) -> str | None:
    """Why a layer's weights must stay float32, or None.

    A channel may lose no more of what it gives than rounding costs. What it gives is its weights
    times what it reads, and its bias: weights that became tiny when a batch norm was folded in
    often matter nothing beside that.

    Args:
        weights: One row for each output channel, or one row for all.
        bias: One number a row; None without, or where there is one row.
        reach: The largest magnitude that the layer reads; None if unknown, then only the weights
            count.
    """
    half = as_half(weights)
    if _overflows(weights, half):
        return _BEYOND
    rows = weights.reshape(len(weights), -1)
    error, size = (part.sum(axis=1) for part in _changes(rows, half.reshape(rows.shape)))
    alive = size > _DEAD * size.max(initial=0)
    if bias is not None and reach:
        size = size + np.abs(bias.astype(np.float64)) / reach
    return _TOO_SMALL if bool((error > _LOSS * size)[alive].any()) else None


def _saturated(array: Array) -> Array:
    bounded: Array = np.where(np.isfinite(array), np.clip(array, -_LIMIT, _LIMIT), array)
    return bounded


def _overflows(array: Array, half: Array) -> bool:
    return bool((np.isfinite(array) & ~np.isfinite(half)).any())


def _changes(array: Array, half: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By how much each number changes, and how large it is; infinities count as 0."""
    exact = np.where(np.isfinite(array), array, 0).astype(np.float64)
    rounded = np.where(np.isfinite(half), half, 0).astype(np.float64)
    return np.abs(exact - rounded), np.abs(exact)
