"""Where a tensor's values lie between its extremes, over many frames, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.execute import open_session
from edgevision.converters.graph.index import known_shapes
from edgevision.converters.int8.ranges import Feeds, TensorRange
from edgevision.errors import ModelError
from edgevision.progress import Tell, silent

__all__ = ["Histogram", "histograms"]

_BINS = 2048
#: So many values of a tensor are looked at in each frame, spread over all of it; other ones in the next.
_VALUES = 1 << 14
#: Ends that are tried for each side of an interval, as parts of what was seen.
_SHRINKS = np.geomspace(1.0, 0.02, 40)
_OFFSET = "edgevision/offset"


@dataclass(frozen=True)
class Histogram:
    """How often values fell into each of 2048 equal bins from ``low`` to ``high``.

    Attributes:
        low: The smallest value there was.
        high: The largest one.
        counts: int64 ``(2048,)``.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    def percentile(self, percent: float) -> tuple[float, float]:
        """The interval that leaves half of what is above ``percent`` out on either side."""
        total = int(self.counts.sum())
        if not total:
            return self.low, self.high
        cut = total * (1 - percent / 100) / 2
        below = np.cumsum(self.counts)
        first = int(np.searchsorted(below, cut, side="right"))
        last = int(np.searchsorted(below, total - cut, side="left"))
        width = (self.high - self.low) / _BINS
        return self.low + first * width, self.low + min(last + 1, _BINS) * width

    def least_error(self, *, symmetric: bool) -> tuple[float, float]:
        """The interval whose 8-bit steps err least in the mean of squares: rounding inside, clipping outside.

        Args:
            symmetric: The steps lie around zero, as int8 with zero point 0 has them.
        """
        seen = np.flatnonzero(self.counts)
        centres = self.low + (seen + 0.5) * (self.high - self.low) / _BINS
        weights = self.counts[seen] / max(1, int(self.counts.sum()))
        least, most = min(self.low, 0.0), max(self.high, 0.0)
        if symmetric:
            largest = max(-least, most) * _SHRINKS
            ends = np.stack((-largest, largest), 1)
            steps = 254
        else:
            lows = least * _SHRINKS if least < 0 else np.zeros(1)
            highs = most * _SHRINKS if most > 0 else np.zeros(1)
            ends = np.stack(np.meshgrid(lows, highs, indexing="ij"), -1).reshape(-1, 2)
            steps = 255
        errors = [_error(centres, weights, low, high, steps) for low, high in ends.tolist()]
        best = ends[int(np.argmin(errors))]
        return float(best[0]), float(best[1])


def _error(
    centres: NDArray[np.float64], weights: NDArray[np.float64], low: float, high: float, steps: int
) -> float:
    """Mean squared error of values in ``steps`` equal steps from ``low`` to ``high``; all alike in a step."""
    step = (high - low) / steps
    if step <= 0:
        return math.inf
    beyond = centres - np.clip(centres, low, high)
    return float(weights @ np.where(beyond == 0, step * step / 12, beyond * beyond))


def histograms(
    model: onnx.ModelProto,
    ranges: Mapping[str, TensorRange],
    feeds: Feeds,
    *,
    frames: int | None = None,
    progress: Tell = silent,
) -> dict[str, Histogram]:
    """Run every feed once more and count the values of the tensors whose extremes are known.

    The graph that runs picks the values itself, so no more than 64 KiB a tensor leave the session.

    Args:
        model: The model that the ranges were measured on; not changed.
        ranges: Tensor name → what `ranges.collect` found; those that were never finite are left out.
        feeds: Called once; yields the same frames.
        frames: How many there are, for ``progress``.
        progress: Told the stage and the frames done.

    Raises:
        ModelError: The model does not run on a feed.
    """
    names = [name for name, found in ranges.items() if found.frames]
    session = open_session(_sampling(model, names))
    counts = {name: np.zeros(_BINS, np.int64) for name in names}
    for done, feed in enumerate(feeds(), 1):
        offset = {_OFFSET: np.array([done - 1], np.int64)}
        try:
            values = session.run(None, {**feed, **offset})
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError(
                "the model does not run on a frame", received=plain_message(exc)
            ) from exc
        for name, sample in zip(names, values, strict=True):
            _count(counts[name], sample, ranges[name])
        progress("histograms", done, frames)
    return {name: Histogram(ranges[name].low, ranges[name].high, counts[name]) for name in names}


def _count(counts: NDArray[np.int64], sample: NDArray[np.float32], seen: TensorRange) -> None:
    if not np.isfinite(sample).all():
        return  # the extremes do not know this frame either
    span = seen.high - seen.low
    if span <= 0 or not math.isfinite(span):
        counts[0] += sample.size
        return
    # float64: the largest value must not be rounded into a bin that does not exist.
    bins = ((sample.astype(np.float64) - seen.low) * (_BINS / span)).astype(np.int64)
    counts += np.bincount(np.clip(bins, 0, _BINS - 1), minlength=_BINS)


def _sampling(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """``model`` with every k-th value of each tensor as its only outputs, from the fed offset on."""
    sampled = onnx.ModelProto()
    sampled.CopyFrom(model)
    graph = sampled.graph
    sizes = known_shapes(model)
    del graph.output[:]
    graph.input.append(helper.make_tensor_value_info(_OFFSET, TensorProto.INT64, [1]))
    for name, value in (("all", [-1]), ("end", [np.iinfo(np.int64).max]), ("axis", [0])):
        graph.initializer.append(_constant(f"{_OFFSET}/{name}", value))
    for tensor in tensors:
        flat, start, step, picked = (f"{tensor}/{part}" for part in ("flat", "at", "by", "picked"))
        graph.initializer.append(_constant(step, [_stride(sizes.get(tensor, []))]))
        graph.node.extend([
            helper.make_node("Reshape", [tensor, f"{_OFFSET}/all"], [flat]),
            helper.make_node("Mod", [_OFFSET, step], [start]),
            helper.make_node("Slice", [flat, start, f"{_OFFSET}/end", f"{_OFFSET}/axis", step], [picked]),
        ])  # fmt: skip
        graph.output.append(helper.make_tensor_value_info(picked, TensorProto.FLOAT, [None]))
    return sampled


def _stride(shape: Sequence[int]) -> int:
    """At most `_VALUES` are picked; sharing no factor with a dim, they come from all rows and channels."""
    stride = max(1, math.ceil(math.prod(shape) / _VALUES))
    while any(math.gcd(stride, dim) > 1 for dim in shape):
        stride += 1
    return stride


def _constant(name: str, value: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.int64), name)
