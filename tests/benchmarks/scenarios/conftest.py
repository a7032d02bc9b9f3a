"""A real detector, ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import helper

from edgevision import presets
from edgevision.metadata import KEY, variant_metadata
from edgevision.model import Model, open_model
from edgevision.spec import InputSpec, ModelSpec, OutputSpec


@pytest.fixture
def real_detector(test_data: Path, tmp_path: Path) -> Iterator[Model]:
    """NanoDet, with its preset's spec in the file."""
    preset = presets.load("nanodet")
    spec = ModelSpec(
        preset["task"],
        InputSpec.from_dict(preset["input"]),
        OutputSpec(preset["output"]["decoder"], preset["output"]["params"]),
        tuple((test_data / "labels/coco-80.txt").read_text().splitlines()),
    )
    model = onnx.load(test_data / "models/nanodet.onnx")
    helper.set_model_props(model, {KEY: variant_metadata("fp32", "fp32", spec)})
    onnx.save(model, tmp_path / "nanodet.onnx")
    with open_model(tmp_path / "nanodet.onnx") as opened:
        yield opened
