"""Reads the NanoDet layout: for each stride, class scores and distributions of box sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._nms import Suppression
from edgevision.decoders._params import (
    check_class_count,
    choice,
    class_mask,
    flag,
    fraction,
    is_float,
    refuse_unknown,
    whole,
    wrong_layout,
)
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["NanoDet", "plugin"]

_NAME = "nanodet"
_PARAMS = (
    "score",
    "iou",
    "classes",
    "max_detections",
    "class_agnostic",
    "reg_max",
    "strides",
    "activation",
    "cell_offset",
)


class NanoDet:
    """For each stride, scores ``(rows, cells, C)`` and sides ``(rows, cells, 4 · (reg_max + 1))``.

    A side's distance from the centre of its cell is the mean of a softmax over ``reg_max + 1``
    bins, times the
    stride: left, top, right, bottom (Generalized Focal Loss, Li et al. 2020, arXiv:2006.04388). The
        tensors
    may come in any order: they are told apart by their shapes, and strides follow from the number
    of cells.

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection.
        iou: Overlap above which the lower-scored box of a class goes.
        classes: Ids or names to keep; None keeps all.
        max_detections: How many at most.
        class_agnostic: Boxes of different classes suppress each other too.
        reg_max: Bins − 1: 10 in NanoDet-g, 7 in the others.
        strides: Pixels a cell, by level.
        activation: ``none`` where the scores are in 0…1 already, ``sigmoid`` where they are logits.
        cell_offset: Where in its cell a box is anchored: 0.5, the centre, in NanoDet; 0, the
            corner, in NanoDet-Plus (``get_single_level_center_point`` and ``…_center_priors`` in
            RangiLyu/nanodet).

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.35,
        iou: float = 0.5,
        classes: object = None,
        max_detections: int = 300,
        class_agnostic: bool = False,
        reg_max: int = 10,
        strides: Sequence[int] = (8, 16, 32),
        activation: str = "none",
        cell_offset: float = 0.5,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, _PARAMS)
        self.labels = tuple(labels)
        self._suppress = Suppression(
            fraction("iou", iou),
            whole("max_detections", max_detections, 1, 100_000),
            flag("class_agnostic", class_agnostic),
        )
        self._wanted = class_mask(classes, self.labels)
        self._bins = whole("reg_max", reg_max, 1, 64) + 1
        self._strides = _strides(strides)
        self._sigmoid = choice("activation", activation, ("none", "sigmoid")) == "sigmoid"
        self.score = fraction("score", score)
        self._offset = fraction("cell_offset", cell_offset)
        self._seen: object = None
        self._levels: list[_Level] = []
        self._joined = _Buffer()

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        seen = (transform.tensor_hw, *((n, a.shape, a.dtype) for n, a in outputs.items()))
        if seen != self._seen:
            self._levels = self._match(outputs, transform.tensor_hw)
            self._seen = seen
        parts = [p for level in self._levels if (p := self._candidates(level, outputs, row))]
        if not parts:
            return Detections.empty(self.labels)
        count = sum(len(part[1]) for part in parts)
        planes = self._joined.of((4, count), np.dtype(np.float64))
        np.concatenate([part[0] for part in parts], axis=1, out=planes)
        scores, ids = (np.concatenate([part[i] for part in parts]) for i in (1, 2))
        return self._suppress(planes.T, scores, ids, transform, self.labels)

    def _candidates(
        self, level: _Level, outputs: Mapping[str, NDArray[Any]], row: int
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
        scores = outputs[level.scores][row]
        best = scores.max(axis=1, out=level.best)
        least = _logit(self.score) if self._sigmoid else self.score
        chosen = np.flatnonzero(np.greater_equal(best, least, out=level.mask))
        if len(chosen) == 0:
            return None
        ids = _take(scores, chosen, level.rows).argmax(axis=1)
        if self._wanted is not None:
            keep = np.isin(ids, self._wanted)
            chosen, ids = chosen[keep], ids[keep]
        distances = level.distances(outputs[level.sides][row], chosen, self._bins)
        values = best[chosen].astype(np.float32, copy=False)
        return (
            level.boxes(chosen, distances),
            1 / (1 + np.exp(-values)) if self._sigmoid else values,
            ids,
        )

    def _match(
        self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]
    ) -> list[_Level]:
        """Finds each stride's two tensors by their shapes."""
        levels = []
        for stride in self._strides:
            # A convolution with stride and padding rounds up.
            rows, columns = (-(-side // stride) for side in tensor_hw)
            fitting = {
                n: a
                for n, a in outputs.items()
                if a.ndim == 3 and a.shape[1] == rows * columns and is_float(a)
            }
            sides = [n for n, a in fitting.items() if a.shape[2] == 4 * self._bins]
            scores = [n for n in fitting if n not in sides]
            if len(sides) != 1 or len(scores) != 1:
                raise wrong_layout(_NAME, outputs, self._layout(stride, rows, columns))
            shape = outputs[scores[0]].shape
            check_class_count(_NAME, self.labels, shape[2], shape)
            tensor = outputs[scores[0]]
            cells = rows, columns
            levels.append(_Level(scores[0], sides[0], stride, cells, self._offset, tensor))
        return levels

    def _layout(self, stride: int, rows: int, columns: int) -> str:
        return (
            f"for stride {stride}, {rows}×{columns} cells and reg_max {self._bins - 1}: two "
            f"floating point tensors, (rows, {rows * columns}, classes) and "
            f"(rows, {rows * columns}, {4 * self._bins})"
        )


plugin = NanoDet


class _Level:
    """One stride's tensors by name, and its buffers: the gathered rows of a frame may be 100 KB."""

    def __init__(
        self,
        scores: str,
        sides: str,
        stride: int,
        cells: tuple[int, int],
        offset: float,
        tensor: NDArray[Any],
    ) -> None:
        self.scores, self.sides, self.stride = scores, sides, stride
        self.best = np.empty(tensor.shape[1], tensor.dtype)
        self.mask = np.empty(tensor.shape[1], np.bool_)
        self.rows, self.bins, self.weights = _Buffer(), _Buffer(), _Buffer()
        self._planes, self._anchors = _Buffer(), _Buffer()
        # Each cell's anchor x, y in strides, as planes: (2, cells).
        self._centres = np.indices(cells)[::-1].reshape(2, -1) + offset

    def distances(
        self, sides: NDArray[Any], chosen: NDArray[np.intp], bins: int
    ) -> NDArray[np.float32]:
        """Mean bin of each side's softmax, ``(N, 4)``, from logits ``(cells, 4 · bins)``."""
        logits = _take(sides, chosen, self.bins).reshape(-1, bins)
        weights = self.weights.of(logits.shape, np.dtype(np.float32))
        # A subtraction that broadcasts would do this same copy in a buffer that numpy allocates.
        np.copyto(weights, logits.max(axis=1, keepdims=True))
        with np.errstate(invalid="ignore"):  # boxes that are not finite are dropped later
            np.subtract(logits, weights, out=weights)
        np.exp(weights, out=weights)
        mean: NDArray[np.float32] = weights @ np.arange(bins, dtype=np.float32)
        mean /= weights.sum(axis=1)
        return mean.reshape(-1, 4)

    def boxes(self, cells: NDArray[np.intp], distances: NDArray[np.float32]) -> NDArray[np.float64]:
        """Distances ``(N, 4)`` ltrb in strides from the cells' anchors → planes xyxy ``(4, N)``.

        Valid until the next call.
        """
        double = np.dtype(np.float64)
        planes = self._planes.of((4, len(cells)), double)
        np.copyto(planes, distances.T)
        planes[:2] *= -1
        anchors = self._anchors.of((2, len(cells)), double)
        self._centres.take(cells, axis=1, out=anchors, mode="clip")
        planes[:2] += anchors
        planes[2:] += anchors
        planes *= self.stride
        return planes


class _Buffer:
    """Numbers in a buffer that only grows."""

    def __init__(self) -> None:
        self._numbers = np.empty(0, np.float32)

    def of(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A part of the buffer, uninitialized; valid until the next call."""
        count = math.prod(shape)
        if len(self._numbers) < count or self._numbers.dtype != dtype:
            self._numbers = np.empty(count, dtype)
        return self._numbers[:count].reshape(shape)


def _take(values: NDArray[Any], chosen: NDArray[np.intp], buffer: _Buffer) -> NDArray[Any]:
    """Rows of ``values`` in a buffer."""
    out = buffer.of((len(chosen), values.shape[1]), values.dtype)
    # Without a mode, `take` with `out` would allocate a second buffer; the indices are known to be
    # fine.
    return values.take(chosen, axis=0, out=out, mode="clip")


def _logit(p: float) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log(p) - np.log1p(-p))


def _strides(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value or len(set(value)) != len(value):
        raise SpecError(
            "the decoder's parameter 'strides' is not usable",
            received=repr(value)[:200],
            expected="a list of different whole numbers, such as [8, 16, 32]",
        )
    return tuple(whole("strides", stride, 1, 1024) for stride in value)
