"""Ranges of shapes: what is given, and what follows from the input spec."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.converters.engine.profiles import (
    parse_shape,
    parse_shapes,
    profile_text,
    ranges_for,
)
from edgevision.errors import UsageError
from edgevision.spec import InputSpec, TensorSpec

FIXED = TensorSpec("images", "float32", (1, 3, 64, 96))
BATCH = TensorSpec("images", "float32", ("n", 3, 64, 96))
ANY = TensorSpec("images", "float32", (1, 3, "h", "w"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=1x3", ((1, 3),) * 3),
        ("x=1x3..4x3", ((1, 3), (4, 3), (4, 3))),
        ("a=b:0=1..2..8", ((1,), (2,), (8,))),
    ],
)
def test_one_two_or_three_shapes(text: str, expected: object):
    assert parse_shape(text) == (text.rpartition("=")[0], expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "=1",
        "x=",
        "x=0",
        "x=1x",
        "x=-1",
        "x=1..2..3..4",
        "x=2..1",
        "x=1..3..2",
        "x=1x2..3",
        "x=1e3",
    ],
)
def test_what_is_no_rising_range_is_refused(text: str):
    with pytest.raises(UsageError, match="--shape"):
        parse_shape(text)


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_a_usage_error(text: str):
    try:
        _, (least, best, most) = parse_shape(text)
    except UsageError:
        return
    assert all(a <= b <= c for a, b, c in zip(least, best, most, strict=True))


def test_a_fixed_input_has_no_range():
    assert ranges_for([FIXED], InputSpec(size=(64, 96)), {}, 1) == {}


def test_a_batch_that_no_input_takes_is_refused():
    with pytest.raises(UsageError, match="--batch 8 fits no input"):
        ranges_for([FIXED], InputSpec(size=(64, 96)), {}, 8)
    shapes = parse_shape("images=1x3x64x96..2x3x64x96")[1]
    with pytest.raises(UsageError, match="--batch 8"):  # --shape would win, silently
        ranges_for([BATCH], InputSpec(), {"images": shapes}, 8)
    assert ranges_for([BATCH], InputSpec(), {"images": shapes}, 1) == {"images": shapes}


def test_an_input_that_is_named_twice_is_refused():
    with pytest.raises(UsageError, match="'x' twice"):
        parse_shapes(["x=1", "y=1", "x=2"])
    assert parse_shapes(["x=1", "y=2"]) == {"x": ((1,),) * 3, "y": ((2,),) * 3}


def test_an_open_batch_goes_from_one_to_the_most_and_is_best_at_one():
    ranges = ranges_for([BATCH], InputSpec(size=(64, 96)), {}, 8)
    assert ranges == {"images": ((1, 3, 64, 96), (1, 3, 64, 96), (8, 3, 64, 96))}


def test_an_open_picture_goes_from_one_step_to_the_spec_s_largest():
    ranges = ranges_for([ANY], InputSpec(multiple_of=32, max_size=(480, 640)), {}, 1)
    assert ranges["images"] == ((1, 3, 32, 32), (1, 3, 480, 640), (1, 3, 480, 640))


def test_height_and_width_lie_elsewhere_in_nhwc():
    tensor = TensorSpec("x", "uint8", (1, "h", "w", 3))
    ranges = ranges_for([tensor], InputSpec(layout="nhwc", max_size=(64, 96)), {}, 1)
    assert ranges["x"][2] == (1, 64, 96, 3)


def test_without_a_largest_size_the_way_out_is_named():
    with pytest.raises(UsageError, match="open dims") as raised:
        ranges_for([ANY], InputSpec(), {}, 1)
    assert "--shape images=" in raised.value.hint


def test_what_was_given_counts():
    given_range = parse_shape("images=1x3x32x32..1x3x64x64..1x3x96x96")[1]
    assert ranges_for([ANY], InputSpec(), {"images": given_range}, 1) == {"images": given_range}


@pytest.mark.parametrize("text", ["images=1x3x64", "images=1x4x64x64", "other=1"])
def test_what_was_given_must_fit_an_input(text: str):
    name, shapes = parse_shape(text)
    with pytest.raises(UsageError):
        ranges_for([ANY], InputSpec(), {name: shapes}, 1)


def test_the_text_of_a_profile_has_every_input_by_name():
    ranges = ranges_for([BATCH], InputSpec(size=(64, 96)), {}, 4)
    scale = TensorSpec("a", "float32", ())
    assert profile_text([BATCH, scale], ranges) == "a=,images=1x3x64x96..1x3x64x96..4x3x64x96"
    assert profile_text([FIXED], {}) == "images=1x3x64x96"
