from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevision.errors import SpecError
from edgevision.metadata import KEY, spec_from_metadata, variant_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec, TensorSpec

FIXED = [TensorSpec("images", "float32", (1, 3, 320, 416))]
ANY = [TensorSpec("images", "float32", ("n", 3, "h", "w"))]


def read(inputs=FIXED, **told):
    return spec_from_metadata({"task": "detect", "names": "['a']"} | told, inputs)


def test_no_metadata_is_no_spec():
    assert spec_from_metadata({}, FIXED) is None
    assert spec_from_metadata({"names": "['a']"}, FIXED) is None


def test_our_own_is_read_back():
    spec = ModelSpec("detect", InputSpec((64, 32)), OutputSpec("yolov8", {"score": 0.3}), ("a",))
    text = variant_metadata("int8-x86", "int8", spec)
    assert spec_from_metadata({KEY: text}, []) == ("int8-x86", "int8", spec)
    assert text == variant_metadata("int8-x86", "int8", spec)


def test_ultralytics_detectors():
    variant, precision, spec = read(names="{0: 'person', 1: 'bicycle'}", imgsz="[640, 640]")
    assert (variant, precision, spec.task) == ("model", "fp32", "detect")
    assert spec.labels == ("person", "bicycle")
    assert spec.output.decoder == "yolov8"
    # Ultralytics: LetterBox with 114, RGB, divided by 255; the input's fixed size is what counts.
    found = spec.input
    assert (found.size, found.resize, found.pad_value) == ((320, 416), "letterbox", 114)
    assert (found.colour, found.layout, found.dtype) == ("rgb", "nchw", "float32")
    assert found.scale == pytest.approx(1 / 255)


def test_ultralytics_classifiers_end_in_a_softmax():
    spec = read(task="classify")[2]
    assert (spec.output.decoder, spec.output.params["activation"]) == ("softmax", "none")
    assert spec.input.resize == "centre-crop"
    assert spec.input.antialias, "Pillow's bilinear filter, which Ultralytics shrinks with, is one"


@pytest.mark.parametrize(("imgsz", "size"), [("[480, 640]", (480, 640)), ("320", (320, 320))])
def test_the_size_of_a_dynamic_model_is_what_imgsz_says(imgsz, size):
    assert read(ANY, imgsz=imgsz)[2].input.size == size


@pytest.mark.parametrize(("told", "multiple"), [({}, 32), ({"stride": "64"}, 64)])
def test_a_dynamic_model_without_a_size_takes_multiples_of_its_stride(told, multiple):
    spec = read(ANY, **told)[2].input
    assert (spec.size, spec.multiple_of) == (None, multiple)


@pytest.mark.parametrize(
    "told",
    [
        {"task": "segment"}, {"imgsz": "big"}, {"imgsz": "[1, 2, 3]"}, {"imgsz": "[0, 0]"},
        {"imgsz": "['a', 'b']"}, {"imgsz": "[99999, 5]"}, {"stride": "0"}, {"stride": "many"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(told):
    with pytest.raises(SpecError):
        read(ANY, **told)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("['a', 'b']", ("a", "b")),
        ("('a',)", ("a",)),
        ("{1: 'b', 0: 'a'}", ("a", "b")),
        ("{0: '\\x1b[2J'}", ("�[2J",)),
        ("{}", ()),
    ],
)
def test_names(names, labels):
    assert read(names=names)[2].labels == labels


@pytest.mark.parametrize(
    "names",
    ["", "person", "{0: 'a', 2: 'b'}", "{'a': 'b'}", "[1, 2]", "3", "None", "{[]: 1}", "[x for x in ()]",
     "__import__('os').system('true')", "f'{1}'", "[" * 5000, "(" * 200_000, "-" * 100_000 + "1",
     "{0: 'a'", "'\\ud800'", "['" + "x" * 300_000 + "']", "\x00", "1" * 10_000, "[1] * 10"],
)  # fmt: skip
def test_names_that_are_no_list_of_names_are_refused(names):
    with pytest.raises(SpecError) as refused:
        read(names=names)
    assert len(str(refused.value)) < 1000
    assert "\x00" not in str(refused.value)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(), st.text(alphabet="[](){}'\":,0123456789-+.\\xu "), st.lists(st.text()).map(repr)
    )
)
def test_any_names_give_printable_labels_or_a_spec_error(names):
    try:
        labels = read(names=names)[2].labels
    except SpecError:
        return
    assert not any(c < " " or "\x7f" <= c < "\xa0" for label in labels for c in label)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "3", "null", "{}", '{"schema": 1}', "[" * 100_000, '{"schema": 1, "variant": "v"}',
        '{"schema": 2, "variant": "v", "precision": "p", "spec": {}}',
        '{"schema": 1, "variant": "v", "precision": "p", "spec": []}',
        '{"schema": 1, "variant": "v", "precision": "p", "spec": {"task": "t"}}', "x" * 300_000,
    ],
    ids=range(13),
)  # fmt: skip
def test_our_own_is_not_trusted_either(text):
    with pytest.raises(SpecError):
        spec_from_metadata({KEY: text}, FIXED)


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(list(InputSpec.__slots__)), inner)
        ),
        max_leaves=8,
    )
)
def test_any_input_spec_is_read_or_refused(value):
    spec = {"task": "t", "output": {"decoder": "d"}, "input": value}
    text = json.dumps({"schema": 1, "variant": "v", "precision": "p", "spec": spec})
    try:
        found = spec_from_metadata({KEY: text}, FIXED)
    except SpecError:
        return
    hash(found[2].input)  # the pipeline's caches rely on it


@pytest.mark.parametrize(
    "told", [{"args": "{'batch': 1, 'nms': True}"}, {"end2end": "True"}, {"end2end": "true"}]
)
def test_exports_that_give_final_boxes_are_read_as_such(told):
    assert read(**told)[2].output.decoder == "end2end"
    assert read(args="{'nms': False}", end2end="False")[2].output.decoder == "yolov8"
