"""INT8 graphs from end to end: what they compute, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.int8.read_back import read_back
from edgevision.converters.int8.schemes import SCHEMES
from edgevision.errors import DataError, UsageError


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rounding", [False, True])
def test_int8_stays_close_to_float(kit: Any, scheme: str, rounding: bool) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme=scheme, rounding=rounding)
    assert kit.agreement(kit.body(), made.model, kit.FRAMES, "y") > 33
    assert read_back(made.model, scheme)["convs"] == 5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_graph_means_what_the_onnx_standard_says(kit: Any, scheme: str) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme=scheme).model
    feed = next(kit.FRAMES())
    made.opset_import[0].version = 21  # the evaluator knows Q/DQ from 19 on; nothing else differs
    expected = ReferenceEvaluator(made).run(["y"], feed)[0]
    actual = run_once(made, feed, optimize=False)["y"]
    assert kit.snr_db(expected, actual) > 40  # a tie may round either way


def test_x86_graph_runs_as_integer_kernels_throughout(kit: Any, tmp_path: Path) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="x86")
    graph = kit.executed(made.model, tmp_path)
    assert kit.computed_in_float(graph) == {"node_s"}
    run = kit.ops(graph)
    assert (run.count("QLinearConv"), run.count("MaxPool")) == (5, 1)
    assert run.count("QuantizeLinear") == 1, "only the input is quantized"
    # Once for the graph's output, once for the Sigmoid behind it.
    assert run.count("DequantizeLinear") == 2, "only the last conv's output is dequantized"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gemm_and_matmul_are_quantized_per_column(kit: Any, scheme: str) -> None:
    model = kit.graph(
        """g (float[4,32] x) => (float[4,10] y) {
            a = Gemm<transB=1>(x, w0, b0)
            r = Relu(a)
            y = MatMul(r, w1) }""",
        w0=kit.normal(64, 32), b0=kit.normal(64, 1)[:, 0], w1=kit.normal(64, 10),
    )  # fmt: skip
    made = kit.quantize(model, kit.noise(4, 32), scheme=scheme)
    assert read_back(made.model, scheme)["layers"] == 2
    assert kit.agreement(model, made.model, kit.noise(4, 32), "y") > 33


@pytest.mark.parametrize("choice", [{"scheme": "arm9"}, {"scheme": "x86", "ranges": "magic"}])
def test_unknown_choices_are_usage_errors(kit: Any, choice: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="unknown"):
        kit.quantize(kit.body(), kit.FRAMES, **choice)


def test_no_frames_is_a_data_error(kit: Any) -> None:
    with pytest.raises(DataError):
        kit.quantize(kit.body(), lambda: iter(()), scheme="x86")


def test_nanodet_is_int8_from_end_to_end(kit: Any, test_data: Path, tmp_path: Path) -> None:
    mean = np.array([103.53, 116.28, 123.675], np.float32)
    deviation = np.array([57.375, 57.12, 58.395], np.float32)
    arrays = [
        ((cv2.resize(f, (416, 416)).astype(np.float32) - mean) / deviation).transpose(2, 0, 1)[None]
        for f in kit.video_frames(test_data / "video" / "vtest.avi", 6)
    ]
    model = clean(load(test_data / "models" / "nanodet.onnx")).model
    measured = calibrate(
        model, lambda: ({"input_1:0": a} for a in arrays), scheme="x86", rounding=False
    )
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False)
    run = kit.executed(made.model, tmp_path)
    assert kit.ops(run).count("QLinearConv") == 37
    assert "Conv" not in kit.ops(run)
    assert not kit.computed_in_float(run) & set(made.report["int8"])
    assert sorted([*made.report["int8"], *made.report["float"]]) == sorted(
        n.name for n in model.graph.node
    ), "every node is accounted for; this model has no Relu to absorb"
    feed = {"input_1:0": arrays[0]}
    expected, actual = run_once(model, feed), run_once(made.model, feed)
    assert min(kit.snr_db(expected[k], actual[k]) for k in expected) > 17
