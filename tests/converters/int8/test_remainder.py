"""int8-trt: what stays float is float16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto

from edgevision.converters.fp16.emulate import emulated
from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.index import elem_types
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.int8.read_back import read_back
from edgevision.errors import ModelError


def test_everything_beside_the_integers_is_float16(kit: Any) -> None:
    made = kit.halved(kit.body(), kit.FRAMES)
    types = elem_types(made.model)
    values = kit.constants(made.model)
    for node in made.model.graph.node:
        if node.op_type in ("Conv", "Relu", "Clip", "LeakyRelu", "Add", "MaxPool"):
            assert types[node.output[0]] == TensorProto.FLOAT16, node.name
        if node.op_type == "DequantizeLinear":
            assert values[node.input[1]].dtype == np.float16
    assert {types[v.name] for v in [*made.model.graph.input, *made.model.graph.output]} == {
        TensorProto.FLOAT
    }
    assert made.report["float32"] == {
        "node_s": "part of the decode tail: above 2048, float16 counts pixels in steps of 2"
    }
    (note,) = made.report["notes"]
    assert note.startswith("What stays in float is float16, but for 1 node in float32: 1 × part of")


def test_scales_keep_their_value_in_float16(kit: Any) -> None:
    measured = calibrate(kit.body(), kit.FRAMES, scheme="trt", rounding=False)
    plain = quantize_calibrated(kit.body(), measured, ranges="minmax", rounding=False)
    before, after = (
        kit.constants(m) for m in (plain.model, kit.halved(kit.body(), kit.FRAMES).model)
    )
    scales = [name for name in before if name.endswith(("/scale", "/scales"))]
    assert scales
    for name in scales:
        half = after[f"{name}/fp16"]
        assert half.dtype == np.float16
        np.testing.assert_array_equal(half.astype(np.float32), before[name])


def test_a_channel_with_vanishing_weights_keeps_its_layer_in_float16(kit: Any) -> None:
    weights = kit.normal(16, 16, 1, 1)
    weights[3], weights[5] = 1e-20, 2e-5
    model = kit.graph("g (float[1,16,4,4] x) => (float[1,16,4,4] y) { y = Conv(x, w, b) }",
                      w=weights, b=kit.normal(16, 1)[:, 0])  # fmt: skip
    made = kit.halved(model, kit.noise(1, 16, 4, 4))
    counts = read_back(made.model, "trt", half=made.report["half"])
    assert (counts["layers"], counts["half_layers"]) == (1, 1)
    assert kit.agreement(model, emulated(made.model), kit.noise(1, 16, 4, 4), "y") > 33


def test_a_layer_that_was_put_back_is_float16_and_has_no_shield(kit: Any) -> None:
    made = kit.halved(kit.body(), kit.FRAMES, exclude=("node_d",))
    counts = read_back(made.model, "trt", half=made.report["half"])
    assert (counts["layers"], counts["half_layers"], counts["float_layers"]) == (4, 4, 1)
    assert "node_d" in made.report["half"]
    assert "Max" not in kit.ops(made.model.graph)


def test_it_computes_what_the_int8_graph_with_a_float32_remainder_computes(kit: Any) -> None:
    measured = calibrate(kit.body(), kit.FRAMES, scheme="trt", rounding=False)
    plain = quantize_calibrated(kit.body(), measured, ranges="minmax", rounding=False).model
    half = emulated(kit.halved(kit.body(), kit.FRAMES).model)
    # Rounding to float16 may tip a value to the next integer, no more: far below int8's own error.
    assert kit.agreement(plain, half, kit.FRAMES, "y") > kit.agreement(
        kit.body(), plain, kit.FRAMES, "y"
    )


def test_onnxruntime_runs_it_rightly_without_the_optimizer_that_loses_its_biases(kit: Any) -> None:
    """Two float16 scales of 2⁻¹³ multiply to a float16 of 0: see backends/ort.py."""
    model = kit.graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            a = Conv(x, w, b)  r = Relu(a)  y = Conv(r, w) }""",
        w=kit.normal(16, 16, 1, 1) * np.float32(0.02), b=np.full(16, 0.01, np.float32),
    )  # fmt: skip

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for feed in kit.noise(1, 16, 4, 4)():
            yield {"x": feed["x"] * np.float32(0.005)}

    made = kit.halved(model, feeds).model
    feed = next(feeds())
    expected = run_once(model, feed)["y"]
    ratios = {}
    for disabled in (None, ["WeightBiasQuantization"]):
        session = ort.InferenceSession(made.SerializeToString(), disabled_optimizers=disabled)
        ratios[str(disabled)] = kit.snr_db(expected, session.run(["y"], feed)[0])
    assert ratios["['WeightBiasQuantization']"] > 30
    assert ratios["None"] < 20, "if this is right now, onnxruntime is mended"


BROKEN = {
    "a layer in float32": (lambda half: [*half, "node_s"], "no float16"),
    "a node in float16 that is not to be": (
        lambda half: [n for n in half if n != "node_k"], "received: float16"),
    "nothing in float16": (lambda _: None, "received: float16"),
}  # fmt: skip


@pytest.mark.parametrize(("names", "message"), BROKEN.values(), ids=BROKEN)
def test_another_remainder_than_was_planned_is_caught(
    kit: Any, names: Callable[[list[str]], list[str] | None], message: str
) -> None:
    made = kit.halved(kit.body(), kit.FRAMES)
    read_back(made.model, "trt", half=made.report["half"])
    with pytest.raises(ModelError, match=message):
        read_back(made.model, "trt", half=names(made.report["half"]))


# Name → the least agreement of its outputs with fp32, in dB.
REAL = {
    "nanodet": 17.0,
    "efficientnet-lite0": 17.0,
    "centerface": None,  # plain rounding ruins one of its outputs
    "garments": 25.0,
}


@pytest.mark.parametrize("name", REAL)
def test_real_models_get_a_float16_remainder(name: str, kit: Any, test_data: Path) -> None:
    least = REAL[name]
    model, feeds = kit.real(name, test_data)
    made = kit.halved(model, feeds)
    counts = read_back(made.model, "trt", half=made.report["half"])
    assert counts["half_layers"] == counts["layers"], "a float32 layer would eat the gain"
    assert counts["float_residuals"] == 0
    assert all(reason.startswith("part of the decode tail")
               for reason in made.report["float32"].values())  # fmt: skip
    if least is not None:
        feed = next(feeds())
        expected, actual = run_once(model, feed), run_once(emulated(made.model), feed)
        assert min(kit.snr_db(expected[k], actual[k]) for k in expected) > least
