"""Second moments of what each layer reads, gathered over frames in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.execute import Feed, open_session
from edgevision.converters.graph.index import GraphIndex, attribute, known_shapes
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.ranges import Feeds
from edgevision.errors import ModelError
from edgevision.progress import Tell, silent

__all__ = ["Moments", "batches", "gather", "measurable", "patches"]

Array = NDArray[Any]

_FRAMES = 48
_POSITIONS = 160  # per layer and frame; 48 × 160 ≈ 7,700 samples for at most a few thousand weights
_BATCH_BYTES = 96 << 20
_SEED = 20240229


@dataclass(frozen=True)
class Moments:
    """What a layer's input looked like at the positions its kernel visits.

    K counts a kernel's weights for one output channel (input channels of a group × kernel size),
    in the order of the flattened weights.

    Attributes:
        gram: (groups, K, K) float32, the mean of x·xᵀ.
        mean: (groups, K) float64, the mean of x.
    """

    gram: NDArray[np.float32]
    mean: NDArray[np.float64]

    @property
    def finite(self) -> bool:
        """False where the squares of very large inputs, from 1e19 on, overflowed float32."""
        return bool(np.isfinite(self.gram).all() and np.isfinite(self.mean).all())


def measurable(model: onnx.ModelProto, layer: Layer) -> bool:
    """Whether a layer's moments fit: not for thousands of inputs, not for ConvTranspose.

    Each output of a transposed convolution sees another subset of its taps.
    """
    groups, length = _gram_shape(layer, GraphIndex(model.graph))
    return layer.op != "ConvTranspose" and 4 * groups * length * length <= _BATCH_BYTES


def batches(model: onnx.ModelProto, layers: Sequence[Layer]) -> list[list[Layer]]:
    """Divide ``layers`` so that one pass's matrices and activations stay within 96 MiB."""
    index = GraphIndex(model.graph)
    sizes = _activation_bytes(model)
    result: list[list[Layer]] = []
    room = 0
    for layer in layers:
        groups, length = _gram_shape(layer, index)
        need = 4 * groups * length * length + sizes.get(layer.data, 0)
        if not result or need > room:
            result.append([])
            room = _BATCH_BYTES
        result[-1].append(layer)
        room -= need
    return result


def gather(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    feeds: Feeds,
    *,
    frames: int,
    progress: Tell = silent,
) -> dict[str, Moments]:
    """One pass over at most 48 frames, evenly taken from ``frames``, for these layers.

    Args:
        model: The float model.
        layers: Conv, Gemm and MatMul nodes; keep them few, see `batches`.
        feeds: Yields the frames; called once.
        frames: How many it yields.
        progress: Told of each frame used.

    Returns:
        Node name → moments. Deterministic: positions are drawn by a seeded generator.
    """
    index = GraphIndex(model.graph)
    nodes = {n.name: n for n in model.graph.node}
    tensors = list(dict.fromkeys(layer.data for layer in layers))
    session = open_session(_exposing(model, tensors))
    sums = {layer.node: _Sum(*_gram_shape(layer, index)) for layer in layers}
    generator = np.random.default_rng(_SEED)
    used = min(_FRAMES, frames)
    for done, feed in enumerate(_evenly(feeds(), frames, used), 1):
        try:
            arrays = dict(zip(tensors, session.run(None, dict(feed)), strict=True))
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError(
                "the model does not run on a frame", received=plain_message(exc)
            ) from exc
        for layer in layers:
            kernel = index.initializers[layer.weights].dims
            sums[layer.node].add(
                patches(arrays[layer.data], nodes[layer.node], layer, kernel, generator)
            )
        progress("moments", done, used)
    return {name: item.result() for name, item in sums.items()}


class _Sum:
    def __init__(self, groups: int, length: int) -> None:
        self.gram = np.zeros((groups, length, length), np.float32)
        self.mean = np.zeros((groups, length))
        self.count = 0

    def add(self, samples: NDArray[np.float32]) -> None:
        """Add (groups, K, n) samples; a frame with an infinity or NaN is left out."""
        if not np.isfinite(samples).all():
            return
        with np.errstate(over="ignore", invalid="ignore"):  # `Moments.finite` tells
            self.gram += samples @ samples.transpose(0, 2, 1)
            self.mean += samples.sum(axis=2)
        self.count += samples.shape[2]

    def result(self) -> Moments:
        count = max(self.count, 1)
        self.gram /= count
        return Moments(self.gram, self.mean / count)


def patches(
    data: Array,
    node: onnx.NodeProto,
    layer: Layer,
    kernel: Sequence[int],
    generator: np.random.Generator,
) -> NDArray[np.float32]:
    """What the kernel sees at some output positions: (groups, K, n) float32.

    Args:
        data: The layer's input: (N, C, spatial…) for Conv, (…, K) for Gemm and MatMul.
        node: The layer's node, for pads, strides and dilations.
        layer: The layer.
        kernel: Shape of its weights.
        generator: Draws the positions.
    """
    if layer.op != "Conv":
        rows = data.reshape(-1, data.shape[-1])
        picked = rows[_some(len(rows), generator)]
        return np.ascontiguousarray(picked.T[None], dtype=np.float32)
    rank = len(kernel) - 2
    strides = attribute(node, "strides", [1] * rank)
    dilations = attribute(node, "dilations", [1] * rank)
    begin, end = _pads(node, data.shape[2:], kernel[2:], strides, dilations)
    sizes = [
        (size + b + e - d * (k - 1) - 1) // s + 1
        for size, b, e, d, k, s in zip(
            data.shape[2:], begin, end, dilations, kernel[2:], strides, strict=True
        )
    ]
    flat = _some(len(data) * math.prod(sizes), generator)
    image, *corners = np.unravel_index(flat, (len(data), *sizes))
    padded = np.pad(data, [(0, 0), (0, 0), *zip(begin, end, strict=True)])
    offsets = np.meshgrid(
        *[np.arange(k) * d for k, d in zip(kernel[2:], dilations, strict=True)], indexing="ij"
    )
    where = [
        c[:, None] * s + o.reshape(1, -1) for c, s, o in zip(corners, strides, offsets, strict=True)
    ]
    # A tuple built first: Python 3.10 takes no star inside brackets.
    place = (image[:, None], *where)
    seen = padded.transpose(0, *range(2, rank + 2), 1)[place]  # (n, taps, C)
    count = len(flat)
    seen = seen.transpose(2, 1, 0).reshape(layer.groups, -1, count)
    return np.ascontiguousarray(seen, dtype=np.float32)


def _some(total: int, generator: np.random.Generator) -> NDArray[np.int64]:
    if total <= _POSITIONS:
        return np.arange(total)
    return generator.integers(0, total, _POSITIONS)


def _pads(
    node: onnx.NodeProto,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Pads at the start and the end of each spatial dim; ONNX operator Conv, ``auto_pad``."""
    rank = len(sizes)
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode in ("NOTSET", "VALID"):
        pads = attribute(node, "pads", [0] * 2 * rank) if mode == "NOTSET" else [0] * 2 * rank
        return list(pads[:rank]), list(pads[rank:])
    begin, end = [], []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-size // s) - 1) * s + d * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin, end


def _gram_shape(layer: Layer, index: GraphIndex) -> tuple[int, int]:
    dims = index.initializers[layer.weights].dims
    if layer.op == "Conv":
        return layer.groups, math.prod(dims[1:])
    return 1, math.prod(dims) // dims[layer.axis]


def _activation_bytes(model: onnx.ModelProto) -> dict[str, int]:
    """float32 size of each tensor; open dims count as 1."""
    return {name: 4 * math.prod(shape) for name, shape in known_shapes(model).items()}


def _evenly(feeds: Iterator[Feed], frames: int, used: int) -> Iterator[Feed]:
    wanted = {int(i) for i in np.linspace(0, max(frames - 1, 0), used).round()}
    for position, feed in enumerate(feeds):
        if position in wanted:
            yield feed


def _exposing(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """``model`` with ``tensors`` as its only outputs; what they do not need does not run."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    del exposed.graph.output[:]
    given = {v.name for v in exposed.graph.input}
    for name in tensors:
        target = name
        if name in given:  # an input cannot be an output as it is
            target = f"{name}/exposed"
            exposed.graph.node.append(helper.make_node("Identity", [name], [target]))
        exposed.graph.output.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, None))
    return exposed
