"""Reads the mask of one class: for each place the probability that it shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._params import (
    check_class_count,
    choice,
    fraction,
    keywords,
    refuse_unknown,
    tensor_name,
    wrong_layout,
)
from edgevision.decoders._tensors import logit, row_of, row_shapes, seen
from edgevision.geometry import Transform
from edgevision.results import NOTHING, Segmentation
from edgevision.runs import runs_of

__all__ = ["Mask", "plugin"]

_NAME = "mask"
_LAYOUT = "one floating point tensor (rows, h, w, 1), (rows, 1, h, w) or (1, h, w)"


class Mask:
    """``(rows, h, w, 1)`` or ``(rows, 1, h, w)`` → where the class is; h×w may be coarser than the input.

    What lies in the padding around the picture is left out, and so is what is no number.

    Args:
        labels: One name, or nothing.
        score: Least probability of a pixel that shows the class.
        activation: ``none`` where the model ends in a sigmoid of its own, ``sigmoid`` for logits.
        outputs: Name of the output; needed only where several would fit.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.5,
        activation: str = "none",
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(Mask))
        self.labels = tuple(labels)
        self.score = fraction("score", score)
        sigmoid = choice("activation", activation, ("none", "sigmoid")) == "sigmoid"
        self._least = logit(self.score) if sigmoid else self.score
        self._output = tensor_name("outputs", outputs)
        self._seen: object = None
        self._tensor = ""
        # The mask line after line in memory, as it is computed; column after column, as its runs are counted.
        self._lines = self._shown = np.empty((0, 0), np.bool_)
        self._scratch = np.empty(0, np.bool_)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Segmentation:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._learn(outputs, transform.tensor_hw)
            self._seen = now
        height, width = self._shown.shape
        values = row_of(outputs[self._tensor], row, 3).reshape(height, width)
        # Compared with a number of another type, they would be copied.
        np.greater_equal(values, values.dtype.type(self._least), out=self._lines)
        np.copyto(self._shown, self._lines)
        way = _way_from_mask(transform, height, width)
        _clear_padding(self._shown, way)
        starts, shown = runs_of(self._shown.view(np.uint8), self._scratch)
        class_ids = np.where(shown, np.uint8(0), np.uint8(NOTHING))
        return Segmentation(starts, class_ids, way, self.labels)

    def _learn(self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> None:
        """Finds the tensor, and makes the buffers for its size."""
        sizes = {
            n: s[1:] if s[0] == 1 else s[:2]
            for n, s in row_shapes(outputs, 3).items()
            if 1 in (s[0], s[2])
        }
        # A mask has the input's proportions, which tells it from other tensors with a side of 1.
        fitting = [n for n, (h, w) in sizes.items() if h * tensor_hw[1] == w * tensor_hw[0]]
        if self._output is not None:
            fitting = [n for n in fitting if n == self._output]
        if len(fitting) != 1:
            called = f", called {self._output!r}" if self._output else ""
            raise wrong_layout(
                _NAME, outputs, f"{_LAYOUT}{called}, in the proportions of the input"
            )
        self._tensor = fitting[0]
        check_class_count(_NAME, self.labels, 1, outputs[self._tensor].shape)
        height, width = sizes[self._tensor]
        self._lines = np.empty((height, width), np.bool_)
        self._shown = np.empty((width, height), np.bool_).T
        self._scratch = np.empty(height * width - 1, np.bool_)


plugin = Mask


def _way_from_mask(transform: Transform, height: int, width: int) -> Transform:
    """From the pixels of a mask, which may be coarser than the tensor, to those of the source."""
    matrix = transform.to_source.copy()
    matrix[:, 0] *= transform.tensor_hw[1] / width
    matrix[:, 1] *= transform.tensor_hw[0] / height
    return Transform(matrix, transform.width, transform.height, (height, width))


def _clear_padding(shown: NDArray[np.bool_], way: Transform) -> None:
    """Leaves out pixels whose centre lies outside the source; of turned regions none is left out."""
    (a, b, x), (c, d, y) = way.to_source.tolist()
    if b != 0 or c != 0 or a <= 0 or d <= 0:
        return
    for lines, gain, offset, side in ((shown.T, a, x, way.width), (shown, d, y, way.height)):
        first = math.ceil(-offset / gain - 0.5)
        last = math.floor((side - offset) / gain - 0.5)
        lines[: max(0, first)] = False
        lines[max(0, last + 1) :] = False
