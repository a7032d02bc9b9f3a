from __future__ import annotations

import time

import numpy as np
import pytest

from edgevision.errors import BackendError


def test_it_says_that_it_is_fake(session, models):
    executed = session(models.detector, "fake").executed
    assert "fake" in str(executed)
    assert "computes nothing" in executed.compute


def test_the_same_input_gives_the_same_outputs_of_the_model_s_shapes(
    session, models, draw_square, run
):
    slot = session(models.detector, "fake").slot()
    first = {name: value.copy() for name, value in run(slot, draw_square()).items()}
    again = run(slot, draw_square())
    assert {name: value.shape for name, value in first.items()} == {"output0": (1, 7, 49)}
    np.testing.assert_array_equal(first["output0"], again["output0"])
    other = run(slot, draw_square(side=32))
    assert other["output0"].flat[0] > first["output0"].flat[0]


def test_outputs_are_what_the_test_hands_in(session, models, draw_square, run):
    def outputs(inputs, number):
        assert inputs["images"].shape == (1, 3, 64, 64)
        return {"output0": np.full((1, 7, 49), number, np.float32)}

    slot = session(models.detector, "fake", extra={"outputs": outputs}).slot()
    assert [run(slot, draw_square())["output0"].max() for _ in range(3)] == [0, 1, 2]


def test_it_is_as_slow_as_it_is_told(session, models, draw_square, run):
    slot = session(models.detector, "fake", extra={"delay_s": 0.05}).slot()
    started = time.monotonic()
    run(slot, draw_square())
    assert time.monotonic() - started >= 0.05


def test_it_fails_when_it_is_told_and_then_goes_on(session, models, draw_square, run):
    slot = session(models.detector, "fake", extra={"fail_at": 1}).slot()
    run(slot, draw_square())
    slot.load(draw_square())
    with pytest.raises(BackendError, match="run 1"):
        slot.submit()
    run(slot, draw_square())
