"""What is there twice is there once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.duplicates import SHARED_CONSTANTS, SHARED_NODES
from edgevision.converters.graph.passes import run_passes

Graph = Callable[..., onnx.ModelProto]
After = Callable[..., list[str]]
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)

BRANCHES = """y = If(t) <then_branch = p () => (float[2,3] e) { e = Add(a, d) },
    else_branch = q () => (float[2,3] f) { f = Neg(a) }>"""
NODES = {
    "equal": ("a = Relu(x) b = Relu(x) y = Add(a, b)", 2),
    "equal in turn": ("a = Relu(x) b = Relu(x) c = Neg(a) d = Neg(b) y = Add(c, d)", 3),
    "attributes differ": ("a = Softmax<axis=0>(x) b = Softmax<axis=1>(x) y = Add(a, b)", 3),
    "inputs differ": ("a = Relu(x) b = Relu(a) y = Add(a, b)", 3),
    "random": ("a = RandomUniformLike(x) b = RandomUniformLike(x) y = Sub(a, b)", 3),
    "the kept one takes over an output's name": (
        "a = Relu(x) b = Neg(a) y = Relu(x) c = Neg(y) z = Add(b, c)", 3
    ),
    "a body reads the first": (
        f"a = Relu(x) b = Relu(x) c = Relu(x) d = Sub(b, c) t = Constant<value = bool {{1}}>() {BRANCHES}", 5
    ),
    "one gives the output": ("a = Relu(x) b = Neg(a) y = Relu(x) z = Exp(b)", 3),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "count"), NODES.values(), ids=NODES)
def test_equal_nodes_become_one(graph: Graph, nodes: str, count: int) -> None:
    outcome = run_passes(graph(f"g (float[2,3] x) => (float[2,3] y) {{ {nodes} }}"), [SHARED_NODES])
    assert not outcome.undone
    assert len(outcome.model.graph.node) == count


def test_two_outputs_of_the_same_value_keep_their_names(graph: Graph, after: After) -> None:
    model = graph("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Relu(x) }")
    assert after(SHARED_NODES, model, x=X) == ["Relu", "Relu"]


def test_what_equal_nodes_gave_is_computed_once(graph: Graph, after: After) -> None:
    nodes = "a, b = Split<axis=0>(x) c, d = Split<axis=0>(x) e = Sub(b, c) y = Add(e, d)"
    model = graph(f"g (float[2,3] x) => (float[1,3] y) {{ {nodes} }}")
    assert after(SHARED_NODES, model, x=X) == ["Split", "Sub", "Add"]


def test_constants_are_shared_by_type_shape_and_value(graph: Graph) -> None:
    text = "g (float[2,3] x) => (float[2,3] y) { p = Add(x, a) q = Add(p, b) r = Add(q, c) y = Mul(r, d) }"
    constants = {
        "a": np.ones(3, np.float32), "b": np.ones(3, np.float32), "c": np.ones((1, 3), np.float32),
        "d": np.float32(1),
    }  # fmt: skip
    outcome = run_passes(graph(text, **constants), [SHARED_CONSTANTS])
    assert [t.name for t in outcome.model.graph.initializer] == ["a", "c", "d"]
    assert outcome.changes == ["stored 1 constant once that were there twice"]


def test_a_constant_that_is_an_output_keeps_its_name(graph: Graph) -> None:
    one = np.ones(3, np.float32)
    model = graph("g (float[3] x) => (float[3] y, float[3] b) { y = Add(x, a) }", a=one, b=one)
    assert not run_passes(model, [SHARED_CONSTANTS]).changes


def test_constants_read_in_a_body_are_shared_too(graph: Graph) -> None:
    model = graph(
        """g (float[3] x, bool c) => (float[3] y) {
            p = Add(x, a)
            y = If(c) <
                then_branch = t () => (float[3] u) { u = Mul(p, b) },
                else_branch = e () => (float[3] v) { v = Neg(p) }
            > }""",
        a=np.ones(3, np.float32), b=np.ones(3, np.float32),
    )  # fmt: skip
    outcome = run_passes(model, [SHARED_CONSTANTS])
    assert not outcome.undone
    assert [t.name for t in outcome.model.graph.initializer] == ["a"]
    onnx.checker.check_model(outcome.model)
