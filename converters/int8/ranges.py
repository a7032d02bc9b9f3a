"""Ranges of activations over many frames, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.execute import Feed, open_session
from edgevision.errors import DataError, ModelError
from edgevision.progress import Tell, silent

__all__ = ["Feeds", "TensorRange", "collect"]

Feeds = Callable[[], Iterator[Feed]]


@dataclass(frozen=True)
class TensorRange:
    """What one tensor's values were, over all frames; same unit as the tensor.

    Attributes:
        low: The smallest value seen.
        high: The largest value seen.
        mean_low: Mean over frames of each frame's smallest value.
        mean_high: Mean over frames of each frame's largest value.
        frames: Frames in which every value was finite; only these count above.
        non_finite: Frames with an infinity or a NaN in this tensor.
    """

    low: float
    high: float
    mean_low: float
    mean_high: float
    frames: int
    non_finite: int

    @property
    def silent(self) -> bool:
        """Whether nothing but 0 was seen, which tells no scale."""
        return self.frames > 0 and self.low == self.high == 0.0

    @property
    def warning(self) -> str:
        """What is wrong with this tensor as one clause, or nothing."""
        if not self.frames:
            return "was never finite"
        if self.non_finite:
            return f"held infinities or NaN in {self.non_finite} frames, which were left out"
        if self.low == self.high:
            return f"was {self.low:g} everywhere in every frame"
        return ""


class _Running:
    """Running extremes of one tensor."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.sum_low = self.sum_high = 0.0
        self.frames = self.non_finite = 0

    def add(self, low: float, high: float, mean: float) -> None:
        # Minimum and maximum may skip NaN; the mean never does.
        if not np.isfinite([low, high, mean]).all():
            self.non_finite += 1
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.sum_low += low
        self.sum_high += high
        self.frames += 1

    def result(self) -> TensorRange:
        if not self.frames:
            return TensorRange(0.0, 0.0, 0.0, 0.0, 0, self.non_finite)
        n = self.frames
        return TensorRange(
            self.low, self.high, self.sum_low / n, self.sum_high / n, n, self.non_finite
        )


def collect(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Feeds,
    *,
    progress: Tell = silent,
) -> dict[str, TensorRange]:
    """Run every feed once and keep the extremes of ``tensors``.

    The reductions are nodes of the graph that runs, so three scalars a tensor leave the session
    and the tensors themselves are freed as soon as their last reader is done.

    Args:
        model: A model that onnxruntime can run; not changed.
        tensors: Names of float tensors: inputs, or outputs of nodes.
        feeds: Called once; yields the input arrays of one frame at a time.
        progress: Told the stage, the frames done, and None for their unknown total.

    Returns:
        One range per name, in the order given.

    Raises:
        DataError: There was no feed at all.
        ModelError: The model does not run on a feed.
    """
    if not tensors:
        return {}
    session = open_session(_with_reductions(model, tensors))
    names = [f"{t}/{kind}" for t in tensors for kind in _REDUCTIONS]
    running = [_Running() for _ in tensors]
    done = 0
    for feed in feeds():
        try:
            values = [float(v) for v in session.run(names, dict(feed))]
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError(
                f"the model does not run on calibration frame {done}", received=plain_message(exc)
            ) from exc
        for position, item in enumerate(running):
            item.add(*values[3 * position : 3 * position + 3])
        done += 1
        progress("ranges", done, None)
    if not done:
        raise DataError(
            "there is nothing to calibrate on",
            received="0 frames",
            expected="at least one frame, better 100 to 200",
        )
    return {t: r.result() for t, r in zip(tensors, running, strict=True)}


_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceMean")


def _with_reductions(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """``model`` with the extremes and the mean of each tensor as its only outputs."""
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    del augmented.graph.output[:]
    for tensor in tensors:
        for kind in _REDUCTIONS:
            name = f"{tensor}/{kind}"
            # Without axes all dims are reduced, in every opset.
            augmented.graph.node.append(helper.make_node(kind, [tensor], [name], keepdims=0))
            augmented.graph.output.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [])
            )
    return augmented
