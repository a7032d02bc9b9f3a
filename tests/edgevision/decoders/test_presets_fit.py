"""Each preset of a detector reads the outputs that its family's published export has, and only those."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgevision import presets, registry
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.preprocess import tensor_size
from edgevision.spec import ModelSpec

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: Shapes of the published export for COCO's 80 classes (VOC's 20 for SSD, COCO's 91 ids for DETR).
EXPORTS = {
    "yolov8": {"output0": (1, 84, 8400)},
    "yolov10": {"output0": (1, 300, 6)},
    "yolov5": {"output0": (1, 25200, 85)},
    "yolox": {"output": (1, 8400, 85)},
    "detr": {"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)},
    "rt-detr": {"logits": (1, 300, 80), "pred_boxes": (1, 300, 4)},
    "rt-detr-ultralytics": {"output0": (1, 300, 84)},
    "ssd-mobilenet": {"scores": (1, 3000, 21), "boxes": (1, 3000, 4)},
    "ssd-mobilenet-raw": {"scores": (1, 3000, 21), "boxes": (1, 3000, 4)},
    "centernet": {"hm": (1, 80, 128, 128), "wh": (1, 2, 128, 128), "reg": (1, 2, 128, 128)},
    "centerface": {
        "537": (1, 1, 120, 160),
        "538": (1, 2, 120, 160),
        "539": (1, 2, 120, 160),
        "540": (1, 10, 120, 160),
    },
    "blazeface": {
        "Identity": (1, 512, 1),
        "Identity_1": (1, 384, 1),
        "Identity_2": (1, 512, 16),
        "Identity_3": (1, 384, 16),
    },
}
#: What nothing but a picture tells apart: a preset, and an export that it reads; docs/presets.md says so.
ALIKE = [
    ("ssd-mobilenet", "ssd-mobilenet-raw"),
    ("ssd-mobilenet-raw", "ssd-mobilenet"),
    ("rt-detr", "rt-detr-ultralytics"),
    ("rt-detr-ultralytics", "rt-detr"),
    ("yolov8", "rt-detr-ultralytics"),
    ("yolov5", "yolox"),
]
COUNTS = {"ssd-mobilenet": 20, "ssd-mobilenet-raw": 20, "detr": 91, "centerface": 1, "blazeface": 1}


def made(name):
    spec = ModelSpec.from_dict(presets.load(name))
    assert spec.task == "detect"
    labels = tuple(f"class {i}" for i in range(COUNTS.get(name, 80)))
    decoder = registry.load("decoders", spec.output.decoder)(labels=labels, **spec.output.params)
    return decoder, Transform.identity(*tensor_size(spec.input, 480, 640))


def quiet(name):
    return {n: np.full(shape, -99, np.float32) for n, shape in EXPORTS[name].items()}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_preset_reads_its_familys_export(name):
    decoder, transform = made(name)
    assert len(decoder.decode(quiet(name), 0, transform)) == 0
    assert decoder.score == presets.load(name)["output"]["params"]["score"]


@pytest.mark.parametrize("name", EXPORTS)
def test_a_preset_refuses_the_exports_of_other_families(name):
    decoder, transform = made(name)
    for other in EXPORTS:
        if other == name or (name, other) in ALIKE:
            continue
        with pytest.raises(SpecError):
            decoder.decode(quiet(other), 0, transform)


def test_the_page_names_every_preset_and_every_decoder():
    page = (Path(__file__).resolve().parents[3] / "docs/presets.md").read_text("utf-8")
    shown = set(re.findall(r"`([a-z0-9-]+)`", page))
    assert set(presets.names()) <= shown
    assert set(registry.names("decoders")) - {"softmax"} <= shown


def test_the_configs_on_the_page_are_usable():
    page = (Path(__file__).resolve().parents[3] / "docs/presets.md").read_text("utf-8")
    configs = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    outputs = [c["output"] for c in configs if "output" in c]
    assert len(outputs) >= 4
    for output in outputs:
        if output["decoder"] != "best-box":  # that one is tested with the package it is in
            registry.load("decoders", output["decoder"])(**output["params"])
