from __future__ import annotations

import inspect

import pytest

from edgevision import errors
from edgevision.errors import EdgevisionError, GateError, UsageError


def test_an_error_has_three_parts():
    error = EdgevisionError("it broke", received="a", expected="b", hint="c")
    assert str(error).splitlines() == [
        "it broke",
        "  received: a",
        "  expected: b",
        "  try:      c",
    ]
    assert (error.problem, error.received, error.expected, error.hint) == (
        "it broke",
        "a",
        "b",
        "c",
    )


def test_parts_that_are_left_out_take_no_line():
    assert str(EdgevisionError("it broke")) == "it broke"
    assert str(EdgevisionError("it broke", hint="c")).splitlines()[1:] == ["  try:      c"]


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_in_one_tree_and_drawn_in_it(name):
    error = getattr(errors, name)
    assert issubclass(error, EdgevisionError)
    assert name in inspect.getdoc(errors)
    expected = {UsageError: 2, GateError: 3}.get(error, 1)
    assert error("x").exit_code == expected
