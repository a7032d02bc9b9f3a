from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

import edgevision as ev
from edgevision.bundle import open_bundle
from edgevision.errors import BundleError
from edgevision.geometry import Transform
from edgevision.golden import TOLERANCE, compare, golden_frames, golden_record, golden_results
from edgevision.results import NOTHING, Keypoints, Segmentation
from edgevision.runs import runs_of
from edgevision.skeleton import Skeleton


def test_tolerances_are_those_of_the_design():
    assert TOLERANCE == {"fp32": 0.02, "fp16": 0.05, "bf16": 0.05, "int8": 0.10}


def test_a_record_agrees_with_itself_after_json(load, models, draw_square):
    model = load(models.detector)
    image = draw_square("green", (24, 8))
    record = json.loads(json.dumps(golden_record(model, image)))
    assert record["result"]["detections"][0]["label"] == "green"
    assert record["outputs"]["output0"]["shape"] == [1, 7, 49]
    assert len(record["outputs"]["output0"]["values"]) == 64
    assert compare(model, image, record) == []


def test_classifications_agree_too(load, models):
    model = load(models.classifier)
    image = np.full((8, 8, 3), (10, 20, 30), np.uint8)
    record = golden_record(model, image)
    assert record["outputs"]["scores"]["values"] == [30, 20, 10]
    assert compare(model, image, record) == []
    record["result"]["classes"][0]["class_id"] = 2
    assert compare(model, image, record)


def test_another_picture_differs(load, models, draw_square):
    model = load(models.detector)
    record = golden_record(model, draw_square("red"))
    assert compare(model, draw_square("blue"), record)


def test_a_picture_with_nothing_in_it_is_a_check_too(load, models):
    model = load(models.detector)
    record = golden_record(model, np.zeros((64, 64, 3), np.uint8))
    assert record["result"]["detections"] == []
    record["outputs"]["output0"]["values"].reverse()
    black = np.zeros((64, 64, 3), np.uint8)
    assert any("cosine" in line for line in compare(model, black, record))


def test_frames_and_results_of_a_bundle(bundle, draw_square):
    opened = open_bundle(bundle)
    np.testing.assert_array_equal(golden_frames(opened)[0], draw_square("red"))
    assert len(golden_results(opened, "fp32")) == 2
    assert golden_results(opened, "int8") == []


def test_golden_files_are_hashed_when_they_are_read(bundle):
    opened = open_bundle(bundle)
    for name, read in (
        ("000.png", lambda: golden_frames(opened)),
        ("fp32.json", lambda: golden_results(opened, "fp32")),
    ):
        path = bundle / "golden" / name
        path.write_bytes(path.read_bytes() + b" ")
        with pytest.raises(BundleError, match=name):
            read()


@pytest.mark.parametrize(("cosine", "fine"), [(0.99995, True), (0.9995, False)])
def test_raw_outputs_of_fp32_agree_closely_or_differ(load, models, cosine, fine):
    model = load(models.detector)
    black = np.zeros((64, 64, 3), np.uint8)
    record = golden_record(model, black)
    values = np.array(record["outputs"]["output0"]["values"])
    # Turned by an angle: an orthogonal part of the right length is added.
    away = np.random.default_rng(0).normal(size=values.shape)
    away -= values * (away @ values) / (values @ values)
    away *= np.linalg.norm(values) / np.linalg.norm(away) * np.sqrt(1 / cosine**2 - 1)
    record["outputs"]["output0"]["values"] = (values + away).tolist()
    assert (compare(model, black, record) == []) is fine


def test_what_lies_at_the_decoder_s_own_threshold_may_come_and_go(
    bundle, edit_manifest, draw_square
):
    edit_manifest(bundle, lambda m: m["variants"][0]["output"]["params"].pop("score", None))
    with ev.open(bundle) as model:
        assert model.pipeline.least_score == 0.25  # the decoder's, as the manifest says nothing
        record = golden_record(model, draw_square("red"))
        barely = {"box_xyxy": [0, 0, 9, 9], "score": 0.26, "class_id": 0, "label": "red"}
        record["result"]["detections"].append(barely)
        assert compare(model, draw_square("red"), record) == []


class Stub:
    """Stands in for a loaded model: gives the result and the outputs that it was told."""

    labels = ("person",)
    executed = SimpleNamespace(compute="fp32")

    def __init__(self, result, precision="fp32", output=(0.0, 1.0)):
        self.variant = SimpleNamespace(precision=precision)
        examined = (result, {"out": np.array(output, np.float32)})
        self.pipeline = SimpleNamespace(examine=lambda image: examined, least_score=0.25)


def person(shift=0.0, score=0.9):
    points = np.array([[[10, 10], [10 + shift, 110]]], np.float32)
    scores = np.full((1, 2), score, np.float32)
    return Keypoints(points, scores, scores.mean(axis=1), Skeleton(("head", "foot")))


def person_mask(columns):
    picture = np.full((100, 100), NOTHING, np.uint8)
    picture[:, :columns] = 0
    return Segmentation(*runs_of(picture), Transform.identity(100, 100), ("person",))


@pytest.mark.parametrize(
    ("then", "now", "precision", "fine"),
    [
        (person(), person(), "fp32", True),
        (person(), person(1.5), "fp32", True),  # 1.5 % of the height
        (person(), person(2.5), "fp32", False),
        (person(), person(9), "int8", True),
        (person(), person(11), "int8", False),
        (person(), person(score=0.85), "fp32", False),
        (person(), person(score=0.85), "int8", True),
        (person_mask(50), person_mask(50), "fp32", True),
        (person_mask(50), person_mask(51), "fp32", True),  # IoU 0.980
        (person_mask(50), person_mask(53), "fp32", False),  # IoU 0.943
        (person_mask(50), person_mask(53), "int8", True),
        (person_mask(50), person_mask(60), "int8", False),
    ],
)
def test_key_points_and_masks_agree_within_the_tolerance_of_the_precision(
    then, now, precision, fine
):
    record = golden_record(Stub(then), np.zeros((2, 2, 3), np.uint8))
    record = json.loads(json.dumps(record, sort_keys=True))  # as bundles are written
    found = compare(Stub(now, precision), np.zeros((2, 2, 3), np.uint8), record)
    assert (found == []) is fine, found


@pytest.mark.parametrize(
    ("then", "now", "fine"),
    [
        ((0.0, 0.0), (0.0, 0.0009), True),  # a mask that shows nothing
        ((0.0, 0.0), (0.0, 0.0011), False),
        ((0.0, 0.0), (0.0, np.nan), False),
    ],
)
def test_outputs_next_to_zero_are_compared_by_what_they_are_apart(then, now, fine):
    nothing, image = person_mask(0), np.zeros((2, 2, 3), np.uint8)
    record = json.loads(json.dumps(golden_record(Stub(nothing, output=then), image)))
    assert (compare(Stub(nothing, output=now), image, record) == []) is fine
