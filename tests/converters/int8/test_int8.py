"""INT8 graphs: what they contain, what they compute, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.from_onnx import Quantized, calibrate, quantize_calibrated
from edgevision.converters.int8.read_back import read_back, refuse_quantized
from edgevision.errors import DataError, ModelError, UsageError

Feeds = Callable[[], Iterator[dict[str, np.ndarray]]]

BODY = """g (float[1,3,16,16] x) => (float[1,8,8,8] y, float[1,8,8,8] s) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r = Relu(a)
    d = Conv<pads=[1,1,1,1], group=16>(r, w1, b1)
    six = Clip(d, zero, top)
    p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(six)
    l = Conv(p, w2)
    k = LeakyRelu<alpha=0.1>(l)
    m = Conv<pads=[1,1,1,1]>(k, w3, b3)
    n = Add(m, k)
    q = Relu(n)
    y = Conv(q, w4, b4)
    s = Sigmoid(y) }"""


def graph(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


def normal(*shape: int) -> np.ndarray:
    fan_in = int(np.prod(shape[1:])) or 1
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return (values / np.sqrt(fan_in)).astype(np.float32)


def body() -> onnx.ModelProto:
    return graph(
        BODY,
        w0=normal(16, 3, 3, 3), b0=normal(16, 1)[:, 0], w1=normal(16, 1, 3, 3),
        b1=normal(16, 1)[:, 0], w2=normal(16, 16, 1, 1), w3=normal(16, 16, 3, 3),
        b3=normal(16, 1)[:, 0], w4=normal(8, 16, 1, 1), b4=normal(8, 1)[:, 0],
        zero=np.array(0, np.float32), top=np.array(6, np.float32),
    )  # fmt: skip


def noise(*shape: int, count: int = 12) -> Feeds:
    def feeds() -> Iterator[dict[str, np.ndarray]]:
        generator = np.random.default_rng(7)
        for _ in range(count):
            yield {"x": generator.normal(size=shape).astype(np.float32)}

    return feeds


FRAMES = noise(1, 3, 16, 16)


def quantize(
    model: onnx.ModelProto,
    feeds: Feeds,
    *,
    scheme: str,
    ranges: str = "minmax",
    rounding: bool = True,
    exclude: Sequence[str] = (),
) -> Quantized:
    measured = calibrate(model, feeds, scheme=scheme, rounding=rounding, exclude=exclude)
    return quantize_calibrated(model, measured, ranges=ranges, rounding=rounding)


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    lost = np.square(expected - actual).sum()
    return float(10 * np.log10(np.square(expected).sum() / max(lost, 1e-20)))


def agreement(
    model: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Feeds, output: str
) -> float:
    pairs = [(run_once(model, f)[output], run_once(quantized, f)[output]) for f in feeds()]
    return snr_db(*(np.stack(side) for side in zip(*pairs, strict=True)))


def ops(graph: onnx.GraphProto) -> list[str]:
    return [n.op_type for n in graph.node]


def executed(model: onnx.ModelProto, tmp_path: Path) -> onnx.GraphProto:
    """The nodes that onnxruntime really runs."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(str(tmp_path / "optimized.onnx")).graph


def computed_in_float(run: onnx.GraphProto) -> set[str]:
    """Names of the nodes that onnxruntime feeds with floats, conversions to integers left out."""
    makers = {name: node for node in run.node for name in node.output}
    integer = set()
    for node in run.node:
        first = makers.get(node.input[0])
        if node.op_type.startswith(("Q", "MatMulInteger")) or (
            node.op_type != "DequantizeLinear" and first is not None and first.name in integer
        ):
            integer.add(node.name)
    conversions = ("QuantizeLinear", "DequantizeLinear")
    return {n.name for n in run.node if n.op_type not in conversions} - integer


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def scale_into(model: onnx.ModelProto, tensor: str) -> float:
    """The scale of the DequantizeLinear that gives ``tensor``."""
    node = next(n for n in model.graph.node if tensor in n.output)
    assert node.op_type == "DequantizeLinear"
    return float(constants(model)[node.input[1]])


@pytest.mark.parametrize("scheme", ["x86", "trt"])
@pytest.mark.parametrize("rounding", [False, True])
def test_int8_stays_close_to_float(scheme: str, rounding: bool) -> None:
    made = quantize(body(), FRAMES, scheme=scheme, rounding=rounding)
    assert agreement(body(), made.model, FRAMES, "y") > 33
    assert read_back(made.model, scheme)["convs"] == 5


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_graph_means_what_the_onnx_standard_says(scheme: str) -> None:
    made = quantize(body(), FRAMES, scheme=scheme).model
    feed = next(FRAMES())
    made.opset_import[0].version = 21  # the evaluator knows Q/DQ from 19 on; nothing else differs
    expected = ReferenceEvaluator(made).run(["y"], feed)[0]
    actual = run_once(made, feed, optimize=False)["y"]
    assert snr_db(expected, actual) > 40  # a tie may round either way


def test_x86_graph_runs_as_integer_kernels_throughout(tmp_path: Path) -> None:
    made = quantize(body(), FRAMES, scheme="x86")
    graph = executed(made.model, tmp_path)
    assert computed_in_float(graph) == {"node_s"}
    run = ops(graph)
    assert (run.count("QLinearConv"), run.count("MaxPool")) == (5, 1)
    assert run.count("QuantizeLinear") == 1, "only the input is quantized"
    # Once for the graph's output, once for the Sigmoid behind it.
    assert run.count("DequantizeLinear") == 2, "only the last conv's output is dequantized"


def test_x86_drops_relu_and_clip_that_the_quantizer_implies() -> None:
    made = quantize(body(), FRAMES, scheme="x86")
    assert not {"Relu", "Clip"} & set(ops(made.model.graph))
    values = constants(made.model)
    assert values["r/zero"] == 0
    assert values["r/zero"].dtype == np.uint8
    assert values["six/scale"] * 255 <= 6.0 + 1e-5


def test_trt_is_symmetric_int8_with_float_bias_and_keeps_activations() -> None:
    made = quantize(body(), FRAMES, scheme="trt").model
    assert ops(made.graph).count("Relu") == 2
    values = constants(made)
    zeros = [values[n.input[2]] for n in made.graph.node if n.op_type.endswith("eLinear")]
    assert zeros
    assert all(z.dtype == np.int8 and not z.any() for z in zeros)
    biases = [n.input[2] for n in made.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert biases
    assert all(values[b].dtype == np.float32 for b in biases)


def test_trt_puts_no_scale_between_a_conv_and_its_activation_nor_behind_the_last() -> None:
    made = quantize(body(), FRAMES, scheme="trt").model
    readers = {
        name: [n.op_type for n in made.graph.node if name in n.input]
        for conv in made.graph.node
        if conv.op_type == "Conv"
        for name in conv.output
    }
    assert readers == {"a": ["Relu"], "d": ["Clip"], "l": ["LeakyRelu"], "m": ["Add"],
                       "y": ["Sigmoid"]}  # fmt: skip


def test_scales_by_hand() -> None:
    model = graph(
        "g (float[1,80] x) => (float[1,3] y) { r = Relu(x) y = MatMul(r, w) }", w=normal(80, 3)
    )
    frame = np.linspace(-2, 5.1, 80, dtype=np.float32)[None]

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": frame}
        yield {"x": frame / 2}

    assert scale_into(quantize(model, feeds, scheme="x86").model, "r") == pytest.approx(5.1 / 255)
    assert scale_into(quantize(model, feeds, scheme="trt").model, "r") == pytest.approx(5.1 / 127)
    mean = quantize(model, feeds, scheme="trt", ranges="mean").model
    assert scale_into(mean, "r") == pytest.approx(5.1 * 0.75 / 127)
    weights = constants(mean)["node_y/weights/scales"]
    np.testing.assert_allclose(weights, np.abs(normal(80, 3)).max(axis=0) / 127, rtol=1e-6)


def test_value_moving_nodes_share_one_scale() -> None:
    model = graph(
        """g (float[1,16,8,8] x) => (float[1,16,4,16] y) {
            c = Conv(x, w)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)
            t = Transpose<perm=[0,1,3,2]>(p)
            a, b = Split<axis=1>(t)
            j = Concat<axis=3>(a, b)
            k = Concat<axis=1>(j, j)
            y = Conv(k, w) }""",
        w=normal(16, 16, 1, 1),
    )
    made = quantize(model, noise(1, 16, 8, 8), scheme="x86").model
    assert len({scale_into(made, name) for name in ("c", "p", "t", "a", "b", "j", "k")}) == 1


def test_concat_of_very_different_ranges_keeps_separate_scales() -> None:
    model = graph(
        """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            b = Conv(x, large)
            j = Concat<axis=1>(a, b)
            y = Conv(j, w2) }""",
        w=normal(16, 16, 1, 1),
        large=normal(16, 16, 1, 1) * 50,
        w2=normal(16, 32, 1, 1),
    )
    made = quantize(model, noise(1, 16, 8, 8), scheme="x86").model
    assert scale_into(made, "b") > 20 * scale_into(made, "a")


SHARED_WITH_SIGNED = {
    "relu": "a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)  j = Concat<axis=1>(r, b)",
    "sibling first": "a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)  j = Concat<axis=1>(b, r)",
    "clip": "a = Conv(x, w)  r = Clip(a, low, top)  b = Conv(x, w1)  j = Concat<axis=1>(r, b)",
    "moved": """a = Conv(x, w)  r = Relu(a)  m = Transpose<perm=[0,1,3,2]>(r)
                b = Conv(x, w1)  j = Concat<axis=1>(m, b)""",
    "a later concat": """a = Conv(x, w)  r = Relu(a)  b = Conv(x, w1)
                         i = Concat<axis=2>(r, r)  k = Concat<axis=2>(b, b)
                         j = Concat<axis=1>(i, k)""",
    "relu behind": """a = Conv(x, w)  b = Conv(x, w1)  i = Concat<axis=1>(a, b)
                      j = Relu(i)""",
}


@pytest.mark.parametrize("text", SHARED_WITH_SIGNED.values(), ids=SHARED_WITH_SIGNED)
def test_absorbed_relu_still_clips_beside_a_signed_concat_sibling(text: str) -> None:
    model = graph(
        f"g (float[1,16,8,8] x) => (float[1,16,n,8] y) {{ {text}  y = Conv(j, w2) }}",
        w=normal(16, 16, 1, 1), w1=normal(16, 16, 1, 1)[::-1].copy(), w2=normal(16, 32, 1, 1),
        low=np.array(-0.5, np.float32), top=np.array(4, np.float32),
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 8, 8), scheme="x86")
    assert not {"Relu", "Clip"} & set(ops(made.model.graph)), "the test needs an absorbed one"
    assert agreement(model, made.model, noise(1, 16, 8, 8), "y") > 33


def test_excluded_layer_is_really_float_in_onnxruntime(tmp_path: Path) -> None:
    made = quantize(body(), FRAMES, scheme="x86", exclude=["node_l"])
    assert made.report["float"]["node_l"] == "excluded on request"
    run = ops(executed(made.model, tmp_path))
    assert (run.count("QLinearConv"), run.count("Conv") + run.count("FusedConv")) == (4, 1)


def test_tail_stays_float_and_says_why() -> None:
    made = quantize(body(), FRAMES, scheme="x86")
    assert made.report["float"] == {"node_s": "part of the decode tail"}
    assert "Sigmoid" in ops(made.model.graph)


def test_report_accounts_for_every_node_of_x86(tmp_path: Path) -> None:
    model = graph(
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
        w=normal(16, 16, 1, 1), twice=np.array([1, 1, 2, 2], np.float32),
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 8, 8), scheme="x86")
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
    assert computed_in_float(executed(made.model, tmp_path)) == set(made.report["float"])


def test_report_of_trt_names_what_is_left_to_be_fused() -> None:
    made = quantize(body(), FRAMES, scheme="trt")
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
@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_report_of_a_real_model_adds_up(
    name: str, shape: tuple[int, ...], scheme: str, test_data: Path, tmp_path: Path
) -> None:
    model = clean(load(test_data / "models" / f"{name}.onnx")).model
    picture = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    feed = {model.graph.input[0].name: picture}
    made = quantize(model, lambda: iter([feed]), scheme=scheme, rounding=False)
    listed = [*made.report["int8"], *made.report["float"]]
    written = {n.name for n in made.model.graph.node}
    absorbed = [n.name for n in model.graph.node if n.name not in written]
    assert sorted([*listed, *absorbed]) == sorted(n.name for n in model.graph.node)
    if scheme == "x86":
        run = executed(made.model, tmp_path)
        assert not computed_in_float(run) & set(made.report["int8"])


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_small_layer_inside_the_network_is_int8_like_any_other(scheme: str) -> None:
    model = graph(
        """g (float[1,4,8,8] x) => (float[1,16,8,8] y) {
            d = Conv<group=4, pads=[1,1,1,1]>(x, depthwise)
            r = Relu(d)
            y = Conv<pads=[1,1,1,1]>(r, w) }""",
        depthwise=normal(4, 1, 3, 3), w=normal(16, 4, 3, 3),
    )  # fmt: skip
    made = quantize(model, noise(1, 4, 8, 8), scheme=scheme)
    assert made.report["int8"] == ["node_d", "node_y"]
    assert agreement(model, made.model, noise(1, 4, 8, 8), "y") > 33


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_gemm_and_matmul_are_quantized_per_column(scheme: str) -> None:
    model = graph(
        """g (float[4,32] x) => (float[4,10] y) {
            a = Gemm<transB=1>(x, w0, b0)
            r = Relu(a)
            y = MatMul(r, w1) }""",
        w0=normal(64, 32), b0=normal(64, 1)[:, 0], w1=normal(64, 10),
    )  # fmt: skip
    made = quantize(model, noise(4, 32), scheme=scheme)
    assert read_back(made.model, scheme)["layers"] == 2
    assert agreement(model, made.model, noise(4, 32), "y") > 33


def test_dead_activations_and_weights_are_guarded_and_reported() -> None:
    model = graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            c = Conv(x, none, minus)
            r = Relu(c)
            y = Conv(r, w, b) }""",
        none=np.zeros((16, 16, 1, 1), np.float32), minus=np.full(16, -1, np.float32),
        w=normal(16, 16, 1, 1), b=normal(16, 1)[:, 0],
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 4, 4), scheme="x86")
    assert any("'r' was 0 everywhere" in w for w in made.report["warnings"])
    assert made.report["int8"] == ["node_c", "node_y"]
    assert agreement(model, made.model, noise(1, 16, 4, 4), "y") > 33


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_branch_that_its_weights_make_zero_stays_int8(scheme: str) -> None:
    model = graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            c = Conv(x, vanishing, minus)
            r = Relu(c)
            t = Transpose<perm=[0,1,3,2]>(r)
            d = Conv(t, w)
            l = Conv(x, w1)
            j = Concat<axis=1>(d, l)
            y = Conv(j, w2) }""",
        vanishing=np.full((16, 16, 1, 1), 1e-20, np.float32), minus=np.full(16, -1, np.float32),
        w=normal(16, 16, 1, 1), w1=normal(16, 16, 1, 1), w2=normal(16, 32, 1, 1),
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 4, 4), scheme=scheme)
    assert {"node_c", "node_d", "node_l", "node_j", "node_y"} <= set(made.report["int8"])
    assert agreement(model, made.model, noise(1, 16, 4, 4), "y") > 33


# The second half of x wakes a branch that the calibration frames leave at 0.
SLEEPING = {
    "relu": "c = Conv(x, second)  r = Relu(c)",
    "clip": "c = Conv(x, second)  r = Clip(c, zero, top)",
    "moved": "c = Conv(x, second)  q = Relu(c)  r = MaxPool<kernel_shape=[1,1]>(q)",
    "layers": "c = Conv(x, second)  q = Relu(c)  d = Conv(q, w)  r = Relu(d)",
}


@pytest.mark.parametrize("scheme", ["x86", "trt"])
@pytest.mark.parametrize("text", SLEEPING.values(), ids=SLEEPING)
def test_branch_that_was_zero_on_all_calibration_frames_may_wake(scheme: str, text: str) -> None:
    second = np.abs(normal(16, 32, 1, 1))
    second[:, :16] = 0
    model = graph(
        f"""g (float[1,32,4,4] x) => (float[1,16,4,4] y, float[1,16,4,4] z) {{
            {text}
            y = Conv(r, w)
            l = Conv(x, w1)
            z = Conv(l, w) }}""",
        second=second, w=normal(16, 16, 1, 1), w1=normal(16, 32, 1, 1),
        zero=np.array(0, np.float32), top=np.array(6, np.float32),
    )  # fmt: skip

    def frames(*, awake: bool) -> Iterator[dict[str, np.ndarray]]:
        for feed in noise(1, 32, 4, 4)():
            feed["x"][:, 16:] = np.abs(feed["x"][:, 16:]) if awake else 0
            yield feed

    made = quantize(model, lambda: frames(awake=False), scheme=scheme)
    assert agreement(model, made.model, lambda: frames(awake=True), "y") > 30
    assert agreement(model, made.model, lambda: frames(awake=False), "z") > 30
    assert "0 in every calibration picture" in made.report["float"]["node_y"]
    assert any("was 0 everywhere" in w for w in made.report["warnings"])


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_what_was_never_finite_stays_float(scheme: str) -> None:
    model = graph(
        """g (float[1,16,4,4] x) => (float[1,16,4,4] y) {
            l = Log(minus)
            n = Mul(x, l)
            c = Conv(n, w)
            s = IsNaN(c)
            o = Conv(x, w)
            h = Where(s, x, c)
            j = Add(h, o)
            y = Conv(j, w) }""",
        minus=np.array(-1, np.float32), w=normal(16, 16, 1, 1),
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 4, 4), scheme=scheme)
    assert made.report["float"]["node_c"] == "beside values that were never finite"
    assert {"node_o", "node_y"} <= set(made.report["int8"])
    assert any("'n' was never finite" in w for w in made.report["warnings"])
    assert agreement(model, made.model, noise(1, 16, 4, 4), "y") > 33


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_model_that_is_never_finite_says_why_nothing_is_left(scheme: str) -> None:
    model = graph("g (float[1,16] x) => (float[1,16] y) { y = MatMul(x, w) }", w=normal(16, 16))
    with pytest.raises(ModelError, match="never finite"):
        quantize(model, lambda: iter([{"x": np.full((1, 16), np.nan, np.float32)}]), scheme=scheme)


@pytest.mark.parametrize("scheme", ["x86", "trt"])
def test_attention_mask_of_minus_infinity_stays_float(scheme: str) -> None:
    mask = np.where(np.eye(8) > 0, 0, -np.inf).astype(np.float32)
    model = graph(
        """g (float[1,16,8,8] x) => (float[1,16,8,8] y) {
            c = Conv(x, w)
            m = Add(c, mask)
            r = Relu(m)
            y = Conv(r, w) }""",
        mask=mask, w=normal(16, 16, 1, 1),
    )  # fmt: skip
    made = quantize(model, noise(1, 16, 8, 8), scheme=scheme)
    if scheme == "x86":
        assert made.report["float"]["node_m"] == "a constant operand is empty or not finite"
    assert made.report["int8"] == ["node_c", "node_y"]
    assert agreement(model, made.model, noise(1, 16, 8, 8), "y") > 33


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_layer_with_weights_that_are_not_finite_stays_float(bad: float) -> None:
    broken = normal(16, 16, 1, 1)
    broken[3, 3] = bad
    model = graph("g (float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }", w=broken)
    with pytest.raises(ModelError, match="its weights are not finite"):
        quantize(model, noise(1, 16, 8, 8), scheme="x86")


def test_scales_of_constant_operands_by_hand() -> None:
    model = graph(
        """g (float[1,16,2,2] x) => (float[1,16,2,2] y) {
            c = Conv(x, w)
            n = Add(c, operand)
            y = Conv(n, w) }""",
        operand=np.linspace(2, 3, 16, dtype=np.float32).reshape(1, 16, 1, 1),
        w=normal(16, 16, 1, 1),
    )
    values = constants(quantize(model, noise(1, 16, 2, 2), scheme="x86").model)
    # 0…3 in 255 steps: 2 is 170 of them.
    assert values["node_n/operand1/scale"] == pytest.approx(3 / 255)
    assert values["node_n/operand1/zero"] == 0
    assert values["node_n/operand1/integers"].reshape(-1)[[0, -1]].tolist() == [170, 255]


@pytest.mark.filterwarnings("error")
def test_inputs_too_large_for_second_moments_are_rounded_to_nearest_and_reported() -> None:
    model = graph("g (float[1,16,4,4] x) => (float[1,16,4,4] y) { y = Conv(x, w) }",
                  w=normal(16, 16, 1, 1))  # fmt: skip

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        for feed in noise(1, 16, 4, 4)():
            yield {"x": feed["x"] * np.float32(1e25)}  # squared it is beyond float32

    made = quantize(model, feeds, scheme="trt")
    assert any("'node_y'" in w and "too large" in w for w in made.report["warnings"])
    plain = quantize(model, feeds, scheme="trt", rounding=False)
    assert not plain.report["warnings"]
    integers = [constants(m.model)["node_y/weights/integers"] for m in (made, plain)]
    np.testing.assert_array_equal(*integers)


def test_bias_of_a_channel_with_vanishing_weights_does_not_overflow() -> None:
    weights, bias = normal(16, 16, 1, 1), normal(16, 1)[:, 0]
    weights[3] = 1e-20
    bias[3] = 5.0
    model = graph("g (float[1,16,4,4] x) => (float[1,16,4,4] y) { y = Conv(x, w, b) }",
                  w=weights, b=bias)  # fmt: skip
    made = quantize(model, noise(1, 16, 4, 4), scheme="x86")
    channel = run_once(made.model, next(noise(1, 16, 4, 4)()))["y"][0, 3]
    np.testing.assert_allclose(channel, 5.0, atol=0.03)


def test_same_inputs_give_the_same_bytes_and_leave_the_model_alone() -> None:
    model = body()
    first, second = (
        quantize(model, FRAMES, scheme="x86").model.SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second
    assert model == body()


def test_quantized_model_is_refused() -> None:
    made = quantize(body(), FRAMES, scheme="x86").model
    refuse_quantized(body())
    with pytest.raises(ModelError, match="quantized already") as caught:
        quantize(made, FRAMES, scheme="trt")
    assert "leave out --precision and --calibration" in caught.value.hint


@pytest.mark.parametrize("choice", [{"scheme": "arm9"}, {"scheme": "x86", "ranges": "magic"}])
def test_unknown_choices_are_usage_errors(choice: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="unknown"):
        quantize(body(), FRAMES, **choice)


def test_no_frames_is_a_data_error() -> None:
    with pytest.raises(DataError):
        quantize(body(), lambda: iter(()), scheme="x86")


def test_model_without_layers_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="nothing in this model") as caught:
        quantize(graph("g (float[4] x) => (float[4] y) { y = Relu(x) }"), noise(4), scheme="x86")
    assert "leave out --precision and --calibration" in caught.value.hint


def test_float16_model_is_called_that() -> None:
    model = graph(
        "g (float16[1,16,4,4] x) => (float16[1,16,4,4] y) { y = Conv(x, w) }",
        w=normal(16, 16, 1, 1).astype(np.float16),
    )
    with pytest.raises(ModelError, match="its weights are float16") as caught:
        quantize(model, noise(1, 16, 4, 4), scheme="x86")
    assert "export the model in float32" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x/zero", np.array(3, np.int8), "zero point 3"),
        ("x/zero", np.array(0, np.uint8), "uint8 integers"),
        ("x/scale", np.array(0, np.float32), "the scale 0"),
        ("x/scale", np.array(np.nan, np.float32), "the scale nan"),
        ("node_y/weights/scales", np.ones(3, np.float32), "3 scales"),
    ],
)
def test_read_back_finds_a_graph_that_breaks_the_scheme(
    name: str, value: np.ndarray, message: str
) -> None:
    made = quantize(body(), FRAMES, scheme="trt").model
    tensor = next(t for t in made.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))
    with pytest.raises(ModelError, match=message):
        read_back(made, "trt")


def test_read_back_tells_the_schemes_apart() -> None:
    measured = {s: quantize(body(), FRAMES, scheme=s).model for s in ("x86", "trt")}
    with pytest.raises(ModelError):
        read_back(measured["x86"], "trt")
    with pytest.raises(ModelError, match="float bias"):
        read_back(measured["trt"], "x86")


def video_frames(file: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(file))
    frames = [capture.read()[1] for _ in range(count)]
    capture.release()
    return frames


def test_nanodet_is_int8_from_end_to_end(test_data: Path, tmp_path: Path) -> None:
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    deviation = np.array([57.375, 57.12, 58.395], np.float32)
    arrays = [
        ((cv2.resize(f, (416, 416)).astype(np.float32) - mean) / deviation).transpose(2, 0, 1)[None]
        for f in video_frames(test_data / "video" / "vtest.avi", 6)
    ]
    model = clean(load(test_data / "models" / "nanodet.onnx")).model
    measured = calibrate(
        model, lambda: ({"input_1:0": a} for a in arrays), scheme="x86", rounding=False
    )
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False)
    run = executed(made.model, tmp_path)
    assert ops(run).count("QLinearConv") == 37
    assert "Conv" not in ops(run)
    assert not computed_in_float(run) & set(made.report["int8"])
    assert sorted([*made.report["int8"], *made.report["float"]]) == sorted(
        n.name for n in model.graph.node
    ), "every node is accounted for; this model has no Relu to absorb"
    feed = {"input_1:0": arrays[0]}
    expected, actual = run_once(model, feed), run_once(made.model, feed)
    assert min(snr_db(expected[k], actual[k]) for k in expected) > 17
