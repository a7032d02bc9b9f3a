"""INT8 graphs: what they contain, what they compute, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edgevision.converters.candidates import CANDIDATES, Candidate, best_candidate
from edgevision.converters.clean import clean
from edgevision.converters.execute import run_once
from edgevision.converters.int8_from_onnx import (
    Quantized,
    calibrate,
    quantize,
    quantize_calibrated,
    read_back,
    refuse_quantized,
)
from edgevision.converters.onnx_file import load
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


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    lost = np.square(expected - actual).sum()
    return float(10 * np.log10(np.square(expected).sum() / max(lost, 1e-20)))


def agreement(
    model: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Feeds, output: str
) -> float:
    pairs = [(run_once(model, f)[output], run_once(quantized, f)[output]) for f in feeds()]
    return snr_db(*(np.stack(side) for side in zip(*pairs, strict=True)))


def ops(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node]


def executed(model: onnx.ModelProto, tmp_path: Path) -> list[str]:
    """The operators that onnxruntime really runs."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return ops(onnx.load(str(tmp_path / "optimized.onnx")))


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
    assert agreement(body(), made.model, FRAMES, "y") > 25
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
    run = executed(made.model, tmp_path)
    assert run.count("QLinearConv") == 5
    assert not {"Conv", "Relu", "Clip", "LeakyRelu", "Add", "MaxPool"} & set(run) - {"MaxPool"}
    assert run.count("QuantizeLinear") == 1, "only the input is quantized"
    # Once for the graph's output, once for the Sigmoid behind it.
    assert run.count("DequantizeLinear") == 2, "only the last conv's output is dequantized"


def test_x86_drops_relu_and_clip_that_the_quantizer_implies() -> None:
    made = quantize(body(), FRAMES, scheme="x86")
    assert not {"Relu", "Clip"} & set(ops(made.model))
    values = constants(made.model)
    assert values["r/zero"] == 0
    assert values["r/zero"].dtype == np.uint8
    assert values["six/scale"] * 255 <= 6.0 + 1e-5


def test_trt_is_symmetric_int8_with_float_bias_and_keeps_activations() -> None:
    made = quantize(body(), FRAMES, scheme="trt").model
    assert ops(made).count("Relu") == 2
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


def test_excluded_layer_is_really_float_in_onnxruntime(tmp_path: Path) -> None:
    made = quantize(body(), FRAMES, scheme="x86", exclude=["node_l"])
    assert made.report["float"]["node_l"] == "excluded on request"
    run = executed(made.model, tmp_path)
    assert (run.count("QLinearConv"), run.count("Conv") + run.count("FusedConv")) == (4, 1)


def test_tail_stays_float_and_says_why() -> None:
    made = quantize(body(), FRAMES, scheme="x86")
    assert made.report["float"] == {"node_s": "decode tail"}
    assert "Sigmoid" in ops(made.model)


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
    assert agreement(model, made.model, noise(4, 32), "y") > 25


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
    assert agreement(model, made.model, noise(1, 16, 4, 4), "y") > 25


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
    with pytest.raises(ModelError, match="quantized already"):
        quantize(made, FRAMES, scheme="trt")


@pytest.mark.parametrize("choice", [{"scheme": "arm9"}, {"scheme": "x86", "ranges": "magic"}])
def test_unknown_choices_are_usage_errors(choice: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="unknown"):
        quantize(body(), FRAMES, **choice)


def test_no_frames_is_a_data_error() -> None:
    with pytest.raises(DataError):
        quantize(body(), lambda: iter(()), scheme="x86")


def test_model_without_layers_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="nothing in this model"):
        quantize(graph("g (float[4] x) => (float[4] y) { y = Relu(x) }"), noise(4), scheme="x86")


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


def test_candidates_stop_at_the_first_with_margin_else_take_the_best() -> None:
    scores = dict(zip(CANDIDATES, [0.95, 0.97, 0.96, 0.5], strict=True))
    asked: list[Candidate] = []

    def score(made: Quantized) -> float:
        candidate = Candidate(made.report["ranges"], made.report["rounding"])
        asked.append(candidate)
        return scores[candidate]

    best, trials = best_candidate(body(), FRAMES, score, scheme="x86", target=0.95, margin=0.01)
    assert asked == list(CANDIDATES[:2])
    assert [t.score for t in trials] == [0.95, 0.97]
    assert best.report["ranges"] == CANDIDATES[1].ranges
    asked.clear()
    best, trials = best_candidate(body(), FRAMES, score, scheme="x86", target=0.99)
    assert len(asked) == len(trials) == 4
    assert best.report["ranges"] == CANDIDATES[1].ranges


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
    assert run.count("QLinearConv") == 37
    assert "Conv" not in run
    feed = {"input_1:0": arrays[0]}
    expected, actual = run_once(model, feed), run_once(made.model, feed)
    assert min(snr_db(expected[k], actual[k]) for k in expected) > 17
