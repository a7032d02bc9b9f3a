from __future__ import annotations

import json

import onnx
import pytest
from onnx import numpy_helper

from edgevision.errors import BackendError, DependencyError


def edit_golden(bundle, change):
    path = bundle / "golden/fp32.json"
    golden = json.loads(path.read_text())
    change(golden["frames"])
    path.write_text(json.dumps(golden))


def test_a_good_bundle_passes(bundle, ev):
    ended = ev("verify", bundle)
    assert ended.status == 0
    assert "4 files are what the bundle was made with" in ended.out
    assert "fp32: pass (onnxruntime" in ended.out


def test_a_good_bundle_as_json(bundle, ev):
    facts = json.loads(ev("verify", bundle, "--json").out)
    assert (facts["verdict"], facts["files"]) == ("pass", 4)
    assert facts["variants"]["fp32"]["verdict"] == "pass"
    assert facts["variants"]["fp32"]["differences"] == []


@pytest.mark.parametrize("name", ["fp32.onnx", "golden/000.png", "golden/fp32.json"])
@pytest.mark.parametrize("damage", ["changed", "missing", "link"])
def test_a_damaged_bundle_ends_with_1(bundle, ev, tmp_path, name, damage):
    path = bundle / name
    if damage == "changed":
        path.write_bytes(path.read_bytes() + b" ")
    else:
        path.rename(tmp_path / "elsewhere")
        if damage == "link":
            path.symlink_to(tmp_path / "elsewhere")
    ended = ev("verify", bundle)
    assert ended.status == 1
    assert name in ended.err


def test_a_newer_schema_ends_with_1(bundle, edit_manifest, ev):
    edit_manifest(bundle, lambda m: m.update(schema=2))
    assert ev("verify", bundle).status == 1


CHANGES = {
    "another class": lambda frames: frames[0]["result"]["detections"][0].update(class_id=2),
    "another box": lambda frames: frames[0]["result"]["detections"][0].update(
        box_xyxy=[0, 0, 16, 16]
    ),
    "another score": lambda frames: frames[0]["result"]["detections"][0].update(score=0.9),
    "one more": lambda frames: frames[1]["result"]["detections"].append(
        {"box_xyxy": [40, 40, 56, 56], "score": 0.9, "class_id": 0, "label": "red"}
    ),
    "one less": lambda frames: frames[1]["result"]["detections"].pop(0),
    "other outputs": lambda frames: frames[0]["outputs"]["output0"].update(values=[1.0, -1.0] * 32),
    "another shape": lambda frames: frames[0]["outputs"]["output0"].update(shape=[1, 7, 50]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_other_results_than_the_golden_ones_end_with_3(bundle, rehash, ev, name):
    edit_golden(bundle, CHANGES[name])
    rehash(bundle)
    ended = ev("verify", bundle)
    assert ended.status == 3
    assert "fp32: fail" in ended.out
    facts = json.loads(ev("verify", bundle, "--json").out)
    assert facts["verdict"] == "fail"
    assert facts["variants"]["fp32"]["differences"]


def test_differences_within_the_tolerance_pass(bundle, rehash, ev):
    def change(frames):
        best = frames[0]["result"]["detections"][0]
        best["score"] -= 0.01
        best["box_xyxy"] = [v + 0.3 for v in best["box_xyxy"]]

    edit_golden(bundle, change)
    rehash(bundle)
    assert ev("verify", bundle).status == 0


def test_another_model_behind_the_same_name_ends_with_3(bundle, rehash, ev):
    model = onnx.load(bundle / "fp32.onnx")
    for initializer in model.graph.initializer:
        if initializer.name == "opposed":
            weaker = numpy_helper.to_array(initializer) * 0.8
            initializer.CopyFrom(numpy_helper.from_array(weaker, "opposed"))
    onnx.save(model, bundle / "fp32.onnx")
    rehash(bundle)
    assert ev("verify", bundle).status == 3


def test_a_model_that_does_not_load_here_ends_with_3(bundle, rehash, ev):
    model = onnx.load(bundle / "fp32.onnx")
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, bundle / "fp32.onnx")
    rehash(bundle)
    ended = ev("verify", bundle)
    assert ended.status == 3
    assert "NoSuchOperator" in ended.out


def test_without_golden_frames_only_hashes_are_checked(bundle, edit_manifest, ev):
    edit_manifest(bundle, lambda m: m.pop("golden"))
    ended = ev("verify", bundle)
    assert ended.status == 0
    assert "only the hash was checked of: fp32" in ended.out


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames.pop(),
        lambda frames: frames[0].pop("result"),
        lambda frames: frames[0].update(result=[]),
        lambda frames: frames[0]["result"]["detections"][0].pop("score"),
        lambda frames: frames[0]["result"]["detections"][0].update(box_xyxy=["a", 1, 2, 3]),
        lambda frames: frames[0].update(outputs=3),
        lambda frames: frames[0]["outputs"]["output0"].update(values=[1.0]),
    ],
    ids=range(7),
)
def test_golden_results_that_are_none_end_with_an_error(bundle, rehash, ev, change):
    edit_golden(bundle, change)
    rehash(bundle)
    assert ev("verify", bundle).status in (1, 3)


def test_golden_files_that_are_no_golden_files(bundle, rehash, ev):
    (bundle / "golden/000.png").write_text("no picture")
    rehash(bundle)
    ended = ev("verify", bundle)
    assert ended.status == 1
    assert "golden/000.png" in ended.err
    (bundle / "golden/fp32.json").write_text("no json")
    rehash(bundle)
    assert ev("verify", bundle).status == 1


def test_a_single_file_has_nothing_to_verify(models, ev):
    assert ev("verify", models.detector).status == 2


def test_an_unknown_backend(bundle, ev):
    assert ev("verify", bundle, "--backend", "abacus").status == 2


def test_the_fake_backend_does_not_pass(bundle, ev):
    ended = ev("verify", bundle, "--backend", "fake")
    assert ended.status == 3
    assert "fake" in ended.out


def test_a_missing_engine_says_nothing_about_the_bundle(bundle, ev, monkeypatch):
    def absent(*_, **__):
        raise DependencyError("backend 'ort' needs onnxruntime", hint="pip install it")

    monkeypatch.setattr("edgevision.verification.load_variant", absent)
    ended = ev("verify", bundle)
    assert ended.status == 1
    assert "pip install it" in ended.err


def test_an_engine_that_fails_on_a_frame_is_a_difference(bundle, ev, monkeypatch):
    def fail(*_):
        raise BackendError("it broke")

    monkeypatch.setattr("edgevision.verification.compare", fail)
    ended = ev("verify", bundle)
    assert ended.status == 3
    assert "it broke" in ended.out
