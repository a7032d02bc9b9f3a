"""What was written is read back: bytes, id, precision, spec, input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgevision.backends import Variant
from edgevision.bundle import hash_file
from edgevision.converters.conversion import Conversion
from edgevision.converters.written import check_written
from edgevision.errors import ModelError
from edgevision.metadata import KEY

Change = Callable[[onnx.ModelProto], Any]


@pytest.fixture
def variant(converted: Conversion, tmp_path: Path) -> Variant:
    """A copy of the int8 file that may be changed."""
    made = converted.made[1].variant
    file = Path(shutil.copy(converted.order.output / "int8-x86.onnx", tmp_path))
    return replace(made, file=file)


def changed(variant: Variant, change: Change) -> Variant:
    """The file changed, and hashed as if it were meant so."""
    model = onnx.load(variant.file)
    change(model)
    onnx.save(model, variant.file)
    size = variant.file.stat().st_size
    return replace(variant, sha256=hash_file(variant.file), size_bytes=size)


def test_what_was_meant_passes(variant: Variant) -> None:
    check_written(variant)


def test_every_variant_of_a_bundle_passes(converted: Conversion) -> None:
    for made in converted.made:
        file = converted.order.output / made.variant.file.name
        check_written(replace(made.variant, file=file))


@pytest.mark.parametrize(
    ("meant", "said"),
    [
        ({"id": "int8-trt"}, "int8-trt int8"),
        ({"precision": "fp32"}, "int8-x86 fp32"),
        ({"sha256": "0" * 64}, "other bytes"),
    ],
)
def test_another_id_precision_or_hash_is_seen(
    variant: Variant, meant: dict[str, str], said: str
) -> None:
    with pytest.raises(ModelError, match="does not say of itself what it is") as caught:
        check_written(replace(variant, **meant))
    assert said in str(caught.value)


@pytest.mark.parametrize("part", ["input", "output", "labels"])
def test_another_spec_is_seen(variant: Variant, part: str) -> None:
    spec = variant.spec
    other = {
        "input": replace(spec.input, mean=(1.0, 2.0, 3.0)),
        "output": replace(spec.output, params={**spec.output.params, "score": 0.123}),
        "labels": ("green", "red"),
    }[part]
    with pytest.raises(ModelError, match="does not say of itself"):
        check_written(replace(variant, spec=replace(spec, **{part: other})))


def test_a_file_without_a_spec_is_seen(variant: Variant) -> None:
    def strip(model: onnx.ModelProto) -> None:
        kept = [p for p in model.metadata_props if p.key not in (KEY, "names", "task")]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)

    with pytest.raises(ModelError, match="no spec in its metadata"):
        check_written(changed(variant, strip))


def test_an_input_of_another_size_is_seen(variant: Variant) -> None:
    def grow(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 96

    with pytest.raises(ModelError, match="an input of 96×64"):
        check_written(changed(variant, grow))
