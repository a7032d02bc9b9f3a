"""Equalized models compute what they computed, and their channels have like ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import difference, run_once
from edgevision.converters.int8.equalize import equalized

Feeds = Callable[[], Iterator[dict[str, np.ndarray]]]


def model_of(
    body: str, weights: dict[str, np.ndarray], opset: int = 17, output: str = "y"
) -> onnx.ModelProto:
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,4,10,10] x) => (float {output}) {{ {body} }}'
    )
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    model.graph.output[0].type.tensor_type.ClearField("shape")  # not known, rather than a scalar
    return onnx.shape_inference.infer_shapes(model)


def feeds(count: int = 4) -> Feeds:
    def stream() -> Iterator[dict[str, np.ndarray]]:
        random = np.random.default_rng(1)
        for _ in range(count):
            yield {"x": random.normal(size=(1, 4, 10, 10)).astype(np.float32)}

    return stream


def uneven(*shape: int, seed: int = 0) -> np.ndarray:
    """Weights whose output channels (axis 0) differ by about 20 times."""
    random = np.random.default_rng(seed)
    size = np.geomspace(0.5, 10, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return random.normal(size=shape) * size


def channel_ranges(model: onnx.ModelProto, tensor: str) -> np.ndarray:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    exposed.graph.output.append(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None)
    )
    found = [np.abs(run_once(exposed, feed)[tensor]).max(axis=(0, 2, 3)) for feed in feeds()()]
    return np.max(found, axis=0)


DEPTHWISE = "a = Conv(x, w0, b0)  r = Relu(a)  y = Conv<group=8>(r, w1)"


def test_a_depthwise_reader_lets_every_channel_use_the_whole_range() -> None:
    model = model_of(
        DEPTHWISE, {"w0": uneven(8, 4, 1, 1), "b0": np.zeros(8), "w1": uneven(8, 1, 3, 3, seed=2)}
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    before, after = channel_ranges(model, "r"), channel_ranges(changed, "r")
    assert before.max() / before.min() > 10
    np.testing.assert_allclose(after, before.max(), rtol=1e-3)
    feed = next(feeds()())
    assert difference(run_once(model, feed), run_once(changed, feed)) < 1e-4


def test_where_a_reader_adds_channels_up_its_weights_keep_a_part_of_the_ratio() -> None:
    model = model_of(
        "a = Conv(x, w0)  r = Relu(a)  y = Conv(r, w1)",
        {"w0": uneven(8, 4, 1, 1), "w1": uneven(3, 8, 1, 1, seed=2)},
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    before, after = channel_ranges(model, "r"), channel_ranges(changed, "r")
    np.testing.assert_allclose(after, before * (before.max() / before) ** 0.75, rtol=1e-3)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w0, b0)  y = Conv<group=8>(a, w1)",
        "a = Conv(x, w0)  r = LeakyRelu<alpha=0.3>(a)  y = Conv(r, w2)",
        "a = Conv(x, w0)  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)  y = Conv(p, w2)",
        "a = Conv(x, w0)  p = GlobalAveragePool(a)  y = Conv(p, w2)",
        "a = Conv(x, w0)  b = Conv(x, w3)  s = Add(a, b)  r = Relu(s)  t = Conv(r, w4)  u = Add(r, t)  y = Conv(u, w2)",
        "a = Conv(x, w0)  b = Conv(x, w3)  c = Concat<axis=1>(a, b)  y = Conv<group=16>(c, w5)",
        "a = Conv(x, w0)  c = Concat<axis=1>(a, zeros)  y = Conv(c, w6)",
        "a = Conv(x, w0)  c = Concat<axis=1>(a, ones)  y = Conv(c, w6)",
        "a = Conv(x, w0)  r = Relu(a)  t = ConvTranspose<strides=[2,2]>(r, w7)  y = Conv(t, w2)",
        "a = Conv(x, w0)  y = Conv<group=2>(a, w8)",
        "a = Conv(x, w0)  r = PRelu(a, slope)  y = Conv(r, w2)",
    ],
)
def test_the_model_computes_what_it_computed(body: str, opset: int) -> None:
    weights = {
        "w0": uneven(8, 4, 1, 1), "b0": np.arange(8.0), "w1": uneven(8, 1, 3, 3, seed=1),
        "w2": uneven(3, 8, 1, 1, seed=2), "w3": uneven(8, 4, 1, 1, seed=3), "w4": uneven(8, 8, 1, 1, seed=4),
        "w5": uneven(16, 1, 1, 1, seed=5), "w6": uneven(5, 10, 1, 1, seed=6), "w7": uneven(8, 8, 2, 2, seed=7),
        "w8": uneven(6, 4, 1, 1, seed=8), "zeros": np.zeros((1, 2, 10, 10)), "ones": np.ones((1, 2, 10, 10)),
        "slope": np.linspace(0.1, 0.9, 8).reshape(8, 1, 1),
    }  # fmt: skip
    model = model_of(
        body, {k: v for k, v in weights.items() if f"{k})" in body or f"{k}," in body}, opset
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    assert changed.SerializeToString() != model.SerializeToString()
    feed = next(feeds()())
    assert difference(run_once(model, feed), run_once(changed, feed)) < 1e-4


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w0)  r = Clip(a, low, high)  y = Conv(r, w2)",
        "a = Conv(x, w0)  r = Sigmoid(a)  y = Conv(r, w2)",
        "a = Conv(x, w0)  r = Add(a, shift)  y = Conv(r, w2)",
        "y = Conv(x, w0)",
        "a = Conv(x, even)  y = Conv(a, w9)",
    ],
)
def test_what_no_factor_passes_through_is_left_alone(body: str) -> None:
    weights = {
        "w0": uneven(8, 4, 1, 1), "w2": uneven(3, 8, 1, 1, seed=2), "low": np.array(0.0), "high": np.array(6.0),
        "shift": np.arange(8.0).reshape(8, 1, 1), "even": np.eye(4).reshape(4, 4, 1, 1), "w9": np.ones((3, 4, 1, 1)),
    }  # fmt: skip
    model = model_of(body, {k: v for k, v in weights.items() if f"{k})" in body or f"{k}," in body})
    assert equalized(model, feeds(), frames=4) is None


def test_weights_that_two_layers_share_are_scaled_for_each() -> None:
    model = model_of(
        "a = Conv(x, w0)  b = Conv(a, w)  c = Relu(b)  y = Conv(c, w)",
        {"w0": uneven(8, 4, 1, 1), "w": uneven(8, 8, 1, 1, seed=2)},
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    feed = next(feeds()())
    assert difference(run_once(model, feed), run_once(changed, feed)) < 1e-4


def test_a_channel_that_was_never_anything_keeps_its_weights() -> None:
    first = uneven(8, 4, 1, 1)
    first[3] = 0
    model = model_of(
        "a = Conv(x, w0)  y = Conv(a, w2)", {"w0": first, "w2": uneven(3, 8, 1, 1, seed=2)}
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    assert channel_ranges(changed, "a")[3] == 0
    assert all(np.isfinite(numpy_helper.to_array(t)).all() for t in changed.graph.initializer)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), depth=st.integers(2, 5))
def test_chains_of_any_layers_compute_what_they_computed(seed: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    lines, weights, now, count = [], {}, "x", 4
    for number in range(depth):
        groups = int(random.choice([1, 2, count]))
        made = groups * int(random.integers(1, 4))
        weights[f"w{number}"] = uneven(made, count // groups, 1, 1, seed=seed + number)
        lines.append(f"c{number} = Conv<group={groups}>({now}, w{number})")
        now, count = f"c{number}", made
        kind = random.choice(["Relu", "none", "MaxPool"])
        if kind != "none" and number < depth - 1:
            extra = "<kernel_shape=[1,1]>" if kind == "MaxPool" else ""
            lines.append(f"r{number} = {kind}{extra}({now})")
            now = f"r{number}"
        if count % 2:  # the next layer may be grouped by two
            weights[f"v{number}"] = uneven(4, count, 1, 1, seed=seed + 99)
            lines.append(f"d{number} = Conv({now}, v{number})")
            now, count = f"d{number}", 4
    model = model_of(" ".join(lines), weights, output=now)
    model = clean(model).model
    changed = equalized(model, feeds(), frames=4)
    feed = next(feeds()())
    if changed is not None:
        assert difference(run_once(model, feed), run_once(changed, feed)) < 1e-3


def test_what_a_branch_of_the_graph_reads_keeps_its_channels() -> None:
    """`read` would be equalized like `free`, were it not for the branches; nothing else reads `two`."""
    model = model_of(
        """free = Conv(x, w0)  d = Conv<group=8>(free, w1)
        read = Conv(x, w0)  e = Conv<group=8>(read, w1)
        m = ReduceMax<keepdims = 0>(d)
        bright = Greater(m, zero)
        f = If(bright)<
            then_branch = g1 () => (float[1,8,10,10] t) { t = Mul(read, two) },
            else_branch = g2 () => (float[1,8,10,10] u) { u = Neg(read) }
        >
        n = Neg(e)
        y = Concat<axis=0>(f, n)""",
        {
            "w0": uneven(8, 4, 1, 1),
            "w1": uneven(8, 1, 1, 1, seed=2),
            "zero": np.zeros(()),
            "two": np.array(2.0),
        },
    )
    changed = equalized(model, feeds(), frames=4)
    assert changed is not None
    before = channel_ranges(model, "read")
    np.testing.assert_array_equal(channel_ranges(changed, "read"), before)
    np.testing.assert_allclose(channel_ranges(changed, "free"), before.max(), rtol=1e-3)
    for feed in feeds()():
        assert difference(run_once(model, feed), run_once(changed, feed)) < 1e-4
