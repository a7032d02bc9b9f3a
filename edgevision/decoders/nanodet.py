"""Reads the NanoDet layout: for each stride, class scores and distributions of box sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._best import BestClass
from edgevision.decoders._buffers import Buffer
from edgevision.decoders._nms import Suppression
from edgevision.decoders._params import (
    check_class_count,
    choice,
    fraction,
    keywords,
    refuse_unknown,
    selection,
    stride_list,
    whole,
    wrong_layout,
)
from edgevision.decoders._tensors import grid, logit, row_of, row_shapes, seen, sigmoid
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["NanoDet", "match_levels", "plugin"]

_NAME = "nanodet"


class NanoDet:
    """For each stride, scores ``(rows, cells, C)`` and sides ``(rows, cells, 4 · (reg_max + 1))``.

    A side's distance from the centre of its cell is the mean of a softmax over ``reg_max + 1``
    bins, times the stride: left, top, right, bottom (Generalized Focal Loss, Li et al. 2020,
    arXiv:2006.04388). The tensors may come in any order: they are told apart by their shapes, and
    strides follow from the number of cells.

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
        refuse_unknown(_NAME, unknown, keywords(NanoDet))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._suppress = Suppression(iou, max_detections, class_agnostic)
        self._bins = whole("reg_max", reg_max, 1, 64) + 1
        self._strides = stride_list(strides)
        self._sigmoid = choice("activation", activation, ("none", "sigmoid")) == "sigmoid"
        self._offset = fraction("cell_offset", cell_offset)
        self._seen: object = None
        self._levels: list[_Level] = []
        self._joined = Buffer(np.float64)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._levels = self._match(outputs, transform.tensor_hw)
            self._seen = now
        parts = [p for level in self._levels if (p := self._candidates(level, outputs, row))]
        if not parts:
            return Detections.empty(self.labels)
        planes, scores, ids = zip(*parts, strict=True)
        joined = self._joined.of(4, sum(map(len, ids)))
        np.concatenate(planes, axis=1, out=joined)
        return self._suppress(
            joined.T, np.concatenate(scores), np.concatenate(ids), transform, self.labels
        )

    def _candidates(
        self, level: _Level, outputs: Mapping[str, NDArray[Any]], row: int
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]] | None:
        """Boxes ``(4, N)``, scores and class ids of a level; None for none."""
        least = logit(self.score) if self._sigmoid else self.score
        best = level.best.find(row_of(outputs[level.scores], row, 2), least)
        if len(best.anchors) == 0:
            return None
        planes = level.boxes(row_of(outputs[level.sides], row, 2), best.anchors)
        scores = best.scores.astype(np.float32, copy=False)
        return planes, sigmoid(scores) if self._sigmoid else scores, best.ids

    def _match(
        self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]
    ) -> list[_Level]:
        """Each stride's two tensors, and buffers for them."""
        levels = []
        pairs = match_levels(outputs, tensor_hw, self._strides, self._bins)
        for stride, (scores, sides) in zip(self._strides, pairs, strict=True):
            count, classes = outputs[scores].shape[-2:]
            check_class_count(_NAME, self.labels, classes, outputs[scores].shape)
            best = BestClass(
                classes, count, first=False, dtype=outputs[scores].dtype, wanted=self._wanted
            )
            # Each cell's anchor x, y in strides, as planes: (2, cells).
            cells = grid(tensor_hw, stride)
            centres = np.indices(cells, np.float64)[::-1].reshape(2, -1) + self._offset
            sides_dtype = outputs[sides].dtype
            levels.append(_Level(scores, sides, best, stride, centres, self._bins, sides_dtype))
        return levels


plugin = NanoDet


def match_levels(
    outputs: Mapping[str, NDArray[Any]],
    tensor_hw: tuple[int, int],
    strides: Sequence[int],
    bins: int,
) -> list[tuple[str, str]]:
    """Names of each stride's scores and sides, found by their shapes.

    Raises:
        SpecError: They are not there, or there are several that would fit.
    """
    pairs, shapes = [], row_shapes(outputs, 2)
    for stride in strides:
        rows, columns = grid(tensor_hw, stride)
        fitting = [n for n, s in shapes.items() if s[0] == rows * columns]
        sides = [n for n in fitting if shapes[n][1] == 4 * bins]
        scores = [n for n in fitting if n not in sides]
        if len(sides) != 1 or len(scores) != 1:
            raise wrong_layout(_NAME, outputs, _layout(stride, rows, columns, bins))
        pairs.append((scores[0], sides[0]))
    return pairs


def _layout(stride: int, rows: int, columns: int, bins: int) -> str:
    return (
        f"for stride {stride}, {rows}×{columns} cells and reg_max {bins - 1}: two "
        f"floating point tensors, (rows, {rows * columns}, classes) and "
        f"(rows, {rows * columns}, {4 * bins})"
    )


class _Level:
    """One stride's tensors by name, and its buffers: the gathered rows of a frame may be 100 KB."""

    def __init__(
        self,
        scores: str,
        sides: str,
        best: BestClass,
        stride: int,
        centres: NDArray[np.float64],
        bins: int,
        dtype: np.dtype[Any],
    ) -> None:
        self.scores, self.sides, self.best = scores, sides, best
        self._stride, self._centres = stride, centres
        self._bins = np.arange(bins, dtype=np.float32)
        self._rows, self._weights = Buffer(dtype), Buffer(np.float32)
        self._planes, self._anchors = Buffer(np.float64), Buffer(np.float64)

    def boxes(self, sides: NDArray[Any], cells: NDArray[np.intp]) -> NDArray[np.float64]:
        """Sides ``(cells, 4 · bins)`` of the chosen cells → planes xyxy ``(4, N)`` in tensor pixels.

        Valid until the next call.
        """
        planes = self._planes.of(4, len(cells))
        np.copyto(planes, self._distances(self._rows.take(sides, cells)).T)
        planes[:2] *= -1
        anchors = self._anchors.take(self._centres, cells, axis=1)
        planes[:2] += anchors
        planes[2:] += anchors
        planes *= self._stride
        return planes

    def _distances(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """Mean bin of each side's softmax, ``(N, 4)``, from logits ``(N, 4 · bins)``."""
        logits = rows.reshape(-1, len(self._bins))
        weights = self._weights.of(*logits.shape)
        # A subtraction that broadcasts would do this same copy in a buffer that numpy allocates.
        np.copyto(weights, logits.max(axis=1, keepdims=True))
        with np.errstate(invalid="ignore"):  # boxes that are not finite are dropped later
            np.subtract(logits, weights, out=weights)
        np.exp(weights, out=weights)
        mean: NDArray[np.float32] = weights @ self._bins
        mean /= weights.sum(axis=1)
        return mean.reshape(-1, 4)
