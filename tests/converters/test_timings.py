"""The file as it came, timed beside what was made of it: as it is, with its input's size set, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.progress import Progress

MakeOrder = Callable[..., Order]
Make = Callable[..., onnx.ModelProto]


def run(order: Order) -> Conversion:
    return convert(order, Progress(quiet=True))


def classifier(order: MakeOrder, place: Path, model: onnx.ModelProto, **changed: object) -> Order:
    onnx.save(model, place / "model.onnx")
    plain = {
        "model": place / "model.onnx", "preset": "imagenet", "size": (64, 64), "precisions": (),
        "calibration": None,
    }  # fmt: skip
    return order(place / "a.evb", **(plain | changed))


def test_an_open_size_is_run_as_it_is(
    order: MakeOrder, make_classifier: Make, tmp_path: Path
) -> None:
    conversion = run(classifier(order, tmp_path, make_classifier((1, 3, "height", "width"))))
    assert conversion.original["shapes"] == "own"
    timings = json.loads((tmp_path / "a.evb/timings.json").read_bytes())
    assert timings["original"] == conversion.original
    assert timings["variants"]["fp32"]["speedup_vs_original"] > 0


@pytest.mark.parametrize("shape", [(10, 3, 64, 64), (1, 3, 32, 32)])
def test_a_wrong_declared_shape_is_set_and_said(
    order: MakeOrder, make_classifier: Make, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """As CenterFace, which declares ten pictures of 32×32 and takes one of any size."""
    conversion = run(classifier(order, tmp_path, make_classifier(shape)))
    assert conversion.spec.input.size == (64, 64)
    assert conversion.original["shapes"] == "fixed"


def test_as_many_pictures_at_a_time_as_fp32(
    order: MakeOrder, make_classifier: Make, tmp_path: Path
) -> None:
    conversion = run(classifier(order, tmp_path, make_classifier(), batch=4))
    assert conversion.original["shapes"] == "fixed"
    assert conversion.timings["fp32"]["speedup_vs_original"] is not None
