"""Channels of one activation brought to like ranges, by scaling the layers before it and behind it: exact, in float.

An activation has one scale for all its channels, a layer's weights one for each. Where a channel's values stay small
beside the tensor's, most of its 255 steps are never used. So the layers that make a channel are multiplied by s, those
that read it divided by s; between them may stand whatever takes a positive factor through (Relu, pools, Add,
Concat …). All that is joined by such nodes shares its factor, channel by channel.

Sources: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019,
arXiv:1906.04721 (factors through Relu); Xiao et al., "SmoothQuant", 2023, arXiv:2211.10438 (by the range of the
activations, to a power below 1: what the activation wins the reading layer's weights lose).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.execute import open_session
from edgevision.converters.graph.index import GraphIndex, attribute, captured, known_shapes
from edgevision.converters.int8.ranges import Feeds
from edgevision.errors import ModelError
from edgevision.progress import Tell, silent

__all__ = ["equalized"]

Factors = NDArray[np.float64]

#: f(s·x) = s·f(x) for s > 0, channel by channel.
_HOMOGENEOUS = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize"}
)
#: Of a range ratio r a channel gets r to this power where all that reads it has weights per channel of their own…
_DEPTHWISE = 1.0
#: … and to this where a reading layer adds channels up. Of 0.5 and 0.75 (what SmoothQuant recommends, and for harder
#: activations) the second kept more of BlazeFace (F1 0.943, not 0.930) and as much of MoveNet.
_DENSE = 0.75
_MOST = 64.0
_FRAMES = 32
#: A model in which no channel gains this much is left as it is.
_WORTH_IT = 2.0


def equalized(
    model: onnx.ModelProto, feeds: Feeds, *, frames: int, progress: Tell = silent
) -> onnx.ModelProto | None:
    """The model with equalized channels, computing what it computed; None where there is nothing to gain.

    Args:
        model: From `clean`; not changed.
        feeds: Gives the calibration frames; run once, 32 of them.
        frames: How many there are.
        progress: Told how far it is.

    Raises:
        ModelError: The model does not run on a frame.
    """
    channels = _Channels(model)
    if not channels.free:
        return None
    largest = _largest(model, channels, feeds, frames, progress)
    factors = _factors(channels, largest)
    if factors.max(initial=1.0) < _WORTH_IT:
        return None
    return _scaled(model, channels, factors)


class _Channels:
    """Which channels must have one factor, and which none.

    Attributes:
        first: Tensor → number of its first channel.
        counts: Tensor → its channels.
        layers: Convolutions whose data and result may be scaled.
        free: Tensors with channels that may be.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.index = GraphIndex(model.graph)
        self._shapes = known_shapes(model)
        self.counts = {n: s[1] for n, s in self._shapes.items() if len(s) > 2 and s[1] > 0}
        starts = np.cumsum([0, *self.counts.values()]).tolist()
        self.first = dict(zip(self.counts, starts, strict=False))
        self._parent = list(range(starts[-1]))
        self._fixed = np.zeros(starts[-1], np.bool_)
        self.layers = [node for node in model.graph.node if self._is_layer(node)]
        names = {node.output[0] for node in self.layers}
        for node in model.graph.node:
            if node.output[0] not in names:
                self._tie(node)
        self._fix([*self.index.inputs, *self.index.outputs])
        self.roots = np.array([self._root(i) for i in range(starts[-1])], np.intp)
        np.logical_or.at(self._fixed, self.roots, self._fixed)
        self.free = [n for n in self.counts if not self._fixed[self.roots[self.slots(n)]].all()]

    def slots(self, tensor: str) -> slice:
        """Numbers of a tensor's channels."""
        start = self.first[tensor]
        return slice(start, start + self.counts[tensor])

    def fixed(self) -> NDArray[np.bool_]:
        """For each channel, whether its factor is 1."""
        found: NDArray[np.bool_] = self._fixed[self.roots]
        return found

    def _is_layer(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in ("Conv", "ConvTranspose"):
            return False
        if node.op_type == "ConvTranspose" and attribute(node, "group", 1) != 1:
            return False
        known = node.input[0] in self.counts and node.output[0] in self.counts
        return known and all(self.index.is_constant(name) for name in node.input[1:])

    def _tie(self, node: onnx.NodeProto) -> None:
        data = self.index.activations(node)
        alike = [*data, node.output[0]]
        counts = {self.counts.get(name) for name in alike}
        whole = None not in counts and len(counts) == 1
        if node.op_type in _HOMOGENEOUS and whole and len(data) == 1:
            self._join(data[0], node.output[0])
        elif node.op_type == "Add" and whole and len(data) == 2:
            self._join(data[0], node.output[0])
            self._join(data[1], node.output[0])
        elif node.op_type == "Concat" and attribute(node, "axis", 0) == 1 and None not in counts:
            self._tie_concat(node)
        else:
            self._fix([*node.input, *captured(node), *node.output])

    def _tie_concat(self, node: onnx.NodeProto) -> None:
        at = self.first[node.output[0]]
        for name in node.input:
            constant = self.index.array(name)
            count = self.counts[name] if constant is None else constant.shape[1]
            for place in range(count):
                if constant is None:
                    self._unite(self.first[name] + place, at + place)
                elif constant[:, place].any():  # zeros may have any factor
                    self._fixed[at + place] = True
            at += count

    def _join(self, one: str, other: str) -> None:
        for place in range(self.counts[one]):
            self._unite(self.first[one] + place, self.first[other] + place)

    def _unite(self, one: int, other: int) -> None:
        self._parent[self._root(one)] = self._root(other)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number

    def _fix(self, tensors: Sequence[str]) -> None:
        for name in tensors:
            if name in self.counts:
                self._fixed[self.slots(name)] = True


def _largest(
    model: onnx.ModelProto, channels: _Channels, feeds: Feeds, frames: int, progress: Tell
) -> dict[str, Factors]:
    """Tensor → the largest magnitude that each of its channels had; what INT8 reads, and no more."""
    tensors = [name for name in channels.free if _has_scale(name, channels)]
    session = open_session(_with_extremes(model, tensors))
    found = {name: np.zeros(channels.counts[name]) for name in tensors}
    every = max(1, frames // _FRAMES)
    for done, feed in enumerate(islice(feeds(), 0, None, every), 1):
        try:
            values = session.run(None, dict(feed))
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError(
                "the model does not run on a frame", received=plain_message(exc)
            ) from exc
        for name, low, high in zip(tensors, values[::2], values[1::2], strict=True):
            magnitude = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
            if np.isfinite(magnitude).all():
                np.maximum(found[name], magnitude, out=found[name])
        progress("ranges of channels", done, math.ceil(frames / every))
    return found


def _has_scale(tensor: str, channels: _Channels) -> bool:
    """A tensor that only an activation reads becomes part of that: its range does not count."""
    readers = channels.index.consumers.get(tensor, [])
    return not (len(readers) == 1 and readers[0].op_type == "Relu")


def _with_extremes(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """``model`` with the extremes of each channel as its only outputs."""
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    graph, shapes = augmented.graph, known_shapes(model)
    del graph.output[:]
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    for tensor in tensors:
        axes = [0, *range(2, len(shapes[tensor]))]
        for kind in ("ReduceMin", "ReduceMax"):
            name = f"{tensor}/channels/{kind}"
            node = helper.make_node(kind, [tensor], [name], keepdims=0)
            if opset >= 18:  # from there on the axes are an input
                node.input.append(f"{name}/axes")
                values = np.array(axes, np.int64)
                graph.initializer.append(numpy_helper.from_array(values, node.input[1]))
            else:
                node.attribute.append(helper.make_attribute("axes", axes))
            graph.node.append(node)
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return augmented


def _factors(channels: _Channels, largest: Mapping[str, Factors]) -> Factors:
    """A factor for each channel: none of it makes a tensor larger than it was."""
    ratios = np.full(len(channels.roots), math.inf)
    for name, magnitude in largest.items():
        slots = channels.slots(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(magnitude > 0, magnitude.max(initial=0.0) / magnitude, math.inf)
        np.minimum.at(ratios, channels.roots[slots], ratio)
    ratios = np.where(np.isfinite(ratios), np.minimum(ratios, _MOST), 1.0)
    power = np.full(len(channels.roots), _DEPTHWISE)
    for node in channels.layers:
        if _group_size(node, channels) > 1:
            power[channels.roots[channels.slots(node.input[0])]] = _DENSE
    free = np.where(channels.fixed(), 1.0, ratios[channels.roots])
    factors: Factors = free ** power[channels.roots]
    return factors


def _group_size(node: onnx.NodeProto, channels: _Channels) -> int:
    return channels.counts[node.input[0]] // int(attribute(node, "group", 1))


def _scaled(model: onnx.ModelProto, channels: _Channels, factors: Factors) -> onnx.ModelProto:
    """The model with the factors in the weights of the layers on both sides."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = {node.output[0]: node for node in result.graph.node}
    for layer in channels.layers:
        node = nodes[layer.output[0]]
        made = factors[channels.slots(layer.output[0])]
        given = 1.0 / factors[channels.slots(layer.input[0])]
        weights = channels.index.array(layer.input[1])
        assert weights is not None  # constant, or it would be no layer
        _replace(result, node, 1, _weights_between(node, weights, given, made))
        bias = channels.index.array(layer.input[2]) if len(layer.input) > 2 else None
        if bias is not None:
            _replace(result, node, 2, bias * made)
    _drop_unread(result)
    return result


def _weights_between(
    node: onnx.NodeProto, weights: NDArray[Any], given: Factors, made: Factors
) -> NDArray[Any]:
    ones = [1] * (weights.ndim - 2)
    if node.op_type == "ConvTranspose":
        return weights * given.reshape(-1, 1, *ones) * made.reshape(1, -1, *ones)
    groups = int(attribute(node, "group", 1))
    grouped = weights.reshape(groups, -1, *weights.shape[1:])
    scaled = grouped * given.reshape(groups, 1, -1, *ones)
    return scaled.reshape(weights.shape) * made.reshape(-1, 1, *ones)


def _replace(model: onnx.ModelProto, node: onnx.NodeProto, place: int, values: Any) -> None:
    """A constant of the node's own: others may share the one that was there."""
    name = f"{node.output[0]}/equalized/{place}"
    model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    node.input[place] = name


def _drop_unread(model: onnx.ModelProto) -> None:
    read = {name for node in model.graph.node for name in [*node.input, *captured(node)]}
    read |= {value.name for value in model.graph.output}
    kept = [t for t in model.graph.initializer if t.name in read]
    copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
    del model.graph.initializer[:]
    model.graph.initializer.extend(copies)
