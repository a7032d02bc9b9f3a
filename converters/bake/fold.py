"""Folds the normalization of pixels into the weights and bias of a convolution, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.bake.paths import Channels
from edgevision.converters.graph.index import attribute

__all__ = ["Folded", "fold", "is_padded"]

#: A mean smaller than this, in grey levels, is what rounding left of 0.
_NO_MEAN = 1e-9


@dataclass(frozen=True)
class Folded:
    """A convolution that reads pixels.

    Attributes:
        weights: In the dtype and shape of the ones that it had.
        bias: One per output channel, or None where there was none and none is needed.
        means: float64, to be subtracted from the pixels first, one per channel in their own order;
            None where there is nothing to subtract.
    """

    weights: NDArray[Any]
    bias: NDArray[Any] | None
    means: NDArray[np.float64] | None


def fold(
    weights: NDArray[Any],
    bias: NDArray[Any] | None,
    channels: Channels,
    *,
    groups: int,
    padded: bool,
    swap: bool,
) -> Folded:
    """``conv(pixels · gain + offset, weights)`` as a convolution of the pixels.

    1. The gain goes into the weights of its input channel.
    2. Without padding, each output has a share of the offset that is the same everywhere: it goes into
       the bias.
    3. With padding it does not: what is padded with 0 there would be a pixel of 0 here, and not the
       pixel that 0 stands for. So the mean is left to be subtracted first, which makes it 0 again.

    Args:
        weights: ``(out, in / groups, height, width)``.
        bias: ``(out,)`` or None.
        channels: How the convolution's input follows from pixels.
        groups: Of the convolution.
        padded: Whether it pads with zeros.
        swap: The pixels come with their channels in the reverse order; for one group only.
    """
    gain, offset = _of_inputs(channels.gain, weights, groups), channels.offset
    wide = weights.astype(np.float64)
    means = None
    if padded and np.abs(channels.means).max() > _NO_MEAN:
        means = channels.means[::-1] if swap else channels.means
    elif np.abs(channels.means).max() > _NO_MEAN:
        shift = (wide * _of_inputs(offset, weights, groups)).sum(axis=(1, 2, 3))
        bias = (shift if bias is None else bias.astype(np.float64) + shift).astype(weights.dtype)
    scaled = (wide * gain).astype(weights.dtype)
    return Folded(np.ascontiguousarray(scaled[:, ::-1] if swap else scaled), bias, means)


def is_padded(conv: onnx.NodeProto, kernel: Sequence[int], sides: Sequence[int | str]) -> bool:
    """Whether a convolution pads; where that follows from a size that is open, it counts as padded.

    Args:
        conv: The node.
        kernel: Height and width of its weights.
        sides: Height and width of what it reads.
    """
    mode = attribute(conv, "auto_pad", "NOTSET")
    if mode == "VALID":
        return False
    if not mode.startswith("SAME"):
        return any(attribute(conv, "pads", [0]))
    strides = attribute(conv, "strides", [1, 1])
    dilations = attribute(conv, "dilations", [1, 1])
    for side, k, stride, dilation in zip(sides, kernel, strides, dilations, strict=True):
        reach = (k - 1) * dilation + 1
        if not isinstance(side, int):
            if reach > 1:
                return True
        elif (math.ceil(side / stride) - 1) * stride + reach > side:
            return True
    return False


def _of_inputs(
    values: NDArray[np.float64], weights: NDArray[Any], groups: int
) -> NDArray[np.float64]:
    """One value per input channel, in the shape of the weights that read it: ``(out, in / groups, 1, 1)``."""
    per_group = values.reshape(groups, weights.shape[1])
    return np.repeat(per_group, len(weights) // groups, axis=0)[:, :, None, None]
