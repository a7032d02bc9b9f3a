"""Follows the picture input of a graph to its first convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision.converters.graph.index import GraphIndex, attribute, captured, nodes_in

__all__ = ["Channels", "Found", "follow"]

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
_RANK = 4


@dataclass(frozen=True)
class Channels:
    """What a tensor holds, as the input's pixels: ``pixel · gain + offset``, with its dims in another order.

    Attributes:
        gain: float64, one per channel in the order of the model's input; none is 0.
        offset: Likewise.
        dims: Which dim of the input each dim of the tensor is.
        axis: Which dim of the tensor counts channels.
    """

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    dims: tuple[int, ...]
    axis: int

    @property
    def means(self) -> NDArray[np.float64]:
        """The pixel value that is 0 in the tensor, one per channel."""
        return np.asarray(-self.offset / self.gain, np.float64)


@dataclass(frozen=True)
class Found:
    """Where the input goes.

    Attributes:
        convs: Convolutions that read nothing but pixels, each normalized and transposed in a way of its own.
        shapes: Nodes that only ask how large the input is (Shape, Size), and in which order of dims.
        obstacle: What else reads the input, for people; empty where nothing does. Then nothing can be folded.
    """

    convs: tuple[tuple[onnx.NodeProto, Channels], ...] = ()
    shapes: tuple[tuple[onnx.NodeProto, Channels], ...] = ()
    obstacle: str = ""


def follow(graph: onnx.GraphProto, name: str, start: Channels) -> Found:
    """All readers of a tensor, through what only scales, shifts, casts or transposes it.

    1. Cast between floats, or of the input's integers to floats.
    2. Mul, Add, Sub and Div with a constant for all channels or one for each; BatchNormalization.
    3. Transpose, Identity, a Split in one part.

    Args:
        graph: Cleaned: its initializers are no inputs, and its nodes have names.
        name: The input.
        start: How the tensor follows from pixels.
    """
    index = GraphIndex(graph)
    convs: list[tuple[onnx.NodeProto, Channels]] = []
    shapes: list[tuple[onnx.NodeProto, Channels]] = []
    left = [(name, start)]
    while left:
        tensor, state = left.pop()
        if tensor in index.outputs:
            return Found(obstacle="it is an output of the model")
        for node in index.consumers.get(tensor, []):
            if tensor in captured(node):
                return Found(obstacle=f"the body of a {node.op_type} reads it")
            if node.op_type in ("Shape", "Size"):
                shapes.append((node, state))
            elif node.op_type == "Conv":
                obstacle = _conv_obstacle(node, tensor, state, index)
                if obstacle:
                    return Found(obstacle=obstacle)
                convs.append((node, state))
            else:
                behind = _behind(node, tensor, state, index)
                if behind is None:
                    return Found(obstacle=f"a {node.op_type} reads it")
                left.append((node.output[0], behind))
    if not convs:
        return Found(obstacle="no convolution reads it")
    order = {id(node): i for i, node in enumerate(nodes_in(graph))}
    return Found(tuple(sorted(convs, key=lambda pair: order[id(pair[0])])), tuple(shapes))


def _conv_obstacle(node: onnx.NodeProto, tensor: str, state: Channels, index: GraphIndex) -> str:
    """Why the normalization cannot go into this convolution's weights."""
    if list(node.input).count(tensor) != 1 or node.input[0] != tensor:
        return "it is the weights of a Conv"
    if state.axis != 1:
        return "a Conv reads it with its channels in another place"
    weights = index.array(node.input[1])
    bias = node.input[2] if len(node.input) > 2 else ""
    if weights is None or not index.is_constant(bias):
        return "a Conv reads it whose weights are not constant"
    if weights.ndim != _RANK or weights.shape[1] * attribute(node, "group", 1) != len(state.gain):
        return "a Conv reads it that is made for another number of channels"
    return "" if np.isfinite(weights).all() else "a Conv reads it whose weights are not finite"


def _behind(
    node: onnx.NodeProto, tensor: str, state: Channels, index: GraphIndex
) -> Channels | None:
    """What the node's first output holds, or None where that is no function of single pixels."""
    if node.domain not in ("", "ai.onnx") or sum(bool(o) for o in node.output) != 1:
        return None
    if list(node.input).count(tensor) != 1:
        return None
    if node.op_type == "Identity" or (node.op_type == "Split" and len(node.output) == 1):
        return state
    if node.op_type == "Cast":
        return state if attribute(node, "to") in _FLOATS else None
    if node.op_type == "Transpose":
        return _transposed(node, state)
    if node.op_type in ("Add", "Sub", "Mul", "Div") and len(node.input) == 2:
        return _shifted(node, tensor, state, index)
    if node.op_type == "BatchNormalization":
        return _normalized(node, tensor, state, index)
    return None


def _transposed(node: onnx.NodeProto, state: Channels) -> Channels:
    order: Sequence[int] = attribute(node, "perm", list(range(_RANK))[::-1])
    dims = tuple(state.dims[i] for i in order)
    return replace(state, dims=dims, axis=list(order).index(state.axis))


def _shifted(
    node: onnx.NodeProto, tensor: str, state: Channels, index: GraphIndex
) -> Channels | None:
    first = node.input[0] == tensor
    constant = index.array(node.input[1 if first else 0])
    if constant is None or not np.issubdtype(constant.dtype, np.floating):
        return None
    values = _per_channel(constant, state)
    if values is None or (node.op_type == "Div" and not first):
        return None
    gain, offset = state.gain, state.offset
    if node.op_type == "Add":
        offset = offset + values
    elif node.op_type == "Sub":
        sign = 1.0 if first else -1.0
        gain, offset = sign * gain, sign * (offset - values)
    else:
        factor = values if node.op_type == "Mul" else 1.0 / np.where(values == 0, np.nan, values)
        gain, offset = gain * factor, offset * factor
    return _usable(replace(state, gain=gain, offset=offset))


def _normalized(
    node: onnx.NodeProto, tensor: str, state: Channels, index: GraphIndex
) -> Channels | None:
    given = [index.array(name) for name in node.input[1:]]
    arrays = [a.astype(np.float64) for a in given if a is not None]
    if node.input[0] != tensor or state.axis != 1 or len(arrays) != 4:
        return None
    if attribute(node, "training_mode", 0) or any(a.shape != state.gain.shape for a in arrays):
        return None
    scale, bias, mean, variance = arrays
    factor = scale / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    offset = (state.offset - mean) * factor + bias
    return _usable(replace(state, gain=state.gain * factor, offset=offset))


def _per_channel(constant: NDArray[Any], state: Channels) -> NDArray[np.float64] | None:
    """A constant operand as one value per channel, or None where it differs within one."""
    if constant.ndim > _RANK:
        return None
    shape = (1,) * (_RANK - constant.ndim) + constant.shape
    count = len(state.gain)
    if any(d != 1 for i, d in enumerate(shape) if i != state.axis) or shape[state.axis] not in (
        1,
        count,
    ):
        return None
    values: NDArray[np.float64] = np.broadcast_to(constant.astype(np.float64).reshape(-1), count)
    return np.array(values)


def _usable(state: Channels) -> Channels | None:
    finite = np.isfinite(state.gain).all() and np.isfinite(state.offset).all()
    return state if finite and state.gain.all() else None
