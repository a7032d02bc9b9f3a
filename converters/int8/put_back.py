"""Which layers go back to float: those that cost the most accuracy for their work."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import onnx

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.calibrate import Calibration
from edgevision.converters.int8.from_onnx import parts_of
from edgevision.converters.int8.harm import Harm
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.work import multiply_adds

__all__ = ["float_sets", "int8_layers", "last_layers"]


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
