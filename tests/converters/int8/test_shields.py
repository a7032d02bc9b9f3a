"""Layers that were to stay float stay float in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once, trial_feeds
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.int8.put_back import int8_layers
from edgevision.converters.int8.shields import exposed_layers, without_shields

INTEGER_LAYERS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "ConvInteger")


def test_excluded_layer_is_really_float_in_onnxruntime(kit: Any, tmp_path: Path) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86", exclude=["node_l"])
    assert made.report["float"]["node_l"] == "excluded on request"
    run = kit.ops(kit.executed(made.model, tmp_path))
    assert (run.count("QLinearConv"), run.count("Conv") + run.count("FusedConv")) == (4, 1)


# A float layer called l between int8 ones, and what lies between them: optimizers take that away.
BETWEEN = {
    "nothing": "l = Conv(a, w)  b = Conv(l, w)",
    "relu": "l = Conv(a, w, bias)  r = Relu(l)  b = Conv(r, w)",
    "clip": "l = Conv(a, w)  r = Clip(l, zero, six)  b = Conv(r, w)",
    "leaky relu": "l = Conv(a, w)  r = LeakyRelu(l)  b = Conv(r, w)",
    "moved before": "t = Transpose<perm=[0,1,3,2]>(a)  l = Conv(t, w)  b = Conv(l, w)",
    "moved behind": "l = Conv(a, w)  t = Transpose<perm=[0,1,3,2]>(l)  b = Conv(t, w)",
    "moved and clipped": """m = MaxPool<kernel_shape=[1,1]>(a)  l = Conv(m, w, bias)  r = Relu(l)
                            t = Reshape(r, shape)  b = Conv(t, w)""",
    "scaled behind": "l = Conv(a, w)  s = Mul(l, two)  b = Conv(s, w)",
    "shifted behind": "l = Conv(a, w)  s = Add(l, channel)  b = Conv(s, w)",
    "transposed": "l = ConvTranspose<strides=[1,1]>(a, w, bias)  b = Conv(l, w)",
    "gemm": """f = Reshape(a, rows)  l = Gemm<transB=1>(f, g, bias)  r = Relu(l)
               t = Reshape(r, shape)  b = Conv(t, w)""",
    "matmul and add": """f = Reshape(a, rows)  l = MatMul(f, g)  p = Add(l, bias)
                         t = Reshape(p, shape)  b = Conv(t, w)""",
}


@pytest.mark.parametrize("scheme", ["x86", "arm"])
@pytest.mark.parametrize("text", BETWEEN.values(), ids=BETWEEN)
def test_onnxruntime_quantizes_no_layer_that_was_left_out(
    kit: Any, scheme: str, text: str, tmp_path: Path
) -> None:
    model = kit.graph(
        f"g (float[1,16,4,4] x) => (float[1,16,4,4] y) {{ a = Conv(x, w)  {text}  y = Conv(b, w) }}",
        w=kit.normal(16, 16, 1, 1), bias=kit.normal(16, 1)[:, 0], g=kit.normal(16, 16),
        channel=kit.normal(16, 1).reshape(1, 16, 1, 1), two=np.array(2, np.float32),
        zero=np.array(0, np.float32), six=np.array(6, np.float32),
        shape=np.array([1, 16, 4, 4]), rows=np.array([16, 16]),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 4, 4), scheme=scheme, exclude=["node_l"])
    run = kit.executed(made.model, tmp_path, everything=True, signed=True)
    assert sum(op in INTEGER_LAYERS for op in kit.ops(run)) == 3
    assert not any(t.data_type == onnx.TensorProto.INT8 and "weight_q" in t.name
                   for t in run.initializer)  # fmt: skip
    feed = next(kit.noise(1, 16, 4, 4)())
    written = run_once(made.model, feed, optimize=False)
    assert kit.snr_db(written["y"], run_once(made.model, feed)["y"]) > 60


def test_without_a_shield_onnxruntime_does_quantize_it(kit: Any, tmp_path: Path) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86", exclude=["node_d"])
    bare = without_shields(made.model)
    found = [kit.ops(kit.executed(m, tmp_path)).count("QLinearConv") for m in (made.model, bare)]
    assert found == [4, 5], "if this is 4 now, onnxruntime has changed and the shields may go"


def test_a_shield_changes_nothing(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86", exclude=["node_d"]).model
    bare = without_shields(made)
    assert kit.ops(made.graph).count("Max") == 1
    assert "Max" not in kit.ops(bare.graph)
    onnx.checker.check_model(bare)
    for feed in kit.FRAMES():
        expected, actual = (run_once(m, feed, optimize=False) for m in (bare, made))
        for name, array in expected.items():
            np.testing.assert_array_equal(actual[name], array)


def test_a_layer_of_the_tail_needs_no_shield(kit: Any) -> None:
    model = kit.graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y, float[1,16,4,4] z) {
            a = Conv(x, w)  y = Conv(a, w)  e = Exp(a)  z = Conv(e, w) }""",
        w=kit.normal(16, 16, 1, 1),
    )
    assert exposed_layers(model, {"x", "a"}, {"node_a"}) == set()
    assert exposed_layers(model, {"x", "a", "y"}, {"node_a"}) == {"node_y"}


@pytest.mark.parametrize(
    ("name", "shape"),
    [("nanodet", (1, 3, 416, 416)), ("efficientnet-lite0", (1, 3, 224, 224)),
     ("centerface", (1, 3, 64, 96)), ("movenet-lightning", None), ("selfie", None)],
)  # fmt: skip
@pytest.mark.parametrize("every", [2, 3])
def test_onnxruntime_quantizes_no_layer_of_a_real_model_that_was_put_back(
    name: str, shape: tuple[int, ...] | None, every: int, kit: Any, test_data: Path, tmp_path: Path
) -> None:
    raw = load(test_data / "models" / f"{name}.onnx")
    given = {t.name for t in raw.graph.initializer}
    shapes = {v.name: shape for v in raw.graph.input if v.name not in given} if shape else None
    model = clean(raw, shapes=shapes).model
    frames = trial_feeds(model)

    def feeds() -> Iterator[Any]:
        yield from frames

    measured = calibrate(model, feeds, scheme="x86", rounding=False)
    layers = [layer.node for layer in int8_layers(model, measured)]
    back = layers[::every]
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False, exclude=back)
    run = kit.executed(made.model, tmp_path, everything=True)
    assert sum(op in INTEGER_LAYERS for op in kit.ops(run)) == len(layers) - len(back)
