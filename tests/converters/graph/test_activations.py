"""Activations written out in parts are recognized, with the constants that they really have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.activations import HARD_SWISH, LEAKY
from edgevision.converters.graph.index import attribute
from edgevision.converters.graph.passes import run_passes

Graph = Callable[..., onnx.ModelProto]
After = Callable[..., list[str]]

X = np.linspace(-5, 5, 24, dtype=np.float32).reshape(1, 2, 3, 4)
HALF_SIXTH = np.float32(np.float16(1 / 6))  # 0.16662598, what float16 training leaves
NUMBERS = {
    "three": np.float32(3), "zero": np.float32(0), "six": np.float32(6), "sixth": np.float32(1 / 6),
    "half": HALF_SIXTH, "three4": np.full((1, 1, 1, 1), 3, np.float32),
}  # fmt: skip
SWISHES = {
    "x·clip/6": ("p = Add(a, three) q = Clip(p, zero, six) r = Mul(a, q) y = Div(r, six)", 2),
    "x·(clip/6)": ("p = Add(three, a) q = Clip(p, zero, six) r = Div(q, six) y = Mul(a, r)", 0),
    "(x·⅙)·clip": ("m = Mul(sixth, a) p = Add(a, three4) q = Clip(p, zero, six) y = Mul(m, q)", 0),
    "x·(clip·⅙)": ("p = Add(a, three) q = Clip(p, zero, six) r = Mul(q, sixth) y = Mul(r, a)", 0),
    "float16's ⅙": ("m = Mul(half, a) p = Add(a, three) q = Clip(p, zero, six) y = Mul(m, q)", 1),
    "min and max": (
        "p = Add(a, three) m = Max(p, zero) q = Min(m, six) r = Div(q, six) y = Mul(a, r)",
        0,
    ),
    "HardSwish": ("y = HardSwish(a)", 0),
}


@pytest.mark.parametrize(("nodes", "scales"), SWISHES.values(), ids=SWISHES)
def test_hard_swish_in_any_form_becomes_one(
    graph: Graph, after: After, nodes: str, scales: int
) -> None:
    model = graph(
        f"g (float[1,2,3,4] x) => (float[1,2,3,4] y) {{ a = Identity(x) {nodes} }}", **NUMBERS
    )
    left = after(HARD_SWISH, model, x=X)
    assert left[:3] == ["Identity", "HardSigmoid", "Mul"]
    assert len(left) == 3 + scales, "a factor that is not 1 stays"


def test_the_constant_of_float16_is_kept_as_it_is(graph: Graph) -> None:
    nodes = "m = Mul(half, x) p = Add(x, three) q = Clip(p, zero, six) y = Mul(m, q)"
    model = graph(f"g (float[1,2,3,4] x) => (float[1,2,3,4] y) {{ {nodes} }}", **NUMBERS)
    changed = run_passes(model, [HARD_SWISH]).model
    hard, _, scale = changed.graph.node
    assert attribute(hard, "alpha") == pytest.approx(1 / 6, rel=1e-7)
    assert attribute(hard, "beta") == pytest.approx(0.5, rel=1e-7)
    (factor,) = (t for t in changed.graph.initializer if t.name in scale.input)
    assert onnx.numpy_helper.to_array(factor) == pytest.approx(6 * float(HALF_SIXTH), rel=1e-7)


@pytest.mark.parametrize(
    "nodes",
    [
        "p = Add(x, three) q = Clip(p, zero, six) y = Mul(z, q)",
        "p = Add(x, three) q = Clip(p, three, six) y = Mul(x, q)",
        "p = Add(x, three) y = Clip(p, zero, six)",
        "p = Add(x, z) q = Clip(p, zero, six) y = Mul(x, q)",
    ],
    ids=["another factor", "not from zero", "no product", "no constant"],
)
def test_what_is_no_hard_swish_stays(graph: Graph, after: After, nodes: str) -> None:
    model = graph(
        f"g (float[1,2,3,4] x, float[1,2,3,4] z) => (float[1,2,3,4] y) {{ {nodes} }}", **NUMBERS
    )
    assert "HardSigmoid" not in after(HARD_SWISH, model, x=X, z=X[..., ::-1].copy())


def test_a_sum_that_somebody_else_reads_is_not_taken_away(graph: Graph, after: After) -> None:
    nodes = "p = Add(x, three) q = Clip(p, zero, six) r = Div(q, six) y = Mul(x, r) z = Neg(p)"
    model = graph(
        f"g (float[1,2,3,4] x) => (float[1,2,3,4] y, float[1,2,3,4] z) {{ {nodes} }}", **NUMBERS
    )
    assert "Clip" in after(HARD_SWISH, model, x=X)


def test_hard_sigmoid_gate_is_recognized(graph: Graph, after: After) -> None:
    nodes = "p = Add(x, three) q = Clip(p, zero, six) y = Div(q, six)"
    model = graph(f"g (float[1,2,3,4] x) => (float[1,2,3,4] y) {{ {nodes} }}", **NUMBERS)
    assert after(HARD_SWISH, model, x=X) == ["HardSigmoid"]


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("p = Max(zero, x) q = Min(x, zero) r = Mul(q, tenth) y = Add(p, r)", ["LeakyRelu"]),
        ("p = Relu(x) n = Neg(x) q = Relu(n) r = Mul(minus, q) y = Add(r, p)", ["LeakyRelu"]),
        (
            "p = Relu(x) q = Min(x, zero) r = Mul(q, many) y = Add(r, p)",
            ["Relu", "Min", "Mul", "Add"],
        ),
        (
            "p = Relu(x) q = Min(x, tenth) r = Mul(q, tenth) y = Add(r, p)",
            ["Relu", "Min", "Mul", "Add"],
        ),
    ],
    ids=["max and min", "two Relus", "a slope per channel", "bent elsewhere"],
)
def test_two_half_lines_with_one_slope_are_leaky(
    graph: Graph, after: After, nodes: str, left: list[str]
) -> None:
    model = graph(
        f"g (float[1,2,3,4] x) => (float[1,2,3,4] y) {{ {nodes} }}",
        zero=np.float32(0), tenth=np.float32(0.1), minus=np.float32(-0.1),
        many=np.array([0.1, 0.2], np.float32).reshape(2, 1, 1),
    )  # fmt: skip
    assert after(LEAKY, model, x=X) == left
