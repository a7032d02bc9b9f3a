"""Streaming ranges against numpy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import parser

from edgevision.converters.int8.ranges import collect

MODEL: onnx.ModelProto = parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 17]>
    g (float[1,3] x) => (float[1,3] y) { two = Constant<value_float = 2.0>()
        m = Mul(x, two)
        y = Relu(m) }"""
)
FRAMES = [[[-1.0, 0.5, 2.0]], [[0.0, 0.25, 1.0]], [[-3.0, -2.0, -1.0]]]


def feeds(frames: list[list[list[float]]]) -> Iterator[dict[str, np.ndarray]]:
    for frame in frames:
        yield {"x": np.array(frame, np.float32)}


def test_extremes_and_means_of_frames_are_those_of_numpy() -> None:
    found = collect(MODEL, ["x", "m", "y"], lambda: feeds(FRAMES))
    m = found["m"]
    assert (m.low, m.high, m.frames) == (-6.0, 4.0, 3)
    assert m.mean_low == pytest.approx(np.mean([-2, 0, -6]))
    assert m.mean_high == pytest.approx(np.mean([4, 2, -2]))
    assert (found["x"].low, found["x"].high) == (-3.0, 2.0)
    assert (found["y"].mean_low, found["y"].mean_high) == pytest.approx((0.0, 2.0))
    assert found["y"].warning == ""


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_frame_that_is_not_finite_is_left_out_and_reported(bad: float) -> None:
    found = collect(MODEL, ["x"], lambda: feeds([*FRAMES, [[bad, 0.0, 50.0]]]))["x"]
    assert (found.low, found.high, found.frames, found.non_finite) == (-3.0, 2.0, 3, 1)
    assert "1 frames" in found.warning


def test_tensor_that_is_never_finite_or_constant_says_so() -> None:
    never = collect(MODEL, ["x"], lambda: feeds([[[float("nan")] * 3]]))["x"]
    assert never.warning == "was never finite"
    zero = collect(MODEL, ["x"], lambda: feeds([[[0.0] * 3]]))["x"]
    assert zero.warning == "was 0 everywhere in every frame"
    assert zero.silent
    assert not never.silent
