"""What integers do to the outputs, one tensor or layer at a time."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgevision.converters.graph.execute import run_all, run_once
from edgevision.converters.int8 import harm
from edgevision.converters.int8.calibrate import Calibration, calibrate, with_histograms
from edgevision.converters.int8.from_onnx import parts_of, quantize_calibrated
from edgevision.converters.int8.harm import tensor_harm, weight_harm
from edgevision.converters.int8.range_methods import PLAIN
from edgevision.errors import UsageError


def test_the_noise_of_all_is_about_the_sum_of_what_each_makes_alone(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    harm = kit.six_layers_harm(model, measured, 6)
    alone = sum(harm.weights.values()) + sum(harm.tensors.values())
    quantized = quantize_calibrated(model, measured, ranges="minmax", rounding=False).model
    noise = []
    for feed in kit.six_layers_frames():
        exact, rounded = run_once(model, feed)["y"], run_once(quantized, feed)["y"]
        noise.append(np.square(rounded - exact).sum() / np.square(exact).sum())
    assert 0.5 < np.mean(noise) / alone < 2


def test_harm_comes_out_the_same_each_time(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    assert kit.six_layers_harm(model, measured) == kit.six_layers_harm(model, measured)


SKIPS = """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r = Relu(a)
    m = Conv<pads=[1,1,1,1]>(r, w1)
    n = Add(m, r)
    y = Conv<pads=[1,1,1,1]>(n, w2)
    some = ReduceMean<keepdims=0>(x)
    zero = Constant<value_float = 0.0>()
    yes = Greater(some, zero)
    z = If(yes) <
        then_branch = g1 () => (float[1,4,8,8] out1) { out1 = Mul(r, r) },
        else_branch = g2 () => (float[1,4,8,8] out2) { out2 = Add(r, n) }> }"""


@pytest.fixture
def skips(kit: ModuleType) -> onnx.ModelProto:
    """A skip connection, two outputs, and bodies that read activations from around them."""
    shapes = {f"w{i}": (4, 4, 3, 3) for i in range(3)} | {"b0": (4,)}
    return kit.graph(SKIPS, **{name: kit.normal(*shape) for name, shape in shapes.items()})


def pictures(count: int = 5) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(3)
    return [{"x": random.normal(size=(1, 4, 8, 8)).astype(np.float32)} for _ in range(count)]


def rounded_alone(model: onnx.ModelProto, measured: Calibration, tensor: str, method: str) -> float:
    """The noise of one tensor's integers, by QuantizeLinear in the whole graph."""
    quantizer = parts_of(model, measured, ranges=method, rounding=False).quantizers[tensor]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for node in graph.node:
        inner = [n for a in node.attribute if a.HasField("g") for n in a.g.node]
        for reader in (node, *inner):
            reader.input[:] = ["near" if name == tensor else name for name in reader.input]
    at = 1 + max((i for i, n in enumerate(graph.node) if tensor in n.output), default=-1)
    scale = numpy_helper.from_array(np.array(quantizer.scale, np.float32), "scale")
    zero = numpy_helper.from_array(np.array(quantizer.zero_point, quantizer.dtype), "offset")
    graph.initializer.extend([scale, zero])
    graph.node.insert(
        at, helper.make_node("DequantizeLinear", ["integers", "scale", "offset"], ["near"])
    )
    graph.node.insert(
        at, helper.make_node("QuantizeLinear", [tensor, "scale", "offset"], ["integers"])
    )
    exact, noisy = run_all(model, pictures()), run_all(changed, pictures())
    shares = [
        np.square(noise[name] - value).sum() / np.square(value).sum()
        for outputs, noise in zip(exact, noisy, strict=True)
        for name, value in outputs.items()
    ]
    return float(np.mean(shares))


@pytest.mark.parametrize("record_bytes", [1, 256 << 20])
def test_a_tensor_disturbs_as_much_as_in_the_whole_graph(
    skips: onnx.ModelProto, record_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harm, "_RECORD_BYTES", record_bytes)
    measured = calibrate(skips, lambda: iter(pictures()), scheme="x86")
    found = tensor_harm(skips, measured, pictures(), ["minmax", "mean"])
    assert set(found["mean"]) >= {"x", "r", "n"}
    for method, noises in found.items():
        for tensor, noise in noises.items():
            assert noise == pytest.approx(rounded_alone(skips, measured, tensor, method), rel=1e-3)


def test_weights_disturb_as_much_as_in_the_whole_graph(skips: onnx.ModelProto) -> None:
    measured = calibrate(skips, lambda: iter(pictures()), scheme="x86")
    found = weight_harm(skips, measured, pictures(), rounding=False)
    assert len(found) == 3
    integers = parts_of(skips, measured, ranges="minmax", rounding=False).layers["node_m"]
    changed = onnx.ModelProto()
    changed.CopyFrom(skips)
    weights = integers.weights * integers.scales.reshape(-1, 1, 1, 1)
    for constant in changed.graph.initializer:
        if constant.name == "w1":
            constant.CopyFrom(numpy_helper.from_array(weights.astype(np.float32), "w1"))
    exact, noisy = run_all(skips, pictures()), run_all(changed, pictures())
    shares = [
        np.square(noise[name] - value).sum() / np.square(value).sum()
        for outputs, noise in zip(exact, noisy, strict=True)
        for name, value in outputs.items()
    ]
    assert found["node_m"] == pytest.approx(float(np.mean(shares)), rel=1e-3)


def test_tuned_ranges_are_for_each_tensor_what_disturbs_least(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    measured = with_histograms(model, measured, kit.six_layers_frames)
    feeds = [{"x": np.array(feed["x"])} for feed in kit.six_layers_frames()]
    noises = tensor_harm(model, measured, feeds, PLAIN)
    tuned = replace(measured, harm=noises)
    for tensor in noises["mean"]:
        method = tuned.method_for(tensor, "tuned")
        assert noises[method][tensor] == min(noises[other][tensor] for other in PLAIN)
    quantizers = parts_of(model, tuned, ranges="tuned", rounding=False).quantizers
    least = tuned.method_for("r1", "tuned")
    alike = parts_of(model, measured, ranges=least, rounding=False).quantizers
    assert quantizers["r1"] == alike["r1"]


def test_tuned_ranges_without_the_harm_of_tensors_are_refused(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    measured = with_histograms(model, measured, kit.six_layers_frames)
    with pytest.raises(UsageError, match="harm"):
        parts_of(model, measured, ranges="tuned", rounding=False)
