"""Which layers cost the most accuracy: each is quantized alone, and what that does to the outputs is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.execute import Feed, run_all
from edgevision.converters.graph.index import GraphIndex, attribute, known_shapes
from edgevision.converters.int8.from_onnx import Calibration, int8_layers, quantize_calibrated
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.ranges import Progress, silent

__all__ = ["multiply_adds", "rank_layers"]

_LEAST_POWER = 1e-12


def rank_layers(
    model: onnx.ModelProto,
    measured: Calibration,
    frames: Sequence[Feed],
    *,
    ranges: str,
    rounding: bool,
    progress: Progress = silent,
) -> list[tuple[str, float]]:
    """Layers and their harm, those first that are worth most to put back to float.

    "Only this one quantized" orders layers usefully; "all but this one" hardly agrees with it. Harm is
    noise over signal of the outputs, in the mean over outputs and frames, and is divided by the layer's
    share of all multiply-adds (one layer's even share added, since leaving INT8 has a price by itself):
    the fewest and cheapest layers that repair the most come first.

    Args:
        model: The one that was measured.
        measured: What was measured.
        frames: A few frames; each is run once for every layer.
        ranges: Range method of the recipe.
        rounding: Whether the recipe rounds with second moments.
        progress: Told of each layer.
    """
    layers = int8_layers(model, measured)
    names = {layer.node for layer in layers}
    expected = run_all(model, frames)
    cost = multiply_adds(model, layers)
    total = sum(cost.values()) or 1.0
    found = []
    for done, layer in enumerate(layers, 1):
        alone = quantize_calibrated(
            model, measured, ranges=ranges, rounding=rounding, exclude=names - {layer.node}
        )
        harm = _noise(expected, run_all(alone.model, frames))
        found.append((layer.node, harm / (cost[layer.node] / total + 1 / len(layers))))
        progress("looking for the layers that cost most", done, len(layers))
    return sorted(found, key=lambda item: -item[1])


def multiply_adds(model: onnx.ModelProto, layers: Sequence[Layer]) -> dict[str, float]:
    """Layer → multiply-adds of one run, as far as shapes are known; an open dim counts as 1."""
    index, shapes = GraphIndex(model.graph), known_shapes(model)
    nodes = {node.name: node for node in model.graph.node}
    return {layer.node: _of_layer(nodes[layer.node], layer, index, shapes) for layer in layers}


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
    expected: Sequence[Mapping[str, NDArray[Any]]], actual: Sequence[Mapping[str, NDArray[Any]]]
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
