"""Passes made of local rules, applied until none of them finds anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import onnx

from edgevision.converters.graph.editing import Replacement, Wiring
from edgevision.converters.graph.passes import Pass
from edgevision.converters.graph.pruning import prune
from edgevision.text import counted

__all__ = ["Rule", "RulePass"]

# Every sweep makes a change; more than this many means that rules undo each other.
_MOST_SWEEPS = 50


@dataclass(frozen=True)
class Rule:
    """One pattern and what takes its place.

    Attributes:
        operators: The operators at which it looks.
        find: What to do at such a node, or None. It may look around, but must not change anything.
        sentence: What was done, with ``{n}`` for how many of what.
        thing: What it was done to, in the singular.
    """

    operators: Sequence[str]
    find: Callable[[onnx.NodeProto, Wiring], Replacement | None]
    sentence: str
    thing: str


class RulePass(Pass):
    """Rules that belong together. Its promise: none of them finds anything any more."""

    def __init__(self, name: str, rules: Sequence[Rule]) -> None:
        self.name = name
        self._rules = rules
        self._starts = {operator for rule in rules for operator in rule.operators}

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """None of the operators at which the rules look."""
        if any(n.op_type in self._starts for n in model.graph.node):
            return None
        return "no " + ", ".join(sorted(self._starts))

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Sweep over the nodes; shapes are inferred anew for every sweep."""
        counts = [0] * len(self._rules)
        for _ in range(_MOST_SWEEPS):
            prune(model, [])  # a node that nobody reads is no reader: rules count them
            wiring = Wiring(model)
            found = list(self._sweep(wiring))
            if not found:
                break
            wiring.write_back()
            for number in found:
                counts[number] += 1
        pairs = zip(self._rules, counts, strict=True)
        return model, [r.sentence.format(n=counted(n, r.thing)) for r, n in pairs if n]

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Rules that undo each other come to no end."""
        wiring = Wiring(model)
        left = any(True for node in wiring.nodes for _ in self._found(node, wiring))
        return "its rules come to no end" if left else None

    def _sweep(self, wiring: Wiring) -> Iterator[int]:
        """Apply what is found at the nodes there are, and give the numbers of the rules."""
        for node in list(wiring.nodes):
            for number, change in self._found(node, wiring):
                wiring.apply(change)
                yield number
                break

    def _found(self, node: onnx.NodeProto, wiring: Wiring) -> Iterator[tuple[int, Replacement]]:
        if node.op_type not in self._starts or node.domain not in ("", "ai.onnx"):
            return
        for number, rule in enumerate(self._rules):
            if node.op_type in rule.operators and wiring.holds([node]):
                found = rule.find(node, wiring)
                if found is not None:
                    yield number, found
