"""From ``convert --bake`` to a bundle that runs: the same detections as without, and everything says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgevision
from edgevision import assets
from edgevision.bundle import open_bundle
from edgevision.converters.bake.baking import bake
from edgevision.converters.bake.nms import bake_nms
from edgevision.converters.bake.proof import prove_nms
from edgevision.converters.conversion import Order
from edgevision.converters.convert import convert
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.pictures import spread
from edgevision.converters.settings import Overrides, fixed_shapes, resolve
from edgevision.errors import ModelError, UsageError
from edgevision.inspection import inspect_path, inspection_text
from edgevision.onnx_header import read_header
from edgevision.progress import Progress
from edgevision.verification import verify_bundle

GARMENTS = Path(assets.__file__).with_name("garments.onnx")
BELT = "synthetic://conveyor?seed=3&size=640x480&frames=12"
WORDS = ("input", "nms")
INPUT = ("colour", "normalization")


def converted(model: Path, folder: Path, name: str, *bake_words: str, **changed: Any) -> Path:
    order = Order(model=model, output=folder / f"{name}.evb", bake=bake_words, **changed)
    convert(order, Progress(quiet=True))
    return order.output


def same_detections(path: Path, other: Path, source: str, **options: Any) -> int:
    found = 0
    with edgevision.open(path, **options) as ours, edgevision.open(other, **options) as theirs:
        for image in spread(source, 12):
            a, b = ours(image), theirs(image)
            np.testing.assert_array_equal(a.class_ids, b.class_ids)
            np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
            np.testing.assert_allclose(a.boxes_xyxy, b.boxes_xyxy, atol=0.05)
            found += len(a)
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(GARMENTS, tmp_path_factory.mktemp("plain"), "plain")


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return converted(GARMENTS, tmp_path_factory.mktemp("baked"), "baked", *WORDS)


def test_a_baked_bundle_detects_the_same_and_says_what_was_baked(plain: Path, baked: Path) -> None:
    assert same_detections(plain, baked, BELT, backend="ort", threads=1) > 20
    variant = open_bundle(baked).variants["fp32"]
    assert variant.spec.baked == (*INPUT, "nms")
    assert variant.spec.input.dtype == "uint8"
    assert json.loads((baked / "report.json").read_text())["variants"]["fp32"]["baked"] == [
        *INPUT,
        "nms",
    ]
    assert (
        "takes uint8 pixels, with this baked into it: colour, normalization, nms"
        in (baked / "report.md").read_text()
    )
    text = inspection_text(inspect_path(baked))
    assert "in the graph: colour, normalization" in text
    assert "in the graph: nms" in text
    with edgevision.open(baked / "fp32.onnx") as alone:  # the file says it by itself
        assert alone.variant.spec == variant.spec


def test_a_bundle_without_baking_is_written_as_before(plain: Path) -> None:
    assert "baked" not in (plain / "manifest.json").read_text()


def test_a_baked_bundle_is_verified(baked: Path) -> None:
    assert verify_bundle(baked, backend="ort", as_json=True) == 0


def test_int8_and_fp16_are_made_of_the_baked_model(tmp_path: Path, order: Callable[..., Order]) -> None:  # fmt: skip
    wanted = order(tmp_path / "all.evb", precisions=("int8", "fp16"), bake=WORDS)
    conversion = convert(wanted, Progress(quiet=True))
    assert conversion.passed
    bundle = open_bundle(wanted.output)
    for variant in bundle.variants.values():
        assert variant.spec.baked == (*INPUT, "nms")
        (entry,) = read_header(variant.file).inputs
        assert entry.dtype == "uint8"
    int8 = onnx.load(bundle.variants["int8-x86"].file)
    readers = [node.op_type for node in int8.graph.node if "images" in node.input]
    assert readers == ["DequantizeLinear"]  # no Cast, no QuantizeLinear


def test_a_baked_model_can_be_baked_no_further(baked: Path, tmp_path: Path) -> None:
    again = converted(baked / "fp32.onnx", tmp_path, "again", "input")
    assert open_bundle(again).variants["fp32"].spec.baked == (*INPUT, "nms")
    assert same_detections(baked, again, BELT, backend="ort", threads=1) > 20
    with pytest.raises(UsageError, match="yolov8"):
        converted(baked / "fp32.onnx", tmp_path, "never", "nms")


def test_other_words_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="input, nms"):
        converted(tmp_path / "absent.onnx", tmp_path, "b", "output")


def test_the_proof_finds_another_suppression() -> None:
    header = read_header(GARMENTS)
    spec = resolve(Overrides(), header.metadata, header.inputs, model_name="garments")
    model = clean(load(GARMENTS), shapes=fixed_shapes(spec, header.inputs, None)).model
    wrong = bake_nms(model, spec)
    threshold = next(t for t in wrong.model.graph.initializer if t.name == "nms/least")
    threshold.CopyFrom(onnx.numpy_helper.from_array(np.float32([0.9]), "nms/least"))
    with pytest.raises(ModelError, match="changed what the model detects"):
        prove_nms(model, spec, wrong, spread(BELT, 3))


def test_the_proof_says_so_where_there_was_nothing_to_detect() -> None:
    header = read_header(GARMENTS)
    spec = resolve(Overrides(), header.metadata, header.inputs, model_name="garments")
    model = clean(load(GARMENTS), shapes=fixed_shapes(spec, header.inputs, None)).model
    grey = np.full((480, 640, 3), 114, np.uint8)
    told = prove_nms(model, spec, bake_nms(model, spec), [grey])
    assert "on 1 pictures the model detects nothing" in told
    assert "proves little" in told


@pytest.mark.parametrize(
    ("name", "preset", "size"),
    [
        ("nanodet", "nanodet", None),
        ("efficientnet-lite0", "efficientnet-lite", None),
        ("movenet-lightning", "movenet", None),
        ("blazeface-back", "blazeface", None),
        ("selfie", "selfie", None),
        ("centerface", "centerface", (96, 128)),
    ],
)
def test_the_input_of_real_models_is_baked_exactly(test_data: Path, name: str, preset: str, size: tuple[int, int] | None) -> None:  # fmt: skip
    file = test_data / "models" / f"{name}.onnx"
    header = read_header(file)
    asked = Overrides(preset=preset, size=size)
    spec = resolve(asked, header.metadata, header.inputs, model_name=name)
    model = clean(load(file), shapes=fixed_shapes(spec, header.inputs, None)).model
    picture = spread(str(test_data / "video" / "carphone.mp4"), 1)
    words = WORDS if name == "nanodet" else ("input",)
    done = bake(model, spec, words, picture)  # which raises where it is not
    assert done.spec.input.dtype == "uint8"
    assert "Conv" in [
        node.op_type for node in done.model.graph.node[:4]
    ]  # Transpose, Cast, Sub at most
    assert len(done.changes) == 2 * len(words)


def test_nanodet_with_nms_finds_the_same_people(test_data: Path) -> None:
    file = test_data / "models" / "nanodet.onnx"
    header = read_header(file)
    asked = Overrides(preset="nanodet", labels=test_data / "labels" / "coco-80.txt")
    spec = resolve(asked, header.metadata, header.inputs, model_name="nanodet")
    model = clean(load(file), shapes=fixed_shapes(spec, header.inputs, None)).model
    baked = bake_nms(model, spec)
    told = prove_nms(model, spec, baked, spread(str(test_data / "video" / "vtest.avi"), 8))
    same, all_of_them, others = (int(n) for n in re.findall(r"\d+", told)[1:])
    assert (same, others) == (all_of_them, 0)
    assert same > 50
