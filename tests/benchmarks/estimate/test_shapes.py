"""The sizes at which a model is looked at."""

from __future__ import annotations

import pytest

from edgevision.benchmarks.estimate.shapes import input_shapes, parse_shape, parse_size
from edgevision.errors import UsageError
from edgevision.spec import InputSpec, TensorSpec


def tensor(*shape, name="x"):
    return TensorSpec(name, "float32", shape)


@pytest.mark.parametrize(
    ("declared", "options", "shape"),
    [
        ((1, 3, 224, 224), {}, (1, 3, 224, 224)),
        (("n", 3, 224, 224), {}, (1, 3, 224, 224)),
        (("n", 3, 224, 224), {"batch": 8}, (8, 3, 224, 224)),
        ((1, 3, "h", "w"), {"size": (480, 640)}, (1, 3, 480, 640)),
        ((1, "h", "w", 3), {"size": (480, 640)}, (1, 480, 640, 3)),
        (("n", 3, 48, "w"), {"size": (48, 320)}, (1, 3, 48, 320)),
        # declared by the exporter, and not true
        ((10, 3, 32, 32), {"size": (480, 640), "batch": 1}, (1, 3, 480, 640)),
        ((1, 3, "h", "w"), {"spec": InputSpec(size=(320, 256))}, (1, 3, 320, 256)),
        ((1, 3, 224, 224), {"spec": InputSpec(size=(320, 256))}, (1, 3, 224, 224)),
        ((1, "h", "w", "c"), {"named": {"x": (1, 8, 9, 1)}}, (1, 8, 9, 1)),
        (("n", "h", "w", 4), {"size": (8, 9), "spec": InputSpec(layout="nhwc")}, (1, 8, 9, 4)),
        ((), {}, ()),
        ((7,), {"batch": 4}, (7,)),
    ],
)
def test_a_whole_shape(declared, options, shape):
    assert input_shapes([tensor(*declared)], **options) == {"x": shape}


def test_a_batch_is_of_every_input():
    inputs = [tensor("n", 3, 8, 8), tensor("n", 2, name="sizes")]
    assert input_shapes(inputs, batch=4) == {"x": (4, 3, 8, 8), "sizes": (4, 2)}


@pytest.mark.parametrize(
    ("declared", "hint"),
    [
        ((1, 3, "h", "w"), "--size 640x640"),
        (("n", 3, 48, "w"), "--size 48x640"),
        ((1, "h", "w", 3), "--size 640x640"),
        ((1, "c", "h", "w"), "--shape x=1xNxNxN"),
        ((1, "t"), "--shape x=1xN"),
    ],
)
def test_what_is_open_says_what_to_pass(declared, hint):
    with pytest.raises(UsageError, match="leaves sizes of its input 'x' open") as caught:
        input_shapes([tensor(*declared)])
    assert hint in str(caught.value)


def test_one_fixed_side_is_meant():
    with pytest.raises(UsageError, match="does not take that size") as caught:
        input_shapes([tensor(1, 3, 48, "w")], size=(40, 320))
    assert "48xany" in str(caught.value)


def test_a_shape_of_an_input_that_is_not_there():
    with pytest.raises(UsageError, match="no input 'y'"):
        input_shapes([tensor(1, 3)], named={"y": (1, 3)})


def test_a_shape_with_too_few_dimensions():
    with pytest.raises(UsageError, match="has 4 dimensions"):
        input_shapes([tensor(1, 3, "h", "w")], named={"x": (8, 8)})


@pytest.mark.parametrize(
    ("text", "size"), [("640", (640, 640)), ("480x640", (480, 640)), ("480X640", (480, 640))]
)
def test_a_size_as_it_is_written(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "640x", "0x640", "-1", "1e3", "1x2x3", "999999", "٣x٣"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text)


def test_a_shape_as_it_is_written():
    assert parse_shape("input:0=1x3x8x8") == ("input:0", (1, 3, 8, 8))
    assert parse_shape("a=b=2") == ("a=b", (2,))


@pytest.mark.parametrize("text", ["", "x", "=1x3", "x=", "x=1,3", "x=1x-3"])
def test_what_is_no_shape(text):
    with pytest.raises(UsageError, match="cannot be read"):
        parse_shape(text)
