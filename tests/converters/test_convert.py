"""From a model to a bundle that is opened and run: what comes out, and that it is the same every time."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import edgevision
from edgevision.bundle import hash_file, open_bundle
from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.candidates import CANDIDATES
from edgevision.converters.settings import Overrides
from edgevision.errors import (
    DataError,
    EdgevisionError,
    GateError,
    ModelError,
    SpecError,
    UsageError,
)
from edgevision.progress import Progress

Scene = tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]
MakeOrder = Callable[..., Order]


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


def found(result: Any) -> list[tuple[int, float, float, float, float]]:
    boxes = np.round(result.boxes_xyxy).tolist()
    return sorted((int(c), *box) for c, box in zip(result.class_ids, boxes, strict=True))


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file()
    }


def constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def weights_of(model: onnx.ModelProto, op: str) -> list[NDArray[Any]]:
    """The stored weights of every layer of a kind, through DequantizeLinear where there is one."""
    arrays, made = constants(model), {o: n for n in model.graph.node for o in n.output}
    stored = []
    for node in model.graph.node:
        if node.op_type == op:
            source = made.get(node.input[1])
            stored.append(arrays[source.input[0] if source is not None else node.input[1]])
    return stored


def zero_points(model: onnx.ModelProto) -> list[NDArray[Any]]:
    arrays = constants(model)
    nodes = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert nodes
    return [arrays[n.input[2]] for n in nodes if len(n.input) > 2]


# What comes out


@pytest.mark.parametrize("variant", ["fp32", "int8-x86", "int8-trt"])
def test_every_variant_finds_the_squares_where_they_are(
    converted: Conversion, draw: Callable[..., Scene], variant: str
) -> None:
    with edgevision.open(converted.order.output, variant=variant) as model:
        for seed in range(1000, 1020):
            image, truth = draw(seed)
            assert found(model(image)) == sorted(truth)


def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(
    converted: Conversion, draw: Callable[..., Scene]
) -> None:
    with edgevision.open(converted.order.output, variant="int8-x86") as model:
        image, truth = draw(2000, zoom=4)
        # Half a pixel of the tensor is two of the picture.
        np.testing.assert_allclose(found(model(image)), sorted(truth), atol=2)
        assert {model.labels[c] for c, *_ in truth} <= {"red", "green"}


@pytest.mark.parametrize("variant", ["fp32", "int8-x86", "int8-trt"])
def test_each_onnx_of_the_bundle_is_enough_to_run(
    converted: Conversion, draw: Callable[..., Scene], tmp_path: Path, variant: str
) -> None:
    alone = shutil.copy(converted.order.output / f"{variant}.onnx", tmp_path)
    image, truth = draw(1001)
    with edgevision.open(alone) as model:
        assert found(model(image)) == sorted(truth)
        assert (model.variant.id, model.labels) == (variant, ("red", "green"))


def test_each_onnx_of_the_bundle_is_standard_onnx(converted: Conversion) -> None:
    for file in converted.order.output.glob("*.onnx"):
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert {n.domain for n in model.graph.node} <= {"", "ai.onnx"}


@pytest.mark.parametrize("variant", ["int8-x86", "int8-trt"])
def test_int8_files_hold_int8_weights_per_channel(converted: Conversion, variant: str) -> None:
    model = onnx.load(converted.order.output / f"{variant}.onnx")
    stored = weights_of(model, "Conv")
    int8 = [w for w in stored if w.dtype == np.int8]
    # Four of the body and the class head at least; the 1×8 sum over bins is decoding.
    assert len(int8) >= 5
    assert all(np.abs(w.astype(int)).max() == 127 for w in int8)
    kind = np.float16 if variant == "int8-trt" else np.float32
    layers = [n for n in model.graph.node if n.name.endswith("/weights/dequantize")]
    assert {constants(model)[n.input[1]].dtype for n in layers} == {np.dtype(kind)}
    floats = weights_of(onnx.load(converted.order.output / "fp32.onnx"), "Conv")
    assert all(w.dtype == np.float32 for w in floats)


def test_the_x86_file_has_uint8_activations(converted: Conversion) -> None:
    model = onnx.load(converted.order.output / "int8-x86.onnx")
    arrays = constants(model)
    quantize = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {arrays[n.input[2]].dtype for n in quantize} == {np.dtype(np.uint8)}


def test_the_trt_file_is_symmetric_and_has_float_biases(converted: Conversion) -> None:
    model = onnx.load(converted.order.output / "int8-trt.onnx")
    arrays, made = constants(model), {o: n for n in model.graph.node for o in n.output}
    assert not any(zero.any() for zero in zero_points(model))
    assert not [name for name, array in arrays.items() if array.dtype == np.uint8]
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) > 2:
            assert node.input[2] not in made, "a bias must not come out of a DequantizeLinear"
            assert arrays[node.input[2]].dtype in (np.float32, np.float16)


def test_the_decode_part_stays_in_float(converted: Conversion) -> None:
    for made in converted.made[1:]:
        assert made.quantized is not None
        tail = set(made.quantized["float"])
        assert any(name.startswith("Concat") for name in tail)
        assert made.written["convs"] >= 5


# The same every time, and wherever


def test_two_conversions_are_byte_identical(
    converted: Conversion, order: MakeOrder, tmp_path: Path
) -> None:
    run(replace(converted.order, output=tmp_path / "squares.evb"))
    first, second = hashes(converted.order.output), hashes(tmp_path / "squares.evb")
    timed = {"timings.json", "report.md"}
    assert {k: v for k, v in second.items() if k not in timed} == {
        k: v for k, v in first.items() if k not in timed
    }


def test_the_identity_does_not_follow_the_paths(
    converted: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    shutil.copy(converted.order.model, tmp_path / "detector.onnx")
    shutil.copy(data / "clip.avi", tmp_path)
    monkeypatch.chdir(tmp_path)
    here = replace(
        converted.order,
        model=Path("detector.onnx"),
        calibration=Path("clip.avi"),
        output=Path("squares.evb"),
    )
    run(here)
    assert open_bundle(Path("squares.evb")).identity == (
        open_bundle(converted.order.output).identity
    )


# Verdicts


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory, make_detector: Callable[..., Any]) -> Path:
    """A detector that int8 ruins: other channels of the first layer are 500 times louder than the colours.

    Clip in place of Relu, for through that no factor can pass, and equalized channels would save it.
    """
    model = make_detector()
    (first,) = (t for t in model.graph.initializer if t.name == "w1")
    loud = numpy_helper.to_array(first).copy()
    loud[2:] *= 500
    path = tmp_path_factory.mktemp("deaf") / "deaf.onnx"
    ruined = make_detector(w1=loud)
    bounds = {"floor": 0.0, "ceiling": 1e9}
    for node in ruined.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Clip"
            node.input.extend(bounds)
    ruined.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.float32), name) for name, value in bounds.items()
    )
    onnx.save(ruined, path)
    return path


def test_a_variant_that_misses_leaves_a_report_and_no_bundle(
    order: MakeOrder, deaf: Path, tmp_path: Path
) -> None:
    with pytest.raises(GateError, match="no bundle was written") as caught:
        run(order(tmp_path / "a.evb", model=deaf))
    assert caught.value.exit_code == 3
    assert "int8-x86 fail: f1 0.0000 on 320 samples in 64 pictures" in caught.value.received
    assert [p.name for p in tmp_path.iterdir()] == ["a.evb.rejected"]
    rejected = tmp_path / "a.evb.rejected"
    assert set(hashes(rejected)) == {"report.json", "report.md", "timings.json"}
    report = json.loads((rejected / "report.json").read_bytes())
    assert report["verdict"] == "fail"
    assert report["variants"]["int8-x86"]["agreement"]["verdict"] == "fail"
    tried = [t["recipe"] for t in report["variants"]["int8-x86"]["trials"]]
    plain = [name for name in tried if "in float" not in name]
    assert plain == [c.name for c in CANDIDATES], "every recipe was tried"
    assert len(tried) > len(plain)
    text = (rejected / "report.md").read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith(
        "**int8-x86: ❌ fail.** It agrees with fp32 at F1 0.0000"
    )
    assert text.count("(the best found)") == 1
    assert "(shipped)" not in text
    assert "edgevision run" not in text, "there is nothing to run"


def test_keep_passing_writes_what_passed_and_still_says_no(
    order: MakeOrder, deaf: Path, tmp_path: Path
) -> None:
    with pytest.raises(GateError, match="left out of the bundle"):
        run(order(tmp_path / "a.evb", model=deaf, keep_passing=True))
    assert [p.name for p in tmp_path.iterdir()] == ["a.evb"]
    bundle = open_bundle(tmp_path / "a.evb")
    assert list(bundle.variants) == ["fp32"]
    assert bundle.manifest["default"] == {"x86": "fp32", "arm": "fp32"}
    assert not (tmp_path / "a.evb" / "int8-x86.onnx").exists()


def test_a_later_rejection_replaces_the_report_of_an_earlier_one(
    order: MakeOrder, deaf: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        model = Path(shutil.copy(deaf, tmp_path / f"{name}.onnx"))
        with pytest.raises(GateError):
            run(order(tmp_path / "a.evb", model=model, samples=60))
    report = json.loads((tmp_path / "a.evb.rejected" / "report.json").read_bytes())
    assert report["model"] == "second.onnx"


def test_a_pass_takes_the_report_of_an_earlier_rejection_away(
    order: MakeOrder, deaf: Path, tmp_path: Path
) -> None:
    with pytest.raises(GateError):
        run(order(tmp_path / "a.evb", model=deaf, samples=60))
    run(order(tmp_path / "a.evb", precisions=(), calibration=None))
    assert [p.name for p in tmp_path.iterdir()] == ["a.evb"]


def test_a_rejection_leaves_the_bundle_that_was_there(
    converted: Conversion, order: MakeOrder, deaf: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(converted.order.output, tmp_path / "a.evb")
    before = hashes(old)
    with pytest.raises(GateError):
        run(order(old, model=deaf, force=True))
    assert hashes(old) == before


def test_force_replaces_the_bundle_that_was_there(
    converted: Conversion, order: MakeOrder, tmp_path: Path
) -> None:
    old = shutil.copytree(converted.order.output, tmp_path / "a.evb")
    run(order(old, precisions=(), calibration=None, force=True))
    assert list(open_bundle(old).variants) == ["fp32"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.evb"]


@pytest.mark.parametrize(("count", "squares"), [(122, 3), (160, 1)])
def test_too_little_data_is_no_pass(
    order: MakeOrder, write_video: Callable[..., Path], tmp_path: Path, count: int, squares: int
) -> None:
    # 40 % of 122 frames are 49 to prove on, of 160 they are 64, with 64 squares.
    clip = write_video(tmp_path / "short.avi", count, squares=squares)
    with pytest.raises(GateError, match="not proven") as caught:
        run(order(tmp_path / "a.evb", calibration=clip))
    assert "int8-x86 insufficient" in caught.value.received
    assert "at least 50 pictures" in caught.value.expected
    text = (tmp_path / "a.evb.rejected" / "report.md").read_text(encoding="utf-8")
    assert "insufficient data" in text


def test_full_agreement_can_be_asked_for(order: MakeOrder, tmp_path: Path) -> None:
    conversion = run(order(tmp_path / "a.evb", least=1.0))
    assert conversion.passed


# Models of other kinds


def test_a_classifier_is_proven_by_its_best_class(
    order: MakeOrder, models: Path, data: Path, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        'task = "classify"\nlabels = ["red", "green", "none"]\n'
        '[input]\nresize = "stretch"\n[output]\ndecoder = "softmax"\n'
    )
    conversion = run(
        order(
            tmp_path / "c.evb",
            model=models / "classifier.onnx",
            calibration=data / "pictures",
            config=config,
            targets=("x86", "trt"),
        )
    )
    for made in conversion.made[1:]:
        assert made.proof is not None
        assert made.proof.agreement["metric"] == "top1"
        assert made.proof.verdict == "pass"
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 2] = 255
    with edgevision.open(tmp_path / "c.evb", variant="int8-x86") as model:
        assert model(red).label(0) == "red"
        assert model(red[..., ::-1].copy() * 0).label(0) == "none"


def test_a_dynamic_model_stays_dynamic_in_int8(
    order: MakeOrder, models: Path, write_pictures: Callable[..., Path], tmp_path: Path
) -> None:
    write_pictures(tmp_path / "data" / "small", 90)
    write_pictures(tmp_path / "data" / "large", 90, zoom=2)
    config = tmp_path / "own.toml"
    config.write_text(
        'task = "classify"\n[input]\nmultiple_of = 16\nmax_size = [96, 96]\n'
        '[output]\ndecoder = "softmax"\n'
    )
    conversion = run(
        order(
            tmp_path / "d.evb",
            model=models / "dynamic.onnx",
            calibration=tmp_path / "data",
            config=config,
        )
    )
    assert conversion.passed
    for name in ("fp32", "int8-x86"):
        shape = onnx.load(tmp_path / "d.evb" / f"{name}.onnx").graph.input[0].type.tensor_type.shape
        assert [d.dim_value or d.dim_param for d in shape.dim] == [1, 3, "height", "width"]
        with edgevision.open(tmp_path / "d.evb", variant=name) as model:
            for height, width in ((64, 64), (48, 80), (200, 100)):
                assert len(model(np.full((height, width, 3), 90, np.uint8))) == 3


def test_a_dynamic_model_is_fixed_by_its_size(
    order: MakeOrder, models: Path, tmp_path: Path
) -> None:
    changed = {"model": models / "dynamic.onnx", "precisions": (), "calibration": None}
    run(order(tmp_path / "d.evb", preset="imagenet", size=(48, 80), batch=2, **changed))
    model = onnx.load(tmp_path / "d.evb" / "fp32.onnx")
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [2, 3, 48, 80]
    assert open_bundle(tmp_path / "d.evb").variants["fp32"].spec.input.size == (48, 80)


def test_a_fixed_batch_is_calibrated_and_proven(
    order: MakeOrder, models: Path, data: Path, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        'task = "classify"\n[input]\nresize = "stretch"\nsize = [64, 64]\n'
        '[output]\ndecoder = "softmax"\n'
    )
    conversion = run(
        order(
            tmp_path / "b.evb",
            model=models / "dynamic.onnx",
            calibration=data / "pictures",
            config=config,
            batch=3,
        )
    )
    assert conversion.passed
    model = onnx.load(tmp_path / "b.evb" / "int8-x86.onnx")
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3


@pytest.mark.parametrize(("held", "rows"), [(False, 1), (True, 2)])
def test_a_fixed_batch_becomes_one_picture_unless_the_graph_holds_on_to_it(
    order: MakeOrder,
    make_classifier: Callable[..., onnx.ModelProto],
    tmp_path: Path,
    held: bool,
    rows: int,
) -> None:
    model = make_classifier((2, 3, 64, 64))
    if held:
        flatten = next(n for n in model.graph.node if n.op_type == "Flatten")
        flatten.op_type = "Reshape"
        del flatten.attribute[:]
        flatten.input.append("rows")
        model.graph.initializer.append(numpy_helper.from_array(np.array([2, 16]), "rows"))
    onnx.save(model, tmp_path / "two.onnx")
    plain = {"precisions": (), "calibration": None, "preset": "imagenet"}
    run(order(tmp_path / "a.evb", model=tmp_path / "two.onnx", **plain))
    with edgevision.open(tmp_path / "a.evb") as opened:
        assert opened.session.inputs["images"].shape[0] == rows


def test_a_size_that_the_graph_cannot_take_is_refused(order: MakeOrder, tmp_path: Path) -> None:
    # The detector's grid is a constant for 64×64.
    with pytest.raises(ModelError):
        run(order(tmp_path / "a.evb", size=(96, 96)))
    assert list(tmp_path.iterdir()) == []


def test_a_messy_export_is_cleaned_and_works(
    order: MakeOrder,
    make_detector: Callable[..., onnx.ModelProto],
    draw: Callable[..., Scene],
    tmp_path: Path,
) -> None:
    """Initializers among the inputs, a wrong declared shape, an old opset."""
    model = make_detector()
    for tensor in model.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(info)
    shape = model.graph.input[0].type.tensor_type.shape
    for dim, value in zip(shape.dim, (10, 3, 32, 32), strict=True):
        dim.dim_value = value
    model.opset_import[0].version = 13
    onnx.save(model, tmp_path / "messy.onnx")
    conversion = run(order(tmp_path / "m.evb", model=tmp_path / "messy.onnx", size=(64, 64)))
    changes = "\n".join(conversion.changes)
    assert "initializers from the graph inputs" in changes
    assert "from [10, 3, 32, 32] to [1, 3, 64, 64]" in changes
    assert "raised the opset from 13 to 17" in changes
    written = onnx.load(tmp_path / "m.evb" / "int8-x86.onnx")
    assert [v.name for v in written.graph.input] == ["images"]
    image, truth = draw(1003)
    with edgevision.open(tmp_path / "m.evb", variant="int8-x86") as opened:
        assert found(opened(image)) == sorted(truth)


def test_a_branch_that_is_always_zero_does_no_harm(
    order: MakeOrder, make_detector: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    """A dead convolution (range 0…0) is added to a live one."""
    model = make_detector()
    nodes = list(model.graph.node)
    at = next(i for i, n in enumerate(nodes) if "r4" in n.output)
    nodes[at].output[0] = "live"
    dead = [
        helper.make_node("Conv", ["r3", "dead_w"], ["d4"], strides=[2, 2]),
        helper.make_node("Relu", ["d4"], ["dead"]),
        helper.make_node("Add", ["live", "dead"], ["r4"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend([*nodes[: at + 1], *dead, *nodes[at + 1 :]])
    zeros = np.zeros((16, 16, 2, 2), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(zeros, "dead_w"))
    onnx.save(model, tmp_path / "dead.onnx")
    conversion = run(
        order(tmp_path / "z.evb", model=tmp_path / "dead.onnx", targets=("x86", "trt"))
    )
    assert conversion.passed
    assert all(m.proof is None or m.proof.value > 0.99 for m in conversion.made)


def test_weights_in_another_file_end_up_in_the_bundle(
    order: MakeOrder, make_detector: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    onnx.save(
        make_detector(), tmp_path / "big.onnx", save_as_external_data=True,
        location="big.data", size_threshold=0,
    )  # fmt: skip
    run(order(tmp_path / "e.evb", model=tmp_path / "big.onnx", precisions=(), calibration=None))
    source = open_bundle(tmp_path / "e.evb").manifest["provenance"]["source"]
    assert source["data"] == {"big.data": hash_file(tmp_path / "big.data")}
    (tmp_path / "big.data").unlink()
    with edgevision.open(tmp_path / "e.evb") as model:
        assert len(model(np.zeros((64, 64, 3), np.uint8))) == 0


def test_golden_frames_of_ones_own_are_stored(order: MakeOrder, data: Path, tmp_path: Path) -> None:
    plain = {"precisions": (), "calibration": None}
    run(order(tmp_path / "g.evb", golden=str(data / "few"), **plain))
    golden = open_bundle(tmp_path / "g.evb").manifest["golden"]
    assert golden["source"] == "own"
    stored = cv2.imread(str(tmp_path / "g.evb" / golden["frames"][1]))
    np.testing.assert_array_equal(stored, cv2.imread(str(data / "few" / "0003.png")))
    run(order(tmp_path / "n.evb", golden="none", **plain))
    assert open_bundle(tmp_path / "n.evb").manifest["golden"]["frames"] == []
    assert not (tmp_path / "n.evb" / "golden").exists()


# What makes no sense is said before any work


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"calibration": None}, "int8 needs calibration data"),
        ({"precisions": ("int4",)}, "does not write int4"),
        ({"targets": ("x86", "tpu")}, "unknown target tpu"),
        ({"targets": ()}, "int8 for no target"),
        ({"precisions": ()}, "nothing that needs it"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(
    order: MakeOrder, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(order(tmp_path / "a.evb", **changed))
    assert list(tmp_path.iterdir()) == []


def test_a_preset_that_does_not_fit_says_which_shapes_were_seen(
    order: MakeOrder, tmp_path: Path
) -> None:
    with pytest.raises(SpecError) as caught:
        run(order(tmp_path / "a.evb", preset="nanodet"))
    assert "output0 float32 (1, 6, 64)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_task_and_a_decoder_that_do_not_fit_are_refused(order: MakeOrder, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'classify' and decoder 'yolov8' do not fit"):
        run(order(tmp_path / "a.evb", task="classify"))
    assert list(tmp_path.iterdir()) == []


def test_labels_that_do_not_match_name_both_counts(
    order: MakeOrder, tmp_path: Path, models: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    with pytest.raises(SpecError) as caught:
        run(order(tmp_path / "a.evb", labels=names))
    assert "3 labels for 2 classes" in caught.value.received


def test_a_quantized_model_is_not_quantized_again(
    converted: Conversion, order: MakeOrder, tmp_path: Path
) -> None:
    file = converted.order.output / "int8-x86.onnx"
    with pytest.raises(ModelError, match="quantized already"):
        run(order(tmp_path / "a.evb", model=file))
    assert list(tmp_path.iterdir()) == []


# Real ones


@pytest.mark.slow
def test_nanodet_passes_on_a_street_video(test_data: Path, tmp_path: Path) -> None:
    conversion = run(
        Order(
            model=test_data / "models/nanodet.onnx",
            output=tmp_path / "nd.evb",
            overrides=Overrides(preset="nanodet", labels=test_data / "labels/coco-80.txt"),
            precisions=("int8",),
            calibration=test_data / "video/vtest.avi",
            samples=100,
        )
    )
    agreement = conversion.made[1].proof.agreement  # type: ignore[union-attr]
    assert (agreement["verdict"], agreement["metric"]) == ("pass", "f1")
    assert agreement["value"] >= 0.95
    assert agreement["samples"] > 500


@pytest.mark.slow
def test_efficientnet_lite_gets_a_verdict_and_a_report(test_data: Path, tmp_path: Path) -> None:
    """A hard case: a stock conversion agrees in 70 % only. The pictures are crops of photographs."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for number, file in enumerate(sorted((test_data / "images").iterdir())):
        image = cv2.imread(str(file))
        height, width = image.shape[:2]
        random = np.random.default_rng(number)
        for crop in range(8):
            side = int(min(height, width) * random.uniform(0.5, 1))
            y, x = random.integers(0, height - side + 1), random.integers(0, width - side + 1)
            cv2.imwrite(str(folder / f"{number}-{crop}.png"), image[y : y + side, x : x + side])
    order = Order(
        model=test_data / "models/efficientnet-lite0.onnx",
        output=tmp_path / "en.evb",
        overrides=Overrides(
            preset="efficientnet-lite", labels=test_data / "labels/imagenet-1000.txt"
        ),
        precisions=("int8",),
        calibration=folder,
        samples=100,
    )
    place = tmp_path / "en.evb"
    try:
        run(order)
    except GateError:
        place = tmp_path / "en.evb.rejected"
    report = json.loads((place / "report.json").read_bytes())
    agreement = report["variants"]["int8-x86"]["agreement"]
    assert agreement["metric"] == "top1"
    assert agreement["verdict"] in ("pass", "fail")
    assert agreement["value"] > 0.75, "much better than stock"
    text = (place / "report.md").read_text(encoding="utf-8")
    assert f"{int(agreement['value'] * 1e4) / 1e4:.4f}" in text
    assert "1000 classes, on 224×224 rgb pictures" in text


@pytest.mark.slow
def test_centerface_is_cleaned_at_the_size_asked_for(test_data: Path) -> None:
    """Declared 10×3×32×32, initializers among the inputs, opset 9; no decoder reads it yet."""
    cleaned = clean(
        load(test_data / "models/centerface.onnx"), shapes={"input.1": [1, 3, 480, 640]}
    )
    dims = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*cleaned.model.graph.input, *cleaned.model.graph.output)
    }
    assert dims.pop("input.1") == [1, 3, 480, 640]
    assert {tuple(d[2:]) for d in dims.values()} == {(120, 160)}


@pytest.mark.slow
def test_centerface_with_a_decoder_that_cannot_read_it_says_what_it_has(
    test_data: Path, tmp_path: Path
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        'task = "detect"\n[input]\nscale = 1.0\n[output]\ndecoder = "yolov8"\n', encoding="utf-8"
    )
    with pytest.raises(SpecError) as caught:
        run(
            Order(
                model=test_data / "models/centerface.onnx",
                output=tmp_path / "cf.evb",
                overrides=Overrides(config=config, size=(480, 640)),
            )
        )
    assert "(1, 1, 120, 160)" in caught.value.received
    assert not (tmp_path / "cf.evb").exists()


@pytest.mark.slow
def test_data_that_is_all_noise_is_no_proof(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), noise)
    with pytest.raises((GateError, DataError)):
        run(
            Order(
                model=test_data / "models/nanodet.onnx",
                output=tmp_path / "nd.evb",
                overrides=Overrides(preset="nanodet"),
                precisions=("int8",),
                calibration=folder,
            )
        )
    assert not (tmp_path / "nd.evb").exists()


def test_golden_frames_that_are_not_there_are_told_before_the_work(
    order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgevision.converters.graph.onnx_file.load", None)
    with pytest.raises(EdgevisionError, match="nowhere"):
        run(order(tmp_path / "a.evb", golden=str(tmp_path / "nowhere")))
