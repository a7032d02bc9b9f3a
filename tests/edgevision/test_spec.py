from __future__ import annotations

import json

import pytest

from edgevision.errors import SpecError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

NAN, INF = float("nan"), float("inf")


def test_a_spec_survives_json():
    spec = ModelSpec(
        "detect",
        InputSpec((416, 320), mean=(1.0, 2.0, 3.0), std=(4.0,), tensor="x"),
        OutputSpec("nanodet", {"strides": [8, 16]}),
        ("a", "b"),
    )
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_missing_fields_take_their_default():
    assert InputSpec.from_dict({}) == InputSpec()
    assert InputSpec.from_dict({"mean": 3}).mean == (3.0,)


@pytest.mark.parametrize(
    ("colour", "layout", "shape"),
    [
        ("rgb", "nchw", (3, 4, 5)),
        ("bgr", "nhwc", (4, 5, 3)),
        ("gray", "nchw", (1, 4, 5)),
        ("gray", "nhwc", (4, 5, 1)),
    ],
)
def test_the_shape_of_one_row(colour, layout, shape):
    assert InputSpec(colour=colour, layout=layout).tensor_shape(4, 5) == shape


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", [640]), ("size", [0, 640]), ("size", [640, 16385]), ("size", [1.5, 2]), ("size", "ab"),
        ("size", [True, True]), ("size", 640), ("max_size", [1]), ("multiple_of", 0), ("multiple_of", "32"),
        ("resize", "squeeze"), ("resize", []), ("crop_fraction", 0), ("crop_fraction", 1.1),
        ("crop_fraction", "x"), ("crop_fraction", NAN), ("interpolation", None), ("antialias", "yes"),
        ("pad_value", 256), ("pad_value", -1), ("pad_value", 1.5), ("pad_side", "left"), ("colour", "cmyk"),
        ("scale", "x"), ("scale", NAN), ("scale", INF), ("scale", 0), ("scale", None), ("mean", [1, 2]),
        ("mean", []), ("mean", [NAN]), ("mean", ["x"]), ("mean", None), ("std", [0]), ("std", [-1]),
        ("std", [INF]), ("std", {}), ("layout", "hwc"), ("dtype", "int8"), ("tensor", ""), ("tensor", ["x"]),
        ("colour_order", "rgb"),
    ],
)  # fmt: skip
def test_a_field_that_makes_no_sense_is_named(field, value):
    with pytest.raises(SpecError) as refused:
        InputSpec.from_dict({field: value})
    assert field in str(refused.value) or "input spec" in str(refused.value)


@pytest.mark.parametrize("extra", [{"scale": 0.5}, {"mean": (1.0,)}, {"std": (2.0,)}])
def test_integer_inputs_take_plain_pixels(extra):
    InputSpec(dtype="uint8", scale=1)
    with pytest.raises(SpecError, match="scale/mean/std"):
        InputSpec(**({"dtype": "uint8", "scale": 1} | extra))


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"task": 3},
        {"task": "detect"},
        {"task": "detect", "output": []},
        {"task": "detect", "output": {"decoder": ""}},
        {"task": "detect", "output": {"decoder": 3}},
        {"task": "detect", "output": {"decoder": "x", "params": []}},
        {"task": "detect", "output": {"decoder": "x"}, "labels": "abc"},
        {"task": "detect", "output": {"decoder": "x"}, "labels": [1]},
        {"task": "detect", "output": {"decoder": "x"}, "input": "yolov8"},
        {"task": "detect", "output": {"decoder": "x", "speed": 3}},
    ],
)
def test_a_spec_that_is_none_is_refused(data):
    with pytest.raises(SpecError):
        ModelSpec.from_dict(data)


def test_labels_from_a_file_are_made_printable():
    labels = ["\x1b[31mred", "犬", "a\nb", "x" * 500]
    spec = ModelSpec.from_dict({"task": "t", "output": {"decoder": "d"}, "labels": labels})
    assert spec.labels[:3] == ("�[31mred", "犬", "a�b")
    assert len(spec.labels[3]) == 200


def test_tensors_for_people():
    assert str(TensorSpec("x", "float32", (1, "h", 3))) == "x float32 1×h×3"
    assert str(TensorSpec("x", "int64", ())) == "x int64 scalar"


def test_what_is_baked_is_in_the_json_only_where_there_is_something():
    plain = ModelSpec("detect", InputSpec(), OutputSpec("yolov8"))
    assert "baked" not in plain.to_dict()["input"]
    assert "baked" not in plain.to_dict()["output"]
    baked = ModelSpec(
        "detect",
        InputSpec(baked=("colour", "normalization")),
        OutputSpec("end2end", baked=("nms",)),
    )
    assert baked.to_dict()["input"]["baked"] == ["colour", "normalization"]
    assert baked.baked == ("colour", "normalization", "nms")
    assert ModelSpec.from_dict(baked.to_dict()) == baked


@pytest.mark.parametrize("value", ["colour", ["nms"], ["colour", "colour"], [1], 5, [["colour"]]])
def test_other_words_are_not_baked(value):
    with pytest.raises(SpecError):
        InputSpec.from_dict({"baked": value})
