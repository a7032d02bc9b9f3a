"""How much each activation and each layer's weights disturb the outputs when they alone are integers.

"Only this one quantized" orders them usefully; "all but this one" hardly agrees with it. The noise of many is about
the sum of what each makes alone (EfficientNet-Lite0: 0.0027 summed, 0.0032 together), so what a set of layers is
worth can be told without trying it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgevision.converters.graph.execute import Feed, open_session
from edgevision.converters.graph.index import GraphIndex, known_shapes
from edgevision.converters.int8.calibrate import Calibration
from edgevision.converters.int8.downstream import Downstream, record
from edgevision.converters.int8.from_onnx import parts_of
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.params import Quantizer
from edgevision.converters.int8.write import IntegerLayer
from edgevision.progress import Tell, silent

__all__ = ["Harm", "tensor_harm", "weight_harm"]

Array = NDArray[Any]
Frame = Mapping[str, Array]
#: What is made of integers, and how.
Key = tuple[str, Hashable]

_LEAST_POWER = 1e-12
#: What is recorded at a time, of all frames together.
_RECORD_BYTES = 256 << 20


@dataclass(frozen=True)
class Harm:
    """Noise power over signal power of the outputs, in the mean over outputs and frames.

    Attributes:
        weights: Layer → what its integer weights do alone.
        tensors: Activation → what its integers do alone.
    """

    weights: Mapping[str, float]
    tensors: Mapping[str, float]


def tensor_harm(
    model: onnx.ModelProto,
    measured: Calibration,
    frames: Sequence[Feed],
    methods: Sequence[str],
    *,
    progress: Tell = silent,
) -> dict[str, dict[str, float]]:
    """Range method → activation → the noise that its integers make alone.

    Args:
        model: The one that was measured; not changed.
        measured: What was measured, with histograms if a method needs them.
        frames: A few frames.
        methods: Of `range_methods.METHODS`.
        progress: Told how far it is.
    """
    chosen = [
        parts_of(model, measured, ranges=method, rounding=False).quantizers for method in methods
    ]
    index = GraphIndex(model.graph)
    probes = []
    for tensor in chosen[0]:
        behind = Downstream(model, index, [node.name for node in index.consumers.get(tensor, [])])
        probes.append(_OfTensor(tensor, behind, {quantizers[tensor] for quantizers in chosen}))
    found = _measure(model, probes, frames, "how much each tensor disturbs", progress)
    return {
        method: {tensor: found[tensor, quantizer] for tensor, quantizer in quantizers.items()}
        for method, quantizers in zip(methods, chosen, strict=True)
    }


def weight_harm(
    model: onnx.ModelProto,
    measured: Calibration,
    frames: Sequence[Feed],
    *,
    rounding: bool,
    progress: Tell = silent,
) -> dict[str, float]:
    """Layer → the noise that its integer weights make alone.

    Args:
        model: The one that was measured; not changed.
        measured: What was measured.
        frames: A few frames.
        rounding: Whether the weights are rounded with second moments.
        progress: Told how far it is.
    """
    parts = parts_of(model, measured, ranges="minmax", rounding=rounding)
    index = GraphIndex(model.graph)
    probes = [
        _OfWeights(layer, Downstream(model, index, [layer.node]), parts.layers[layer.node])
        for layer in parts.plan.layers
    ]
    found = _measure(model, probes, frames, "how much each layer disturbs", progress)
    return {name: noise for (name, _), noise in found.items()}


class _Probe(Protocol):
    """One thing to be made of integers, in one or several ways."""

    @property
    def behind(self) -> Downstream:
        """What depends on it."""

    def change(self, part: onnx.ModelProto) -> None:
        """Makes it so in what depends on it, as far as that is in the graph."""

    def feeds(self, frame: Frame) -> Iterator[tuple[Key, Frame]]:
        """What each way is called, and what is fed to it."""


@dataclass(frozen=True)
class _OfTensor:
    tensor: str
    behind: Downstream
    quantizers: Collection[Quantizer]

    def change(self, part: onnx.ModelProto) -> None:
        pass  # it is fed

    def feeds(self, frame: Frame) -> Iterator[tuple[Key, Frame]]:
        for quantizer in self.quantizers:
            integers = quantizer.integers(frame[self.tensor]).astype(np.float32)
            rounded = (integers - quantizer.zero_point) * quantizer.scale
            yield (self.tensor, quantizer), {**frame, self.tensor: rounded}


@dataclass(frozen=True)
class _OfWeights:
    layer: Layer
    behind: Downstream
    integers: IntegerLayer

    def change(self, part: onnx.ModelProto) -> None:
        node = next(n for n in part.graph.node if n.name == self.layer.node)
        shape = [1] * self.integers.weights.ndim
        shape[self.layer.axis] = -1
        weights = self.integers.weights * self.integers.scales.reshape(shape)
        node.input[1] = _add_constant(part, f"{node.name}/alone", weights)
        if self.integers.bias is not None and self.layer.op != "MatMul":
            del node.input[2:]
            node.input.append(_add_constant(part, f"{node.name}/alone/bias", self.integers.bias))

    def feeds(self, frame: Frame) -> Iterator[tuple[Key, Frame]]:
        yield (self.layer.node, None), frame


def _measure(
    model: onnx.ModelProto,
    probes: Sequence[_Probe],
    frames: Sequence[Feed],
    stage: str,
    progress: Tell,
) -> dict[Key, float]:
    """The noise that each way of each probe makes."""
    noise: dict[Key, float] = {}
    for batch in _batches(model, probes, len(frames)):
        edges = dict.fromkeys(name for probe in batch for name in probe.behind.edge)
        recorded = record(model, edges, frames)
        for probe in batch:
            noise |= _noise(probe, recorded, len(model.graph.output))
            progress(stage, len(noise), None)
    return noise


def _batches(
    model: onnx.ModelProto, probes: Sequence[_Probe], frames: int
) -> Iterator[list[_Probe]]:
    """Divided so that what is recorded for each fits the memory; at least one at a time."""
    sizes = {name: 4 * math.prod(shape) * frames for name, shape in known_shapes(model).items()}
    batch: list[_Probe] = []
    edges: set[str] = set()
    for probe in probes:
        edges |= set(probe.behind.edge)
        if batch and sum(sizes.get(name, 0) for name in edges) > _RECORD_BYTES:
            yield batch
            batch, edges = [], set(probe.behind.edge)
        batch.append(probe)
    if batch:
        yield batch


def _noise(probe: _Probe, recorded: Sequence[Frame], outputs: int) -> dict[Key, float]:
    """Noise power over signal power, averaged over all outputs and frames; infinite where something is."""
    behind = probe.behind
    # A sequence of tensors cannot be fed. No layer's data is one, so this stays out of the ranking.
    seen = all(isinstance(recorded[0][name], np.ndarray) for name in behind.edge)
    if not seen or not behind.outputs:
        return {key: 0.0 for key, _ in probe.feeds(recorded[0])}
    part = behind.model(recorded[0])
    probe.change(part)
    session = open_session(part)
    total: dict[Key, float] = {}
    for frame in recorded:
        for key, changed in probe.feeds(frame):
            values = session.run(behind.outputs, {name: changed[name] for name in behind.edge})
            shares = [
                _share(frame[name], value)
                for name, value in zip(behind.outputs, values, strict=True)
            ]
            total[key] = total.get(key, 0.0) + sum(shares) / (len(recorded) * outputs)
    return {key: value if math.isfinite(value) else math.inf for key, value in total.items()}


def _share(exact: Array, noisy: Array) -> float:
    signal = exact.astype(np.float64)
    error = noisy.astype(np.float64) - signal
    return float(np.square(error).sum() / max(np.square(signal).sum(), _LEAST_POWER))


def _add_constant(model: onnx.ModelProto, name: str, values: Array) -> str:
    model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return name
