from __future__ import annotations

import pytest

from edgevision import presets, registry
from edgevision.errors import UsageError
from edgevision.spec import InputSpec, OutputSpec

NAMES = [
    "blazeface",
    "centerface",
    "centernet",
    "detr",
    "efficientnet-lite",
    "imagenet",
    "movenet",
    "nanodet",
    "rt-detr",
    "rt-detr-ultralytics",
    "selfie",
    "ssd-mobilenet",
    "ssd-mobilenet-raw",
    "yolov10",
    "yolov5",
    "yolov8",
    "yolox",
]


def test_the_presets_are_listed():
    assert presets.names() == NAMES


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_usable_and_says_where_it_comes_from(name):
    preset = presets.load(name)
    assert set(preset) - {"labels"} == {"description", "source", "task", "input", "output"}
    assert preset["description"]
    assert preset["source"]
    InputSpec.from_dict(preset["input"])
    output = OutputSpec.from_dict(preset["output"])
    labels = tuple(preset.get("labels", ()))
    registry.load("decoders", output.decoder)(labels=labels, **output.params)
    assert preset["task"] in registry.names("tasks")


def normalize(spec, pixel):
    return [(pixel * spec.scale - m) / s for m, s in zip(spec.mean, spec.std, strict=True)]


def test_imagenet_turns_its_mean_colour_into_zero():
    spec = InputSpec.from_dict(presets.load("imagenet")["input"])
    # Published: mean 0.485, 0.456, 0.406 and deviation 0.229, 0.224, 0.225 of RGB in 0…1.
    assert normalize(spec, 255) == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)


def test_nanodet_subtracts_blue_green_red():
    spec = InputSpec.from_dict(presets.load("nanodet")["input"])
    assert spec.colour == "bgr"
    assert normalize(spec, 128) == pytest.approx([24.47 / 57.375, 11.72 / 57.12, 4.325 / 58.395])


def test_a_loaded_preset_can_be_changed_without_changing_the_next():
    presets.load("yolov8")["input"]["size"] = None
    assert presets.load("yolov8")["input"]["size"] == [640, 640]


@pytest.mark.parametrize("name", ["yolo", "", "../presets/yolov8", "yolov8.json"])
def test_an_unknown_preset_is_refused_listing_those_there_are(name):
    with pytest.raises(UsageError, match=", ".join(NAMES)):
        presets.load(name)
