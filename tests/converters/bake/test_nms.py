"""NMS in the graph finds what the decoder finds, for every family, on heads full of overlapping boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision import registry
from edgevision.converters.bake.nms import HEADS, bake_nms
from edgevision.converters.graph.execute import run_once
from edgevision.errors import SpecError, UsageError
from edgevision.geometry import Transform
from edgevision.results import Detections
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

H, W = 96, 128
LABELS = ("cat", "dog", "owl", "rat")
Arrays = dict[str, NDArray[Any]]


def _scores(random: np.random.Generator, count: int, classes: int) -> NDArray[np.float64]:
    """Most below 0.2; every ninth line has a class that is not."""
    scores = random.uniform(0, 0.2, (count, classes))
    strong = np.arange(0, count, 9)
    scores[strong, random.integers(0, classes, len(strong))] = random.uniform(0.2, 1, len(strong))
    return scores


def _crowded(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Centres and sizes of boxes that lie in a few heaps."""
    heaps = random.uniform(20, 80, (5, 4)) * (1, 1, 0.4, 0.4)
    return heaps[random.integers(0, 5, count)] + random.normal(0, 3, (count, 4)).clip(-8, 8)


def yolov8(random: np.random.Generator) -> Arrays:
    lines = np.concatenate([_crowded(random, 400), _scores(random, 400, 4)], axis=1)
    return {"out": lines.T[None]}


def yolov8_last(random: np.random.Generator) -> Arrays:
    return {"out": yolov8(random)["out"].transpose(0, 2, 1)}


def yolov5(random: np.random.Generator) -> Arrays:
    objectness = random.uniform(0.3, 1, (400, 1))
    return {"out": np.concatenate([_crowded(random, 400), objectness, _scores(random, 400, 4)], 1)[None]}  # fmt: skip


def yolox(random: np.random.Generator) -> Arrays:
    count = sum((H // s) * (W // s) for s in (8, 16, 32))
    raw = random.normal(0, 0.7, (count, 4)) + (0, 0, 1, 1)
    objectness = random.uniform(0.5, 1, (count, 1))
    return {"out": np.concatenate([raw, objectness, _scores(random, count, 4)], 1)[None]}


def nanodet(random: np.random.Generator) -> Arrays:
    arrays: Arrays = {}
    for stride in (8, 16, 32):
        count = (H // stride) * (W // stride)
        arrays[f"sides{stride}"] = random.normal(0, 2, (1, count, 44))
        arrays[f"scores{stride}"] = _scores(random, count, 4)[None]
    return arrays


def nanodet_logits(random: np.random.Generator) -> Arrays:
    arrays = nanodet(random)
    return {n: np.log(a / (1 - a)) if "scores" in n else a for n, a in arrays.items()}


_CELLS = [[H // s, W // s] for s in (8, 16)]
_LEVELS = [{"cells": c, "boxes": [[20, 24], [40, 30]]} for c in _CELLS]


def ssd(random: np.random.Generator) -> Arrays:
    count = 2 * sum(rows * columns for rows, columns in _CELLS)
    logits = random.normal(0, 1, (count, 5))
    logits[:, 0] += 3
    logits[::7, 1:] += random.uniform(1, 5, (len(logits[::7]), 4))
    return {"logits": logits[None], "boxes": random.normal(0, 1, (1, count, 4))}


def ssd_corners(random: np.random.Generator) -> Arrays:
    low = random.uniform(0.1, 0.5, (120, 2))
    boxes = np.concatenate([low, low + random.uniform(0.1, 0.4, (120, 2))], 1)
    return {"scores": _scores(random, 120, 5)[None], "boxes": boxes[None]}


_CORNERS = {"boxes": "corners", "activation": "none", "background": "last", "order": "yx"}
CASES: list[tuple[str, Any, dict[str, Any]]] = [
    ("yolov8", yolov8, {}),
    ("yolov8", yolov8_last, {"iou": 0.45}),
    ("yolov8", yolov8, {"class_agnostic": True}),
    ("yolov8", yolov8, {"classes": ["dog", 3], "max_detections": 7}),
    ("yolov8", yolov8, {"score": 0.1}),
    ("yolov5", yolov5, {}),
    ("yolov5", yolov5, {"classes": [0], "score": 0.4}),
    ("yolox", yolox, {}),
    ("yolox", yolov5, {"decoded": True}),
    ("nanodet", nanodet, {}),
    ("nanodet", nanodet_logits, {"activation": "sigmoid", "cell_offset": 0, "classes": ["owl"]}),
    ("ssd", ssd, {"levels": _LEVELS}),
    (
        "ssd",
        ssd,
        {"levels": _LEVELS, "activation": "sigmoid", "classes": [1, 2], "max_detections": 9},
    ),
    ("ssd", ssd_corners, _CORNERS),
]


def through(arrays: Mapping[str, NDArray[Any]], *, rows: int = 1) -> onnx.ModelProto:
    """A model with a picture as input whose heads are what they are fed with."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"{name}/in"], [name], name=name) for name in arrays],
        "heads",
        [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, (rows, 3, H, W)),
            *(helper.make_tensor_value_info(f"{n}/in", TensorProto.FLOAT, a.shape) for n, a in arrays.items()),
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def spec_of(decoder: str, params: dict[str, Any], task: str = "detect") -> ModelSpec:
    how = InputSpec(size=(H, W), tensor="images")
    return ModelSpec(task, how, OutputSpec(decoder, params), LABELS)


def decoded(spec: ModelSpec, outputs: Mapping[str, NDArray[Any]]) -> Detections:
    decoder = registry.load("decoders", spec.output.decoder)
    found = decoder(labels=spec.labels, **spec.output.params).decode(
        outputs, 0, Transform.identity(H, W)
    )
    assert isinstance(found, Detections)
    return found


def feed_of(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    picture = np.zeros((1, 3, H, W), np.float32)
    return {"images": picture, **{f"{n}/in": a.astype(np.float32) for n, a in arrays.items()}}


@pytest.mark.parametrize(("decoder", "make", "params"), CASES)
@pytest.mark.parametrize("opset", [17, 18])
def test_the_graph_finds_what_the_decoder_finds(decoder: str, make: Any, params: dict[str, Any], opset: int) -> None:  # fmt: skip
    arrays = make(np.random.default_rng(5))
    model, spec = through(arrays), spec_of(decoder, params)
    model.opset_import[0].version = opset
    baked = bake_nms(model, spec)
    onnx.checker.check_model(baked.model, full_check=True)
    assert baked.spec.output.decoder == "end2end"
    assert baked.spec.baked == ("nms",)
    for seed in (5, 6, 7):
        arrays = make(np.random.default_rng(seed))
        floats = {name: array.astype(np.float32) for name, array in arrays.items()}
        expected = decoded(spec, floats)
        final = run_once(baked.model, feed_of(arrays))
        actual = decoded(baked.spec, final)
        assert len(expected.scores) > (3 if "classes" not in params else 0)
        np.testing.assert_array_equal(actual.class_ids, expected.class_ids)
        np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-6)
        np.testing.assert_allclose(actual.boxes_xyxy, expected.boxes_xyxy, atol=1e-3)
        (rows,) = final.values()
        assert not rows[rows[..., 4] == 0].any()  # what is no detection is zeros


def test_every_family_is_tried() -> None:
    assert {decoder for decoder, _, _ in CASES} == set(HEADS)


def test_nothing_found_is_all_zeros() -> None:
    arrays = {"out": np.zeros((1, 8, 50))}
    baked = bake_nms(through(arrays), spec_of("yolov8", {}))
    (rows,) = run_once(baked.model, feed_of(arrays)).values()
    assert rows.shape == (1, 50, 6)
    assert not rows.any()


def test_of_equal_scores_the_first_anchor_wins() -> None:
    out = np.zeros((1, 8, 20))
    out[0, :4] = np.array([50, 50, 20, 20])[:, None] + np.arange(20) * 0.01
    out[0, 4] = 0.5
    spec = spec_of("yolov8", {})
    baked = bake_nms(through({"out": out}), spec)
    actual = decoded(baked.spec, run_once(baked.model, feed_of({"out": out})))
    np.testing.assert_allclose(actual.boxes_xyxy, [[40, 40, 60, 60]], atol=1e-4)


def test_boxes_without_an_area_suppress_nothing() -> None:
    """NonMaxSuppression takes their corners for swapped."""
    out = np.zeros((1, 8, 20))
    out[0, :5, 0] = (50, 50, -20, -20, 0.9)
    out[0, :5, 1] = (50, 50, 20, 20, 0.8)
    spec = spec_of("yolov8", {})
    baked = bake_nms(through({"out": out}), spec)
    actual = decoded(baked.spec, run_once(baked.model, feed_of({"out": out})))
    np.testing.assert_allclose(actual.scores, [0.8], atol=1e-6)


def test_scores_below_the_decoders_are_there_for_the_proof_and_not_in_results() -> None:
    out = np.zeros((1, 8, 20))
    out[0, :5, 0] = (50, 50, 20, 20, 0.3)
    spec = spec_of("yolov8", {"score": 0.5})
    baked = bake_nms(through({"out": out}), spec)
    final = run_once(baked.model, feed_of({"out": out}))
    assert len(decoded(baked.spec, final).scores) == 0
    (rows,) = final.values()
    assert rows[0, 0, 4] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("decoder", "task"), [("end2end", "detect"), ("centerface", "detect"), ("softmax", "classify")]
)
def test_what_cannot_be_baked_is_refused_naming_what_can(decoder: str, task: str) -> None:
    with pytest.raises(UsageError) as error:
        bake_nms(through({"out": np.zeros((1, 8, 50))}), spec_of(decoder, {}, task))
    assert task == "classify" or all(name in str(error.value) for name in HEADS)


def test_several_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="one picture at a time"):
        bake_nms(through({"out": np.zeros((2, 8, 50))}, rows=2), spec_of("yolov8", {}))


def test_an_open_size_is_refused() -> None:
    model = through({"out": np.zeros((1, 8, 50))})
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(UsageError, match="--size"):
        bake_nms(model, spec_of("yolov8", {}))


def test_outputs_that_the_decoder_cannot_read_are_refused() -> None:
    with pytest.raises(SpecError, match="labels"):
        bake_nms(through({"out": np.zeros((1, 9, 50))}), spec_of("yolov8", {}))
