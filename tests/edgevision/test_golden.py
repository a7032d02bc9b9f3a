from __future__ import annotations

import json

import numpy as np
import pytest

import edgevision as ev
from edgevision.bundle import open_bundle
from edgevision.errors import BundleError
from edgevision.golden import TOLERANCE, compare, golden_frames, golden_record, golden_results


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
