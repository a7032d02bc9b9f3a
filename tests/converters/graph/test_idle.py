"""Nodes that give back what they read go; those that only look like it stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.idle import IDLE_NODES
from edgevision.converters.graph.passes import run_passes

Graph = Callable[..., onnx.ModelProto]
Normal = Callable[..., np.ndarray]
After = Callable[..., list[str]]

INT = "<value_ints=[{}]>"
CONSTANTS = {
    "one": np.float32(1), "zero": np.float32(0), "ones": np.ones((1, 3, 1, 1), np.float32),
    "wide": np.zeros((2, 3, 4, 5), np.float32), "two": np.float32(2),
    "same": np.array([1, 3, 4, 5]), "other": np.array([1, 3, 5, 4]), "copied": np.array([0, 3, 4, -1]),
    "nothing": np.zeros(8, np.int64), "cut": np.array([0, 0, 1, 0, 0, 0, -1, 0]),
    "s0": np.array([0, 0]), "s9": np.array([9, 9]), "axes": np.array([2, 3]),
    "back": np.array([-1, -1]), "end": np.array([-9, -9]), "scales": np.ones(4, np.float32),
    "nearly": np.array([1, 1, 1.2, 1.1], np.float32), "empty": np.zeros(0, np.float32),
}  # fmt: skip
IDLE = {
    "Identity": "Identity(a)", "Dropout": "Dropout(a)", "Cast": "Cast<to=1>(a)",
    "Transpose": "Transpose<perm=[0,1,2,3]>(a)", "Reshape": "Reshape(a, same)",
    "Reshape with 0 and -1": "Reshape(a, copied)", "Expand": "Expand(a, same)", "Pad": "Pad(a, nothing)",
    "Slice": "Slice(a, s0, s9, axes)", "Concat": "Concat<axis=1>(a)", "Sum": "Sum(a)",
    "Resize": "Resize<mode=\"linear\">(a, , scales)", "MaxPool": "MaxPool<kernel_shape=[1,1]>(a)",
    "Mul": "Mul(a, one)", "Mul, other side": "Mul(ones, a)", "Add": "Add(zero, a)", "Sub": "Sub(a, zero)",
    "Div": "Div(a, ones)", "Pow": "Pow(a, one)", "Split": "Split<axis=1>(a)",
}  # fmt: skip
BUSY = {
    "Cast": ("Cast<to=11>(a)", "double[1,3,4,5]"),
    "Transpose": ("Transpose<perm=[0,1,3,2]>(a)", "float[1,3,5,4]"),
    "Reshape": ("Reshape(a, other)", "float[1,3,5,4]"),
    "Pad that moves": ("Pad(a, cut)", "float[1,3,4,5]"),
    "Slice backwards": ("Slice(a, back, end, axes, back)", "float[1,3,4,5]"),
    "Resize by a little": ("Resize(a, , nearly)", "float[1,3,4,5]"),
    "Add that broadcasts": ("Add(a, wide)", "float[2,3,4,5]"),
    "Sub from zero": ("Sub(zero, a)", "float[1,3,4,5]"),
    "Div of one": ("Div(one, a)", "float[1,3,4,5]"),
    "Mul by two": ("Mul(a, two)", "float[1,3,4,5]"),
}


@pytest.mark.parametrize("node", IDLE.values(), ids=IDLE)
def test_idle_node_goes(graph: Graph, normal: Normal, after: After, node: str) -> None:
    text = f"g (float[1,3,4,5] x) => (float[1,3,4,5] y) {{ a = Relu(x) b = {node} y = Neg(b) }}"
    assert after(IDLE_NODES, graph(text, **CONSTANTS), x=normal(1, 3, 4, 5)) == ["Relu", "Neg"]


@pytest.mark.parametrize(("node", "shape"), BUSY.values(), ids=BUSY)
def test_node_with_an_effect_stays(graph: Graph, node: str, shape: str) -> None:
    text = f"g (float[1,3,4,5] x) => ({shape} y) {{ a = Abs(x) b = {node} y = Neg(b) }}"
    outcome = run_passes(graph(text, **CONSTANTS), [IDLE_NODES])
    assert not outcome.changes
    assert len(outcome.model.graph.node) == 3


def test_output_keeps_its_name_when_its_node_goes(graph: Graph, after: After) -> None:
    text = "g (float[2,3] x) => (float[2,3] y, float[2,3] z) { a = Relu(x) y = Identity(a) z = Neg(a) }"
    assert after(IDLE_NODES, graph(text), x=np.eye(2, 3, dtype=np.float32)) == ["Relu", "Neg"]


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2] x) => (float[2] y) { y = Identity(x) }",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Relu(x) z = Identity(y) }",
        "g (float[2] x) => (float[2] y) { y = Identity(c) }",
    ],
    ids=["input", "another output", "constant"],
)
def test_output_that_only_this_node_can_name_keeps_it(
    graph: Graph, after: After, text: str
) -> None:
    x = np.ones(2, np.float32)
    assert after(IDLE_NODES, graph(text, c=x), x=x)[-1] == "Identity"


def test_open_dims_of_the_same_name_are_the_same(graph: Graph, after: After) -> None:
    model = graph(
        "g (float[N,3,K] x) => (float[N,3,L] y) { a = Relu(x) b = Reshape(a, to) y = Neg(b) }",
        to=np.array([0, 3, -1]),
    )
    # What -1 stands for is known only to be of the right size where the others are copied.
    assert after(IDLE_NODES, model, x=np.ones((2, 3, 4), np.float32)) in (
        ["Relu", "Neg"], ["Relu", "Reshape", "Neg"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("a = Reshape(x, flat) b = Reshape(a, half) y = Neg(b)", ["Reshape", "Neg"]),
        ("a = Unsqueeze(x, first) b = Squeeze(a, first) y = Reshape(b, half)", ["Reshape"]),
        ("a = Unsqueeze(x, first) b = Unsqueeze(a, first) y = Reshape(b, half)", ["Reshape"]),
        ("a = Flatten(x) b = Relu(a) y = Reshape(b, half)", ["Flatten", "Relu", "Reshape"]),
    ],
)
def test_reshaping_nodes_in_a_row_become_one(
    graph: Graph, normal: Normal, after: After, nodes: str, left: list[str]
) -> None:
    model = graph(
        f"g (float[2,3,4] x) => (float[3,8] y) {{ {nodes} }}",
        flat=np.array([24]), half=np.array([3, 8]), first=np.array([0]),
    )  # fmt: skip
    assert after(IDLE_NODES, model, x=normal(2, 3, 4)) == left


def test_a_zero_that_copies_a_dim_of_the_shape_in_between_is_left(
    graph: Graph, normal: Normal, after: After
) -> None:
    model = graph(
        "g (float[2,3,4] x) => (float[6,2,2] y) { a = Reshape(x, six) y = Reshape(a, copied) }",
        six=np.array([6, 4]), copied=np.array([0, 2, 2]),
    )  # fmt: skip
    assert after(IDLE_NODES, model, x=normal(2, 3, 4)) == ["Reshape", "Reshape"]


@pytest.mark.parametrize(
    ("middle", "left"), [(7, 1), (10, 2), (3, 2)], ids=["int64", "float16", "int8"]
)
def test_casts_merge_where_the_one_in_between_loses_nothing(
    graph: Graph, after: After, middle: int, left: int
) -> None:
    model = graph(
        f"g (int32[3] x) => (float[3] y) {{ a = Cast<to={middle}>(x) y = Cast<to=1>(a) }}"
    )
    x = np.array([1, 2**24 + 1, 100], np.int32) if middle == 7 else np.array([1, 2, 3], np.int32)
    assert len(after(IDLE_NODES, model, x=x)) == left


def test_what_a_body_reads_is_not_renamed(graph: Graph) -> None:
    model = graph(
        """g (float[1,4] x, bool c) => (float[1,4] y) {
            r = Relu(x)
            a = Identity(r)
            y = If(c) <
                then_branch = t () => (float[1,4] u) { u = Neg(a) },
                else_branch = e () => (float[1,4] v) { v = Abs(a) }
            > }"""
    )
    outcome = run_passes(model, [IDLE_NODES])
    assert not outcome.undone
    assert [n.op_type for n in outcome.model.graph.node] == ["Relu", "Identity", "If"]
