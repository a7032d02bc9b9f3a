"""The variant fp16 in a bundle: made, proven with rounding, opened and run; and where there is nothing to prove it on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgevision
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.errors import GateError, ModelError, UsageError
from edgevision.progress import Progress

MakeOrder = Callable[..., Order]


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, order: MakeOrder) -> Conversion:
    """fp16 beside int8 for x86 and TensorRT."""
    output = tmp_path_factory.mktemp("both") / "squares.evb"
    return run(order(output, precisions=("int8", "fp16"), targets=("x86", "trt"), samples=55))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, order: MakeOrder) -> Conversion:
    """fp16 without pictures."""
    output = tmp_path_factory.mktemp("alone") / "squares.evb"
    return run(order(output, precisions=("fp16",), calibration=None))


def test_it_stands_beside_the_others(both: Conversion) -> None:
    assert [m.variant.id for m in both.made] == ["fp32", "fp16", "int8-x86", "int8-trt"]
    made = both.made[1]
    assert made.proof is not None
    assert (made.proof.verdict, made.proof.agreement["metric"]) == ("pass", "f1")
    manifest = json.loads((both.order.output / "manifest.json").read_bytes())
    entry = next(v for v in manifest["variants"] if v["id"] == "fp16")
    assert (entry["precision"], entry["targets"]) == ("fp16", ["trt"])
    assert entry["verified"][0]["compute"] == "fp16"
    assert manifest["default"]["trt"] == "int8-trt", "the faster one, where both are proven"


def test_it_finds_the_squares_where_they_are(both: Conversion, draw: Callable[..., Any]) -> None:
    with edgevision.open(both.order.output, precision="fp16") as model:
        for seed in range(1000, 1010):
            image, truth = draw(seed)
            result = model(image)
            boxes = np.round(result.boxes_xyxy).tolist()
            found = [(int(c), *box) for c, box in zip(result.class_ids, boxes, strict=True)]
            assert sorted(found) == sorted(truth)


def test_the_file_is_half_as_large_and_its_ends_are_float32(both: Conversion) -> None:
    model = onnx.load(both.order.output / "fp16.onnx")
    onnx.checker.check_model(model, full_check=True)
    weights = [numpy_helper.to_array(t) for t in model.graph.initializer]
    layers = [w for w in weights if w.ndim == 4 and w.size > 64]
    assert len(layers) >= 5
    assert {w.dtype for w in layers} == {np.dtype(np.float16)}
    ends = [*model.graph.input, *model.graph.output]
    assert {v.type.tensor_type.elem_type for v in ends} == {onnx.TensorProto.FLOAT}


def test_it_is_proven_as_it_runs_and_with_rounding(both: Conversion) -> None:
    report = json.loads((both.order.output / "report.json").read_bytes())
    facts = report["variants"]["fp16"]
    proofs = facts["read_back"]["agreements"]
    assert set(proofs) == {"as_run", "emulated"}
    assert facts["agreement"]["value"] == min(p["value"] for p in proofs.values())
    assert facts["quantization"]["frames"] == both.data.calibration.count  # type: ignore[union-attr]
    assert facts["read_back"]["layers"] == 5
    assert report["calibration"]["method"] != "unknown"
    text = (both.order.output / "report.md").read_text(encoding="utf-8")
    assert "run in fp16" in text
    assert "(emulated)" in text
    assert "`fp16`, `int8-trt`; their speed on a CPU says nothing about a GPU" in text
    # 11 bits leave about 70 dB. As onnxruntime runs it, mostly in float32, it would be 115 dB.
    assert 40 < facts["outputs"]["output0"]["sqnr_db"] < 90, "of equals the emulated proof is told"


def test_verify_passes(both: Conversion, edgevision: Any) -> None:
    ended = edgevision("verify", both.order.output, "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["variants"]["fp16"]["verdict"] == "pass"


def test_overflow_that_only_a_gpu_would_meet_is_no_pass(
    order: MakeOrder, tmp_path: Path, make_detector: Callable[..., Any], monkeypatch: Any
) -> None:
    # Were ranges not looked at, this file would be right here and wrong on a GPU.
    from edgevision.converters.fp16 import plan as fp16_plan

    monkeypatch.setattr(fp16_plan, "_LARGEST", float("inf"))
    model = make_detector()
    for tensor in model.graph.initializer:  # the second layer's outputs, 1e6 times larger and back
        factor = {"w2": 1e3, "w3": 1e3, "wc": 1e-6, "wd": 1e-6}.get(tensor.name)
        if factor:
            array = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "loud.onnx")
    wanted = order(
        tmp_path / "loud.evb", model=tmp_path / "loud.onnx", precisions=("fp16",), samples=55
    )
    with pytest.raises(GateError, match="fp16 fail"):
        run(wanted)
    report = json.loads((tmp_path / "loud.evb.rejected/report.json").read_bytes())
    proofs = report["variants"]["fp16"]["read_back"]["agreements"]
    assert (proofs["as_run"]["verdict"], proofs["emulated"]["verdict"]) == ("pass", "fail")


def test_the_same_model_passes_with_the_loud_part_in_float32(
    order: MakeOrder, tmp_path: Path, make_detector: Callable[..., Any]
) -> None:
    model = make_detector()
    for tensor in model.graph.initializer:
        factor = {"w3": 1e6, "w4": 1e-6}.get(tensor.name)
        if factor:
            array = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "loud.onnx")
    wanted = order(
        tmp_path / "loud.evb", model=tmp_path / "loud.onnx", precisions=("fp16",), samples=55
    )
    made = run(wanted).made[1]
    assert made.passed
    assert made.quantized is not None
    assert any("beyond 32752" in why for why in made.quantized["float"].values())
    assert "recipes" not in (tmp_path / "loud.evb/report.md").read_text(encoding="utf-8")
    assert (
        json.loads((tmp_path / "loud.evb/manifest.json").read_bytes())["default"]["trt"] == "fp16"
    )


def test_without_pictures_it_is_written_and_said_to_be_unproven(alone: Conversion) -> None:
    made = alone.made[1]
    assert made.proof is None
    assert made.quantized is not None
    assert (made.quantized["ranges"], made.variant.targets) == ("unknown", ())
    place = alone.order.output
    report = json.loads((place / "report.json").read_bytes())
    assert report["verdict"] == "not proven"
    assert report["variants"]["fp16"]["agreement"] is None
    assert "no pictures to measure" in report["variants"]["fp16"]["quantization"]["warnings"][0]
    text = (place / "report.md").read_text(encoding="utf-8")
    assert "not proven" in text.split("\n\n")[1]
    assert "| fp16 |" in text
    manifest = json.loads((place / "manifest.json").read_bytes())
    assert manifest["variants"][1]["verified"] == []
    assert "trt" not in manifest["default"]
    assert choose(open_bundle(place)).variant.id == "fp32"


def test_the_command_says_it_too(
    models: Path, tmp_path: Path, edgevision: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    ended = edgevision(
        "convert", models / "detector.onnx", "--precision", "fp16", "-o", tmp_path / "a.evb"
    )
    assert ended.returncode == 0, ended.stderr
    line = next(line for line in ended.stdout.splitlines() if line.startswith("fp16"))
    assert "not proven" in line


def test_bf16_is_refused_with_the_way_to_have_it(order: MakeOrder, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not write bf16") as caught:
        run(order(tmp_path / "a.evb", precisions=("bf16",)))
    assert "--compute bf16" in str(caught.value)


def test_a_model_that_float16_is_no_help_for_leaves_nothing_behind(
    order: MakeOrder, tmp_path: Path, make_detector: Callable[..., Any]
) -> None:
    model = make_detector()
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "w2", "w3", "w4"):
            array = numpy_helper.to_array(tensor) * np.float32(1e5)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, tmp_path / "loud.onnx")
    with pytest.raises(ModelError, match="nothing in this model can run in float16"):
        run(order(tmp_path / "a.evb", model=tmp_path / "loud.onnx", precisions=("fp16",)))
    assert not list(tmp_path.glob("*.evb*"))
