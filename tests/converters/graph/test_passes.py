"""Passes that do harm are undone, and named; those that cannot be done without are errors."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from edgevision.converters.graph.execute import difference, run_all, trial_feeds
from edgevision.converters.graph.passes import Pass, PassError, run_passes
from edgevision.errors import ModelError

Graph = Callable[..., onnx.ModelProto]
TEXT = "g (float[1,4] x) => (float[1,4] y) { a = Relu(x) b = Neg(a) y = Abs(b) }"


class Rename(Pass):
    """Gives the nodes of one operator another one."""

    def __init__(self, old: str, new: str, **flags: bool) -> None:
        self.name = f"{old} to {new}"
        self.indispensable = flags.get("indispensable", False)
        self.old, self.new = old, new

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        found = any(n.op_type == self.old for n in model.graph.node)
        return None if found else f"no {self.old}"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        for node in model.graph.node:
            node.op_type = self.new if node.op_type == self.old else node.op_type
        return model, [f"made {self.new} of {self.old}"]


class Broken(Rename):
    def broken(self, model: onnx.ModelProto) -> str | None:
        return "never good enough"


class Loose(Pass):
    name = "loose"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        del model.graph.node[0]
        return model, ["dropped a node that is needed"]


class Swapped(Pass):
    name = "swapped"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node]
        del model.graph.node[:]
        model.graph.node.extend(nodes[::-1])
        return model, []


class Raising(Pass):
    name = "raising"

    def __init__(self, error: Exception) -> None:
        self.error_raised = error

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        del model.graph.node[:]
        raise self.error_raised


def judge(model: onnx.ModelProto) -> Callable[[onnx.ModelProto], str | None]:
    """Whether a changed model gives other outputs; counts how often it is asked."""
    feeds = trial_feeds(model)
    expected = run_all(model, feeds)

    def fault(changed: onnx.ModelProto) -> str | None:
        fault.asked += 1  # type: ignore[attr-defined]
        gaps = map(difference, expected, run_all(changed, feeds))
        return "the outputs moved" if max(gaps) > 1e-3 else None

    fault.asked = 0  # type: ignore[attr-defined]
    return fault


def ops(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def test_passes_run_in_order_and_say_what_they_did(graph: Graph) -> None:
    model = graph(TEXT)
    passes = [Rename("Relu", "Abs"), Rename("Abs", "Relu"), Rename("Sin", "Cos")]
    outcome = run_passes(model, passes)
    assert ops(outcome.model) == ["Relu", "Neg", "Relu"]
    assert outcome.changes == ["made Abs of Relu", "made Relu of Abs"]
    assert outcome.idle == {"Sin to Cos": "no Sin"}
    assert ops(model) == ["Relu", "Neg", "Abs"], "the model given must not be changed"


@pytest.mark.parametrize("position", range(8))
def test_the_pass_that_changes_the_outputs_is_found_and_undone(graph: Graph, position: int) -> None:
    # Relu before Neg before Abs: without the signs of the first the others do the same.
    model = graph(TEXT)
    harmless = [("Abs", "Neg"), ("Neg", "Abs")] * 4
    passes = [Rename(*pair) for pair in harmless]
    for number, each in enumerate(passes):
        each.name = f"harmless {number}"
    passes.insert(position, Rename("Relu", "Identity"))
    fault = judge(model)
    outcome = run_passes(model, [*passes, Rename("Neg", "Abs")], fault)
    assert outcome.undone == {"Relu to Identity": "the outputs moved"}
    assert "left out a pass (Relu to Identity): the outputs moved" in outcome.changes
    assert ops(outcome.model)[0] == "Relu"
    assert fault.asked <= 2 + 4, "the guilty one of ten is found by halving"


def test_outputs_are_looked_at_once_when_nothing_is_wrong(graph: Graph) -> None:
    model = graph(TEXT)
    fault = judge(model)
    run_passes(model, [Rename("Neg", "Abs"), Rename("Abs", "Neg")], fault)
    assert fault.asked == 1


def test_two_that_do_harm_are_both_undone(graph: Graph) -> None:
    model = graph(TEXT)
    passes = [Rename("Relu", "Identity"), Rename("Neg", "Abs"), Rename("Abs", "Exp")]
    outcome = run_passes(model, passes, judge(model))
    assert set(outcome.undone) == {"Relu to Identity", "Abs to Exp"}
    assert ops(outcome.model) == ["Relu", "Abs", "Abs"]


@pytest.mark.parametrize(
    ("harmful", "reason"),
    [
        (Broken("Relu", "Abs"), "never good enough"),
        (Loose(), "'a' is read before it is made"),
        (Swapped(), "'b' is read before it is made"),
        (Raising(PassError("no adapter")), "no adapter"),
        (Raising(KeyError("x")), "KeyError: 'x'"),
        (Raising(ModelError("refused", received="a\nb")), "refused"),
    ],
    ids=["promise", "loose end", "order", "fault", "bug", "refused"],
)
def test_a_pass_at_fault_is_undone_and_the_others_are_not(
    graph: Graph, harmful: Pass, reason: str
) -> None:
    outcome = run_passes(graph(TEXT), [Rename("Neg", "Sin"), harmful, Rename("Abs", "Cos")])
    assert outcome.undone == {harmful.name: reason}
    assert ops(outcome.model) == ["Relu", "Sin", "Cos"]
    assert f"left out a pass ({harmful.name}): {reason}" in outcome.changes


def test_a_fault_of_an_indispensable_pass_is_an_error(graph: Graph) -> None:
    model = graph(TEXT)
    passes = [Rename("Neg", "Abs"), Rename("Relu", "Identity", indispensable=True)]
    with pytest.raises(ModelError, match="Relu to Identity") as caught:
        run_passes(model, passes, judge(model))
    assert caught.value.received == "the outputs moved"
    with pytest.raises(ModelError, match="never good enough"):
        run_passes(model, [Broken("Relu", "Abs", indispensable=True)])


def test_a_body_may_read_what_is_made_around_it(graph: Graph) -> None:
    model = graph(
        """g (float[1,4] x, bool c) => (float[1,4] y) {
            a = Relu(x)
            y = If(c) <
                then_branch = t () => (float[1,4] u) { n = Neg(a) u = Abs(n) },
                else_branch = e () => (float[1,4] v) { v = Identity(a) }
            > }"""
    )
    outcome = run_passes(model, [Rename("Relu", "Abs")])
    assert ops(outcome.model) == ["Abs", "If"]
    assert run_passes(model, [Loose()]).undone == {"loose": "'a' is read before it is made"}
