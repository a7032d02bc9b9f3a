"""Transposes that cancel out go, and no graph gets more of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edgevision.converters.graph.transposes import TRANSPOSES

Graph = Callable[..., onnx.ModelProto]
Normal = Callable[..., np.ndarray]
After = Callable[..., list[str]]

IN, OUT = "Transpose<perm=[0,2,3,1]>", "Transpose<perm=[0,3,1,2]>"
CASES = {
    "inverse": (f"a = {IN}(x) y = {OUT}(a)", 1),  # the output's own name needs a node
    "across one": (f"r = Abs(x) a = {IN}(r) b = Relu(a) c = {OUT}(b) y = Neg(c)", 0),
    "across constants": (
        f"a = {IN}(x) b = Mul(a, line) c = Add(b, full) d = Clip(c, low) e = {OUT}(d) y = Neg(e)", 0,
    ),
    "residual": (
        f"a = {IN}(x) b = Relu(a) c = Add(a, b) d = {OUT}(c) y = Neg(d)", 0,
    ),
    "two in, one out": (
        f"r = Exp(x) a = {IN}(x) b = {IN}(r) c = Mul(a, b) d = {OUT}(c) y = Neg(d)", 0,
    ),
    "two of a kind, none out": (f"r = Exp(x) a = {IN}(x) b = {IN}(r) c = Mul(a, b) y = Flatten(c)", 1),
    "read twice": (
        f"a = {IN}(x) b = Relu(a) c = {OUT}(b) d = Flatten(b) n = Neg(c) f = Flatten(n) y = Add(d, f)", 1,
    ),
    "only in": (f"a = {IN}(x) b = Relu(a) y = Flatten(b)", 1),
    "only out": (f"a = Relu(x) b = {OUT}(a) y = Neg(b)", 1),
    "not elementwise": (f"a = {IN}(x) b = Softmax<axis=-1>(a) c = {OUT}(b) y = Neg(c)", 2),
    "merge": (f"a = {IN}(x) b = {IN}(a) y = Neg(b)", 1),
    "three in a row": (f"a = {IN}(x) b = {IN}(a) c = {IN}(b) y = Neg(c)", 0),
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "count"), CASES.values(), ids=CASES)
def test_transposes_left(
    graph: Graph, normal: Normal, after: After, nodes: str, count: int
) -> None:
    rank = "m, n" if "Flatten" in nodes else "1, c, h, v"
    model = graph(
        f"g (float[1,3,4,5] x) => (float[{rank}] y) {{ {nodes} }}",
        line=normal(3), full=normal(1, 4, 5, 3), low=np.float32(-0.5),
    )  # fmt: skip
    left = after(TRANSPOSES, model, x=normal(1, 3, 4, 5))
    assert left.count("Transpose") == count


STEPS = {
    "conv": "{b} = Conv<pads=[1,1,1,1]>({a}, w)",
    "relu": "{b} = Relu({a})",
    "scale": "{b} = Mul({a}, number)",
    "there": IN.join(["{b} = ", "({a})"]),
    "back": OUT.join(["{b} = ", "({a})"]),
    "double": "{b} = Add({a}, {a})",
    "residual": "{b} = Add({a}, {z})",
}


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=10))
@example(["double", "back", "back", "residual", "back", "conv"])  # rules once undid each other
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_stack_computes_the_same_with_no_more_transposes(
    graph: Graph, normal: Normal, after: After, steps: list[str]
) -> None:
    # All sides are 4, so that every order of axes fits every step.
    lines, names = [], ["x"]
    for number, step in enumerate(steps):
        names.append(f"t{number}")
        lines.append(STEPS[step].format(a=names[-2], b=names[-1], z=names[max(0, len(names) - 4)]))
    text = (
        f"g (float[1,4,4,4] x) => (float[1,4,4,4] y) {{ {' '.join(lines)} y = Tanh({names[-1]}) }}"
    )
    model = graph(text, w=normal(4, 4, 3, 3) / 6, number=np.float32(0.5))
    before = sum(n.op_type == "Transpose" for n in model.graph.node)
    assert after(TRANSPOSES, model, x=normal(1, 4, 4, 4)).count("Transpose") <= before
