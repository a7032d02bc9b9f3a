"""Which layers cost the most accuracy in INT8: each tensor and each layer's weights are quantized alone.

"Only this one quantized" orders them usefully; "all but this one" hardly agrees with it. The noise of many is about
the sum of what each makes alone (EfficientNet-Lite0: 0.0027 summed, 0.0032 together), so what a set of layers is
worth can be told without trying it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgevision.converters.graph.execute import Feed, run_all
from edgevision.converters.graph.index import GraphIndex, attribute, known_shapes
from edgevision.converters.int8.from_onnx import Calibration, parts_of
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.params import Quantizer
from edgevision.converters.int8.ranges import Progress, silent
from edgevision.converters.int8.write import IntegerLayer

__all__ = [
    "Harm",
    "float_sets",
    "int8_layers",
    "int8_share",
    "last_layers",
    "measure_harm",
    "multiply_adds",
]

_LEAST_POWER = 1e-12
_STAGE = "looking for what costs most"


@dataclass(frozen=True)
class Harm:
    """Noise power over signal power of the outputs, in the mean over outputs and frames.

    Attributes:
        weights: Layer → what its integer weights do alone.
        tensors: Activation → what its integers do alone.
    """

    weights: Mapping[str, float]
    tensors: Mapping[str, float]


def measure_harm(
    model: onnx.ModelProto,
    measured: Calibration,
    frames: Sequence[Feed],
    *,
    ranges: str,
    rounding: bool,
    progress: Progress = silent,
) -> Harm:
    """Quantizes one thing at a time, the rest in float, and runs the frames.

    Args:
        model: The one that was measured; not changed.
        measured: What was measured.
        frames: A few frames; each is run once for every layer and every activation.
        ranges: Range method of the recipe.
        rounding: Whether the recipe rounds with second moments.
        progress: Told how far it is.
    """
    parts = parts_of(model, measured, ranges=ranges, rounding=rounding)
    expected = run_all(model, frames)
    total, done = len(parts.layers) + len(parts.quantizers), 0
    weights, tensors = {}, {}
    for layer in parts.plan.layers:
        changed = _with_integer_weights(model, layer, parts.layers[layer.node])
        weights[layer.node] = _noise(expected, run_all(changed, frames))
        progress(_STAGE, done := done + 1, total)
    for tensor, quantizer in parts.quantizers.items():
        changed = _with_integer_tensor(model, tensor, quantizer)
        tensors[tensor] = _noise(expected, run_all(changed, frames))
        progress(_STAGE, done := done + 1, total)
    return Harm(weights, tensors)


def float_sets(
    model: onnx.ModelProto,
    measured: Calibration,
    harm: Harm,
    sizes: Sequence[int],
    start: Collection[str] = (),
) -> list[tuple[str, ...]]:
    """Layers to put back to float, the most repair for the least work first, as growing sets.

    An activation is exact again only where the layer that makes it *and* one that reads it are float, so a layer
    is also weighed together with the one before it. Work is a layer's share of all multiply-adds, and an even share
    besides, since leaving INT8 has a price by itself.

    Args:
        model: The one that was measured.
        measured: What was measured.
        harm: What each part costs.
        sizes: About how many layers the sets add, growing; none is more than half of all.
        start: Layers that stay float in any case; they are in every set.
    """
    layers = int8_layers(model, measured)
    wiring = _Wiring(model, layers)
    work = multiply_adds(model, layers)
    total = sum(work.values()) or 1.0
    price = {name: work[name] / total + 1 / len(layers) for name in work}
    chosen = set(start)
    found: list[tuple[str, ...]] = []
    for size in sizes:
        while len(chosen) < size + len(start):
            best = _best_move(chosen, wiring, harm, price)
            if best is None or 2 * len(chosen | best) > len(layers):
                return found
            chosen |= best
        if not found or set(found[-1]) != chosen:
            found.append(tuple(sorted(chosen)))
    return found


def last_layers(model: onnx.ModelProto, measured: Calibration) -> tuple[str, ...]:
    """The layers behind which there is no other: they give the network's answers."""
    names = {layer.node for layer in int8_layers(model, measured)}
    return tuple(sorted(names - GraphIndex(model.graph).reaches(names)))


def int8_layers(model: onnx.ModelProto, measured: Calibration) -> list[Layer]:
    """The layers that become INT8 if no more nodes are excluded, in graph order."""
    return list(parts_of(model, measured, ranges="minmax", rounding=False).plan.layers)


def multiply_adds(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, float]:
    """Layer → multiply-adds of one run, as far as shapes are known; an open dim counts as 1."""
    index, shapes = GraphIndex(model.graph), known_shapes(model)
    nodes = {node.name: node for node in model.graph.node}
    return {layer.node: _of_layer(nodes[layer.node], layer, index, shapes) for layer in layers}


def int8_share(work: Mapping[str, float], floats: Sequence[str]) -> float:
    """The share of all multiply-adds of ``work`` that runs in INT8 when ``floats`` do not, 0…1."""
    total = sum(work.values())
    return 1.0 - sum(work.get(name, 0.0) for name in floats) / total if total else 1.0


class _Wiring:
    """Which layers make and read each activation, looking through whatever stands between them."""

    def __init__(self, model: onnx.ModelProto, layers: Sequence[Layer]) -> None:
        index = GraphIndex(model.graph)
        self.names = {layer.node for layer in layers}
        self.before = {layer.node: self._makers(layer.data, index) for layer in layers}
        tensors = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self.makers = {name: self._makers(name, index) for name in tensors}
        self.readers: dict[str, set[str]] = {}
        for layer in layers:
            for tensor in self._between(layer.data, index):
                self.readers.setdefault(tensor, set()).add(layer.node)

    def _makers(self, tensor: str, index: GraphIndex) -> set[str]:
        """The nearest layers in front of a tensor."""
        found = (index.producers.get(name) for name in self._between(tensor, index))
        return {node.name for node in found if node is not None and node.name in self.names}

    def _between(self, tensor: str, index: GraphIndex) -> Iterator[str]:
        """The tensor, and those before it that no layer separates from it."""
        seen, stack = set(), [tensor]
        while stack:
            name = stack.pop()
            if name in seen or index.is_constant(name):
                continue
            seen.add(name)
            yield name
            node = index.producers.get(name)
            if node is not None and node.name not in self.names:
                stack.extend(node.input)


def _best_move(
    chosen: set[str], wiring: _Wiring, harm: Harm, price: Mapping[str, float]
) -> set[str] | None:
    moves = [{name} for name in price if name not in chosen]
    moves += [(before | {name}) - chosen for name, before in wiring.before.items() if before]
    moves = [move for move in moves if move]
    now = _left(chosen, wiring, harm)

    def worth(move: set[str]) -> float:
        return (now - _left(chosen | move, wiring, harm)) / sum(price[name] for name in move)

    return max(moves, key=worth, default=None)


def _left(floats: set[str], wiring: _Wiring, harm: Harm) -> float:
    """Noise that is left with some layers in float."""
    weights = sum(value for name, value in harm.weights.items() if name not in floats)
    tensors = 0.0
    for name, value in harm.tensors.items():
        around = wiring.makers.get(name, set()) | wiring.readers.get(name, set())
        if not around <= floats:
            tensors += value
    return weights + tensors


def _with_integer_weights(
    model: onnx.ModelProto, layer: Layer, integers: IntegerLayer
) -> onnx.ModelProto:
    """The float model with what a layer's integers stand for in place of its weights and bias."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    shape = [1] * integers.weights.ndim
    shape[layer.axis] = -1
    values = (integers.weights * integers.scales.reshape(shape)).astype(np.float32)
    node = next(n for n in changed.graph.node if n.name == layer.node)
    node.input[1] = f"{layer.node}/alone"
    changed.graph.initializer.append(numpy_helper.from_array(values, node.input[1]))
    if integers.bias is not None and layer.op != "MatMul":
        del node.input[2:]
        node.input.append(f"{layer.node}/alone/bias")
        changed.graph.initializer.append(numpy_helper.from_array(integers.bias, node.input[2]))
    return changed


def _with_integer_tensor(
    model: onnx.ModelProto, tensor: str, quantizer: Quantizer
) -> onnx.ModelProto:
    """The float model with one activation rounded to its integers for all that read it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    scale, zero, middle, rounded = (f"{tensor}/alone/{part}" for part in ("s", "z", "q", "dq"))
    graph.initializer.extend([
        numpy_helper.from_array(np.array(quantizer.scale, np.float32), scale),
        numpy_helper.from_array(np.array(quantizer.zero_point, quantizer.dtype), zero),
    ])  # fmt: skip
    at = 0
    for position, node in enumerate(graph.node):
        if tensor in node.output:
            at = position + 1
        for place, name in enumerate(node.input):
            if name == tensor:
                node.input[place] = rounded
    graph.node.insert(at, helper.make_node("DequantizeLinear", [middle, scale, zero], [rounded]))
    graph.node.insert(at, helper.make_node("QuantizeLinear", [tensor, scale, zero], [middle]))
    return changed


def _of_layer(
    node: onnx.NodeProto, layer: Layer, index: GraphIndex, shapes: Mapping[str, Sequence[int]]
) -> float:
    weights = math.prod(index.initializers[layer.weights].dims)
    if layer.op == "ConvTranspose":  # every input value meets all weights of its channel
        given = shapes.get(layer.data, [])
        return float(weights * math.prod(given[2:]) * (given[0] if given else 1))
    made = shapes.get(node.output[0], [])
    if layer.op == "Conv":
        return float(weights * math.prod(made[2:]) * (made[0] if made else 1))
    rows = math.prod(made[:-1])
    return float(weights * max(1, rows // max(1, attribute(node, "group", 1))))


def _noise(
    expected: Sequence[Mapping[str, NDArray[np.float32]]],
    actual: Sequence[Mapping[str, NDArray[np.float32]]],
) -> float:
    """Noise power over signal power, averaged over outputs and frames; infinite where something is."""
    shares = []
    for ours, theirs in zip(expected, actual, strict=True):
        for name, value in ours.items():
            signal = value.astype(np.float64)
            error = theirs[name].astype(np.float64) - signal
            shares.append(float((error**2).sum() / max((signal**2).sum(), _LEAST_POWER)))
    mean = float(np.mean(shares)) if shares else 0.0
    return mean if math.isfinite(mean) else math.inf
