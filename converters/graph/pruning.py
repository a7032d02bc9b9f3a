"""Outputs that nobody wants, and what only they need."""

from __future__ import annotations

from collections.abc import Collection

import onnx

from edgevision.converters.graph.index import captured
from edgevision.converters.graph.passes import Pass
from edgevision.errors import UsageError
from edgevision.text import counted

__all__ = ["Outputs", "Unused", "prune"]


class Outputs(Pass):
    """The outputs asked for are kept, in the model's order."""

    name = "outputs"
    indispensable = True

    def __init__(self, wanted: Collection[str] | None) -> None:
        self._wanted = wanted

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """All were asked for."""
        wanted, found = self._wanted, [v.name for v in model.graph.output]
        return "all outputs are kept" if wanted is None or set(wanted) == set(found) else None

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Drop the others.

        Raises:
            UsageError: One is not there, or none is asked for.
        """
        found = [v.name for v in model.graph.output]
        wanted = list(self._wanted or [])
        unknown = [name for name in wanted if name not in found]
        if unknown or not wanted:
            raise UsageError(
                f"the model has no output {unknown[0]!r}" if unknown else "no output is to be kept",
                received=f"outputs to keep: {wanted}",
                expected=f"of {found}",
            )
        dropped = [name for name in found if name not in wanted]
        for position in reversed(range(len(found))):
            if found[position] in dropped:
                del model.graph.output[position]
        return model, [f"dropped {counted(len(dropped), 'output')}: {', '.join(dropped)}"]

    def broken(self, model: onnx.ModelProto) -> str | None:
        """There are these and no others."""
        found = {v.name for v in model.graph.output}
        return None if found == set(self._wanted or []) else f"the outputs are {sorted(found)}"


class Unused(Pass):
    """Nodes and initializers from which no output follows are dropped."""

    name = "unused nodes"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """From the outputs backwards."""
        changes: list[str] = []
        prune(model, changes)
        return model, changes

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Everything there is used."""
        nodes, weights = _used(model.graph)
        return None if all(nodes) and all(weights) else "something unused is left"


def prune(model: onnx.ModelProto, changes: list[str]) -> None:
    """Drop unused nodes and initializers in place, and add a sentence about it to ``changes``."""
    nodes, weights = _used(model.graph)
    counts = [
        (len(nodes) - sum(nodes), "unused node"),
        (len(weights) - sum(weights), "unused initializer"),
    ]
    for kept, field in ((nodes, model.graph.node), (weights, model.graph.initializer)):
        for position in reversed(range(len(kept))):
            if not kept[position]:
                del field[position]
    found = [counted(n, what) for n, what in counts if n]
    if found:
        changes.append(f"dropped {' and '.join(found)}")


def _used(graph: onnx.GraphProto) -> tuple[list[bool], list[bool]]:
    """For each node and each initializer, whether an output depends on it."""
    needed = {v.name for v in graph.output}
    used = []
    for node in reversed(graph.node):
        used.append(bool(needed.intersection(node.output)))
        if used[-1]:
            needed.update(n for n in [*node.input, *captured(node)] if n)
    return used[::-1], [t.name in needed for t in graph.initializer]
