"""OpenVINO against onnxruntime: raw outputs, and decoded results by the rules of golden frames; real models too."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision import presets
from edgevision.backends import BackendOptions
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.converters.graph.clean import clean
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.device import has_vnni
from edgevision.golden import TOLERANCE, compare, golden_record
from edgevision.metadata import KEY, variant_metadata
from edgevision.model import load_variant
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

pytest.importorskip("openvino", reason="the extra openvino is not installed")
_openvino_model = import_module("edgevision.backends._openvino_model")


@pytest.mark.parametrize("name", ["detector", "classifier", "two_inputs", "bright"])
def test_raw_outputs_are_those_of_ort(open_in, models, run, name):
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    found, wanted = (
        run(open_in(engine, getattr(models, name)).slot(), image) for engine in ("openvino", "ort")
    )
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert (found[key].dtype, found[key].shape) == (value.dtype, value.shape)
        np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5)


def test_golden_frames_made_with_ort_pass(load, models, draw_square):
    image = draw_square("green", (8, 40))
    stored = golden_record(load(models.detector), image)
    assert compare(load(models.detector, backend="openvino"), image, stored) == []


@pytest.mark.parametrize(
    ("name", "dtype", "side"), [("selfie", "float32", 256), ("movenet-lightning", "int32", 192)]
)
def test_raw_outputs_of_real_models_are_those_of_ort(test_data, open_in, run, name, dtype, side):
    spec = InputSpec((side, side), resize="stretch", scale=1.0, layout="nhwc", dtype=dtype)
    path = test_data / "models" / f"{name}.onnx"
    variant = Variant("v", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))
    image = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
    found, wanted = (run(open_in(e, variant).slot(), image) for e in ("openvino", "ort"))
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, atol=TOLERANCE["fp32"])


#: Model → its preset, its size, how many classes it has, and the picture: a street's first frame, or a portrait.
REAL = {
    "nanodet": ("nanodet", (416, 416), 80, "video/vtest.avi"),
    "efficientnet-lite0": ("efficientnet-lite", (224, 224), 1000, "images/astronaut.png"),
    "blazeface-back": ("blazeface", (256, 256), 1, "images/astronaut.png"),
    "centerface": ("centerface", (512, 512), 1, "images/astronaut.png"),
}


@pytest.fixture(scope="module")
def real(test_data):
    """Gives a real model for its picture, by name: cleaned ONNX, spec, picture."""

    @cache
    def prepare(name):
        preset, (height, width), classes, picture = REAL[name]
        data = presets.load(preset)
        spec = ModelSpec(
            data["task"],
            InputSpec.from_dict(data["input"]),
            OutputSpec.from_dict(data["output"]),
            tuple(f"class {number}" for number in range(classes)),
        )
        model = onnx.load(test_data / "models" / f"{name}.onnx")
        constants = {constant.name for constant in model.graph.initializer}
        [image] = [value.name for value in model.graph.input if value.name not in constants]
        shape = [1, *spec.input.tensor_shape(height, width)]
        return clean(model, shapes={image: shape}).model, spec, first_picture(test_data / picture)

    return prepare


def first_picture(path):
    """OpenCV takes a picture for a video of one frame."""
    fine, image = cv2.VideoCapture(str(path)).read()
    assert fine
    return image


def int8(model, spec, image):
    """Quantized for x86 by this one picture: what it finds matters less than that two engines find the same."""
    value = model.graph.input[0]
    tensor = np.zeros([d.dim_value for d in value.type.tensor_type.shape.dim], np.float32)
    Preprocessor(spec.input, tensor).load(image)
    measured = calibrate(model, lambda: iter([{value.name: tensor}]), scheme="x86", rounding=False)
    return quantize_calibrated(model, measured, ranges="minmax", rounding=False).model


def require(compute):
    if compute == "int8" and not has_vnni():
        pytest.skip("this processor has no VNNI: products of uint8 and int8 may saturate")
    if compute == "bf16" and "BF16" not in _openvino_model.capabilities():
        pytest.skip("this processor has no bf16")


@pytest.mark.parametrize(
    ("name", "compute"),
    [
        ("nanodet", "fp32"),
        ("nanodet", "bf16"),
        ("nanodet", "int8"),
        ("efficientnet-lite0", "fp32"),
        ("efficientnet-lite0", "int8"),
        ("blazeface-back", "fp32"),
        ("centerface", "fp32"),
    ],
)
def test_golden_frames_of_real_models_made_with_ort_pass(real, tmp_path, name, compute):
    require(compute)
    model, spec, image = real(name)
    written = onnx.ModelProto()
    written.CopyFrom(int8(model, spec, image) if compute == "int8" else model)
    precision = "int8" if compute == "int8" else "fp32"
    helper.set_model_props(written, {KEY: variant_metadata(precision, precision, spec)})
    onnx.save(written, tmp_path / "model.onnx")
    bundle = open_bundle(tmp_path / "model.onnx")

    def load(backend, compute=None):
        options = BackendOptions(compute=compute)
        return load_variant(bundle, choose(bundle), options, backend=backend)

    with load("ort") as ort, load("openvino", compute) as openvino:
        stored = golden_record(ort, image)
        assert any(stored["result"].values()), "the picture shows something"
        assert openvino.executed.compute == compute
        assert compare(openvino, image, stored) == []
