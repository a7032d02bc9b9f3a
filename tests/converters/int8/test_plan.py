"""Which nodes become INT8, and why the others do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.schemes import SCHEMES
from edgevision.errors import ModelError


def test_x86_drops_relu_and_clip_that_the_quantizer_implies(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86")
    assert not {"Relu", "Clip"} & set(kit.ops(made.model.graph))
    values = kit.constants(made.model)
    assert values["r/zero"] == 0
    assert values["r/zero"].dtype == np.uint8
    assert values["six/scale"] * 255 <= 6.0 + 1e-5


def test_tail_stays_float_and_says_why(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86")
    assert made.report["float"] == {"node_s": "part of the decode tail"}
    assert "Sigmoid" in kit.ops(made.model.graph)


def test_report_accounts_for_every_node_of_x86(kit: Any, tmp_path: Path) -> None:
    model = kit.graph(
        """g (float[1,16,8,8] x) => (float[1,16,16,16] y, float[1,16,16,16] t) {
            u = Transpose<perm=[0,1,3,2]>(x)
            e = Exp(u)
            a = Conv(e, w)
            r = Relu(a)
            i = Resize<mode="linear", coordinate_transformation_mode="asymmetric">(r,, twice)
            b = Conv(i, w)
            o = Softmax<axis=1>(b)
            v = Transpose<perm=[0,1,3,2]>(o)
            f = Tanh(v)
            g = Add(f, v)
            h = Mul(g, g)
            k = Softmax<axis=1>(h)
            y = Conv(k, w)
            t = Tanh(b) }""",
        w=kit.normal(16, 16, 1, 1), twice=np.array([1, 1, 2, 2], np.float32),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 8, 8), scheme="x86")
    beside = "beside float nodes, where int8 would only add conversions"
    moving = "only moves data that float nodes give or read"
    assert made.report["int8"] == ["node_a", "node_b", "node_y"]
    assert made.report["float"] == {
        "node_u": moving, "node_e": "no int8 kernel for Exp",
        "node_i": "moves data in float between int8 nodes: no int8 kernel",
        "node_o": "no int8 kernel for Softmax", "node_v": moving,
        "node_f": "no int8 kernel for Tanh", "node_g": beside, "node_h": beside,
        "node_k": "no int8 kernel for Softmax", "node_t": "part of the decode tail",
    }  # fmt: skip
    assert kit.computed_in_float(kit.executed(made.model, tmp_path)) == set(made.report["float"])


def test_report_of_trt_names_what_is_left_to_be_fused(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="trt")
    assert made.report["int8"] == [f"node_{name}" for name in "adlmy"]
    fused = "left to be fused into the int8 layer before it"
    assert made.report["float"] == {
        "node_r": fused, "node_six": fused, "node_k": fused, "node_n": fused, "node_q": fused,
        "node_p": "only moves data that float nodes give or read",
        "node_s": "part of the decode tail",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("selfie", (1, 256, 256, 3)),
        ("esrgan-slim-x2", (1, 32, 32, 3)),
        ("ppocr-rec", (1, 3, 48, 320)),
    ],
)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_report_of_a_real_model_adds_up(
    kit: Any, name: str, shape: tuple[int, ...], scheme: str, test_data: Path, tmp_path: Path
) -> None:
    model = clean(load(test_data / "models" / f"{name}.onnx")).model
    picture = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    feed = {model.graph.input[0].name: picture}
    made = kit.quantize(model, lambda: iter([feed]), scheme=scheme, rounding=False)
    listed = [*made.report["int8"], *made.report["float"]]
    written = {n.name for n in made.model.graph.node}
    absorbed = [n.name for n in model.graph.node if n.name not in written]
    assert sorted([*listed, *absorbed]) == sorted(n.name for n in model.graph.node)
    if scheme == "x86":
        run = kit.executed(made.model, tmp_path)
        assert not kit.computed_in_float(run) & set(made.report["int8"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_small_layer_inside_the_network_is_int8_like_any_other(kit: Any, scheme: str) -> None:
    model = kit.graph(
        """g (float[1,4,8,8] x) => (float[1,16,8,8] y) {
            d = Conv<group=4, pads=[1,1,1,1]>(x, depthwise)
            r = Relu(d)
            y = Conv<pads=[1,1,1,1]>(r, w) }""",
        depthwise=kit.normal(4, 1, 3, 3), w=kit.normal(16, 4, 3, 3),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 4, 8, 8), scheme=scheme)
    assert made.report["int8"] == ["node_d", "node_y"]
    assert kit.agreement(model, made.model, kit.noise(1, 4, 8, 8), "y") > 33


@pytest.mark.parametrize("scheme", SCHEMES)
def test_attention_mask_of_minus_infinity_stays_float(kit: Any, scheme: str) -> None:
    mask = np.where(np.eye(8) > 0, 0, -np.inf).astype(np.float32)
    model = kit.graph(
        """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
            c = Conv(x, w)
            m = Add(c, mask)
            r = Relu(m)
            y = Conv(r, w) }""",
        mask=mask, w=kit.normal(16, 16, 1, 1),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 8, 8), scheme=scheme)
    if scheme == "x86":
        assert made.report["float"]["node_m"] == "a constant operand is empty or not finite"
    assert made.report["int8"] == ["node_c", "node_y"]
    assert kit.agreement(model, made.model, kit.noise(1, 16, 8, 8), "y") > 33


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_layer_with_weights_that_are_not_finite_stays_float(kit: Any, bad: float) -> None:
    broken = kit.normal(16, 16, 1, 1)
    broken[3, 3] = bad
    model = kit.graph("g (float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }", w=broken)
    with pytest.raises(ModelError, match="its weights are not finite"):
        kit.quantize(model, kit.noise(1, 16, 8, 8), scheme="x86")


def test_model_without_layers_is_a_model_error(kit: Any) -> None:
    with pytest.raises(ModelError, match="nothing in this model") as caught:
        kit.quantize(
            kit.graph("g (float[4] x) => (float[4] y) { y = Relu(x) }"), kit.noise(4), scheme="x86"
        )
    assert "leave out --precision and --calibration" in caught.value.hint


def test_float16_model_is_called_that(kit: Any) -> None:
    model = kit.graph(
        "g (float16[1,16,4,4] x) => (float16[1,16,4,4] y) { y = Conv(x, w) }",
        w=kit.normal(16, 16, 1, 1).astype(np.float16),
    )
    with pytest.raises(ModelError, match="its weights are float16") as caught:
        kit.quantize(model, kit.noise(1, 16, 4, 4), scheme="x86")
    assert "export the model in float32" in caught.value.hint
