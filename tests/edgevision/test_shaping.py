"""Another batch or input size: taken where the model leaves it open, refused with the reason where not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgevision as ev
from edgevision.backends import BackendOptions
from edgevision.bundle import open_bundle
from edgevision.errors import UsageError
from edgevision.metadata import KEY, variant_metadata
from edgevision.model import open_model
from edgevision.shaping import check_batch, resized
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant


def model(folder: Path, shape: list[int | str], spec: InputSpec) -> Path:
    """A classifier that takes the mean of each channel, whatever the size of the picture."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["scores"]),
        ],
        "means",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], 3])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    task = ModelSpec("classify", spec, OutputSpec("softmax"))
    helper.set_model_props(proto, {KEY: variant_metadata("fp32", "fp32", task)})
    path = folder / "means.onnx"
    onnx.save(proto, path)
    return path


def variant(path: Path) -> Variant:
    (only,) = open_bundle(path).variants.values()
    return only


@pytest.fixture
def open_one(tmp_path: Path) -> Path:
    """All open: sides are multiples of 8, at most 64 × 96."""
    spec = InputSpec(multiple_of=8, max_size=(64, 96), resize="stretch")
    return model(tmp_path, ["N", 3, "H", "W"], spec)


@pytest.fixture
def fixed_one(tmp_path: Path) -> Path:
    return model(tmp_path, [1, 3, 8, 16], InputSpec(size=(8, 16)))


def test_open_size_becomes_the_input_s_size(open_one: Path) -> None:
    asked = resized(variant(open_one), (32, 48))
    assert asked.spec.input.size == (32, 48)
    assert asked.file == open_one
    assert resized(variant(open_one), None) == variant(open_one)


@pytest.mark.parametrize("backend", ["ort", "openvino", "fake"])
def test_model_runs_with_the_size_and_batch_that_were_asked_for(
    open_one: Path, backend: str
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    with open_model(open_one, backend=backend, batch=3, size=(16, 24)) as opened:
        slot = opened.pipeline.loaded_slot(np.full((40, 40, 3), 51, np.uint8))
        assert slot.rows == 3
        assert slot.load(np.zeros((40, 40, 3), np.uint8)).tensor_hw == (16, 24)
        slot.submit()
        (scores,) = slot.wait().values()
        assert scores.shape == (3, 3) or backend == "fake"


def test_results_do_not_depend_on_the_batch(open_one: Path) -> None:
    picture = np.full((20, 30, 3), (10, 200, 90), np.uint8)  # blue, green, red
    with open_model(open_one, batch=4, size=(16, 16)) as wide, ev.open(open_one) as plain:
        assert wide(picture).class_ids[0] == plain(picture).class_ids[0] == 1


@pytest.mark.parametrize(
    ("size", "told"),
    [
        ((32, 44), "multiples of 8"),
        ((72, 48), "at most 64x96"),
        ((64, 104), "at most 64x96"),
        ((0, 8), "multiples of 8"),
    ],
)
def test_size_that_the_spec_excludes_is_refused(
    open_one: Path, size: tuple[int, int], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        resized(variant(open_one), size)


def test_fixed_model_says_what_it_takes(fixed_one: Path) -> None:
    one = variant(fixed_one)
    assert resized(one, (8, 16)) is one
    check_batch(one, 1)
    with pytest.raises(UsageError, match="pictures of 8x16, not of 16x8"):
        resized(one, (16, 8))
    with pytest.raises(UsageError, match="a batch of 1, not of 2"):
        check_batch(one, 2)
    with pytest.raises(UsageError, match="a batch of 1, not of 2"):
        open_model(fixed_one, batch=2)


def test_ort_says_before_loading_what_it_would_refuse(fixed_one: Path) -> None:
    from edgevision.backends.ort import OrtBackend

    assert OrtBackend().check(variant(fixed_one), BackendOptions()) == "fp32"
    with pytest.raises(UsageError, match="as it is written"):
        OrtBackend().check(variant(fixed_one), BackendOptions(compute="bf16"))
