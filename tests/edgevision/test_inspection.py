from __future__ import annotations

import json

import pytest
from onnx import TensorProto, helper


def test_a_bundle_as_text(bundle, ev):
    ended = ev("inspect", bundle)
    assert ended.status == 0
    for said in ("bundle squares  detect, 3 classes (red, green, blue)", "here runs fp32", "2 golden frames",
                 "images  float32 1×3×64×64", "output0  float32 1×7×49", "CumSum 2", "letterbox to 64×64",
                 "yolov8(", "opset 17"):  # fmt: skip
        assert said in ended.out


def test_a_bundle_as_json(bundle, ev):
    facts = json.loads(ev("inspect", bundle, "--json").out)
    assert (facts["kind"], facts["task"], facts["golden_frames"]) == ("bundle", "detect", 2)
    assert facts["chosen_here"]["variant"] == "fp32"
    variant = facts["variants"]["fp32"]
    assert variant["graph"]["inputs"] == [
        {"name": "images", "dtype": "float32", "shape": [1, 3, 64, 64]}
    ]
    assert variant["graph"]["ops"]["CumSum"] == 2
    assert variant["input_spec"]["size"] == [64, 64]
    assert variant["size_bytes"] == (bundle / "fp32.onnx").stat().st_size


def test_a_model_that_says_how_to_run_it(models, ev):
    text = ev("inspect", models.dynamic).out
    assert "float32 1×3×height×width" in text
    assert "any multiple of 8" in text
    facts = json.loads(ev("inspect", models.dynamic, "--json").out)
    assert (facts["kind"], facts["spec"]["task"]) == ("model", "detect")
    assert facts["graph"]["opsets"] == {"ai.onnx": 17}


def test_a_model_that_does_not_is_shown_all_the_same(models, tmp_path, ev):
    path = models.make_detector(tmp_path / "silent.onnx", metadata={})
    ended = ev("inspect", path)
    assert ended.status == 0
    assert "--preset" in ended.out
    assert json.loads(ev("inspect", path, "--json").out)["spec"] is None


def test_a_spec_that_is_wrong_is_told(models, tmp_path, ev):
    path = models.make_detector(tmp_path / "pose.onnx", metadata={"task": "pose", "names": "[]"})
    assert "'pose'" in ev("inspect", path).out


@pytest.mark.parametrize("name", ["none.onnx", "text.onnx", "folder", "cut.onnx"])
def test_what_cannot_be_inspected_ends_with_1(models, tmp_path, ev, name):
    (tmp_path / "text.onnx").write_text("text")
    (tmp_path / "cut.onnx").write_bytes(models.detector.read_bytes()[:500])
    (tmp_path / "folder").mkdir()
    ended = ev("inspect", tmp_path / name)
    assert (ended.status, ended.out) == (1, "")


def test_real_models(test_data, ev):
    ended = ev("inspect", test_data / "models" / "nanodet.onnx")
    assert ended.status == 0
    assert "input_1:0  float32 1×3×416×416" in ended.out


def test_dims_that_no_machine_could_hold_are_shown_all_the_same(tmp_path, ev):
    huge = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    huge.dims[:] = [2**62] * 400
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    graph = helper.make_graph([], "g", [], [out], [huge])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert ev("inspect", tmp_path / "m.onnx").status == 0
    assert ev("inspect", tmp_path / "m.onnx", "--json").status == 0
