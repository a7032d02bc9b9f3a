"""HardSigmoid and hard-swish as table look-ups of onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.int8.read_back import read_back
from edgevision.errors import ModelError

CPU = ("x86", "x86-avx2", "arm")
SWISH = """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
    c = Conv(x, w)
    h = HardSigmoid<alpha=0.16666667, beta=0.5>(c)
    s = Mul(c, h)
    y = Conv(s, w1) }"""
# The gate alone, behind an identity: 16 inputs, each on its own.
GATE = """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {{
    c = Conv(x, one)
    h = HardSigmoid<alpha={}, beta={}>(c)
    {}
    y = Conv(h2, one) }}"""


def one() -> np.ndarray:
    return np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1)


def swish(kit: Any) -> onnx.ModelProto:
    model: onnx.ModelProto = kit.graph(
        SWISH, w=kit.normal(16, 16, 1, 1) * np.float32(4), w1=kit.normal(16, 16, 1, 1)[::-1].copy()
    )
    return model


def ramp() -> Iterator[dict[str, np.ndarray]]:
    yield {"x": np.linspace(-5, 5, 1024, dtype=np.float32).reshape(1, 16, 8, 8)}


@pytest.mark.parametrize("scheme", CPU)
def test_hard_swish_is_computed_in_integers_throughout(
    kit: Any, scheme: str, tmp_path: Path
) -> None:
    feeds = kit.noise(1, 16, 8, 8)
    made = kit.quantize(swish(kit), feeds, scheme=scheme)
    assert made.report["int8"] == ["node_c", "node_h", "node_s", "node_y"]
    run = kit.executed(made.model, tmp_path, signed=True)
    assert kit.ops(run) == [
        "QuantizeLinear", "QLinearConv", "QLinearLeakyRelu", "QLinearMul", "QLinearConv",
        "DequantizeLinear",
    ]  # fmt: skip
    assert kit.agreement(swish(kit), made.model, feeds, "y") > 30


@pytest.mark.parametrize(
    ("slope", "shift"), [(1 / 6, 0.5), (0.2, 0.5), (0.16662598, 0.5), (1.0, 0.0), (0.5, 1.0)]
)
@pytest.mark.parametrize("move", ["h2 = Identity(h)", "h2 = Transpose<perm=[0,1,3,2]>(h)"])
@pytest.mark.parametrize("scheme", ["x86", "arm"])
def test_a_table_holds_what_hard_sigmoid_gives(
    kit: Any, slope: float, shift: float, move: str, scheme: str
) -> None:
    if "Identity" in move:
        model = kit.graph(GATE.format(slope, shift, "").replace("h2", "h"), one=one())
    else:
        model = kit.graph(GATE.format(slope, shift, move), one=one())
    made = kit.quantize(model, ramp, scheme=scheme).model
    assert "HardSigmoid" not in kit.ops(made.graph)
    (feed,) = ramp()
    found = run_once(made, feed, optimize=False)["y"]
    expected = np.clip(slope * feed["x"] + shift, 0, 1)
    if "Transpose" in move:
        expected = expected.transpose(0, 1, 3, 2)
    # Half a step each of the input (10/255 wide) and of the table, and half a step of its zero point;
    # the last layer's own weights are exact but for half of one part in 127.
    bound = slope * 5 / 255 + 0.5 / 255 + 0.5 / 255 + 0.5 / 255
    assert np.abs(found - expected).max() <= bound


@pytest.mark.parametrize(("slope", "shift"), [(-0.2, 0.5), (0.2, 1.5), (0.2, -0.5), (0.0, 0.5)])
def test_a_gate_that_no_table_holds_stays_float(kit: Any, slope: float, shift: float) -> None:
    model = kit.graph(GATE.format(slope, shift, "").replace("h2", "h"), one=one())
    made = kit.quantize(model, ramp, scheme="x86", rounding=False)
    assert "no table holds" in made.report["float"]["node_h"]
    assert "HardSigmoid" in kit.ops(made.model.graph)


@pytest.mark.parametrize(
    ("name", "value"),
    [("h/scale", np.float32(1 / 127)), ("h/zero", np.array(3, np.uint8))],
)
def test_a_table_of_another_interval_is_caught(kit: Any, name: str, value: np.ndarray) -> None:
    made = kit.quantize(swish(kit), kit.noise(1, 16, 8, 8), scheme="x86").model
    tensor = next(t for t in made.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    with pytest.raises(ModelError, match="a gate of"):
        read_back(made, "x86")


def test_tensorrt_keeps_the_operator(kit: Any) -> None:
    made = kit.quantize(swish(kit), kit.noise(1, 16, 8, 8), scheme="trt").model
    assert "HardSigmoid" in kit.ops(made.graph)


@pytest.mark.parametrize(
    ("name", "shape", "tables"),
    [("selfie", (1, 256, 256, 3), 11), ("ppocr-det", (1, 3, 64, 64), 34)],
)
def test_networks_with_hard_swish_compute_it_in_integers(
    name: str, shape: tuple[int, ...], tables: int, kit: Any, test_data: Path, tmp_path: Path
) -> None:
    raw = load(test_data / "models" / f"{name}.onnx")
    given = {t.name for t in raw.graph.initializer}
    entry = next(v.name for v in raw.graph.input if v.name not in given)
    model = clean(raw, shapes={entry: shape}).model
    picture = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    measured = calibrate(model, lambda: iter([{entry: picture}]), scheme="x86", rounding=False)
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False)
    run = kit.ops(kit.executed(made.model, tmp_path))
    assert (run.count("QLinearLeakyRelu"), run.count("HardSigmoid")) == (tables, 0)
