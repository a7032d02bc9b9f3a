"""Reads the CenterNet layout: heat maps of object centres for each class, with sizes and offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._final import finish
from edgevision.decoders._params import (
    check_class_count,
    choice,
    keywords,
    limit,
    refuse_unknown,
    selection,
    whole,
    wrong_layout,
)
from edgevision.decoders._tensors import grid, logit, names, row_of, row_shapes, seen, sigmoid
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["CenterNet", "plugin"]

_NAME = "centernet"
_TENSORS = ("heat map", "size", "offset")
_NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


class CenterNet:
    """``(rows, C, h, w)`` heat maps, sizes ``(rows, 2, h, w)`` and offsets ``(rows, 2, h, w)``.

    A cell that no neighbour of its 3×3 exceeds is an object: its centre is the cell plus the
    offset, both and the size are in cells of ``stride`` pixels, x before y. Nothing is suppressed
    (Zhou et al. 2019, arXiv:1904.07850; ``ctdet_decode`` in xingyizhou/CenterNet).

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection (0.3 is the default of the published demo).
        classes: Ids or names to keep; None keeps all.
        max_detections: How many at most (100 there).
        activation: ``sigmoid`` where the heat maps are logits, ``none`` where they are in 0…1.
        stride: Pixels of the tensor a cell.
        outputs: Names of heat map, size and offset. By default they are told apart by their
            channels; of two with 2 the size comes first, as in the published models, and with two
            classes the heat map before both.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.3,
        classes: object = None,
        max_detections: int = 100,
        activation: str = "sigmoid",
        stride: int = 4,
        outputs: Sequence[str] | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(CenterNet))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._most = limit(max_detections)
        self._sigmoid = choice("activation", activation, ("sigmoid", "none")) == "sigmoid"
        self._stride = whole("stride", stride, 1, 64)
        self._named = names(_TENSORS, outputs)
        self._seen: object = None
        self._order: tuple[str, ...] = ()
        self._mask = np.empty((0, 0, 0), np.bool_)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._learn(outputs, transform.tensor_hw)
            self._seen = now
        heat, size, offset = (row_of(outputs[name], row, 3) for name in self._order)
        least = logit(self.score) if self._sigmoid else self.score
        hot = np.greater_equal(heat, least, out=self._mask).reshape(-1).nonzero()[0]
        ids, y, x = _peaks(heat, *np.unravel_index(hot, heat.shape))
        if self._wanted is not None:
            keep = np.isin(ids, self._wanted)
            ids, y, x = ids[keep], y[keep], x[keep]
        scores = heat[ids, y, x].astype(np.float32)
        with np.errstate(invalid="ignore"):  # what is not finite is dropped later
            centre = np.stack([x, y]) + offset[:, y, x].astype(np.float64)
            half = size[:, y, x].astype(np.float64) / 2
            boxes = np.concatenate([centre - half, centre + half]) * self._stride
        if self._sigmoid:
            # An infinite logit would become a certain object.
            scores = np.where(np.isfinite(scores), sigmoid(scores.copy()), np.float32(np.nan))
        return finish(boxes.T, scores, ids, self._most, transform, self.labels)

    def _learn(self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> None:
        """Finds the three tensors among those of the grid's size."""
        cells = grid(tensor_hw, self._stride)
        channels = {n: s[0] for n, s in row_shapes(outputs, 3).items() if s[1:] == cells}
        # A stable sort: what has other than 2 channels is the heat map, else the first one is.
        order = self._named or tuple(sorted(channels, key=lambda n: channels[n] == 2))
        found = tuple(channels.get(name) for name in order)
        if len(found) != 3 or found[0] is None or found[1:] != (2, 2):
            raise wrong_layout(
                _NAME,
                outputs,
                f"three floating point tensors (rows, classes | 2 | 2, {cells[0]}, {cells[1]})"
                + (f", called {', '.join(self._named)}" if self._named else ""),
            )
        check_class_count(_NAME, self.labels, found[0], outputs[order[0]].shape)
        self._order = order
        self._mask = np.empty((found[0], *cells), np.bool_)


plugin = CenterNet


def _peaks(
    heat: NDArray[Any], ids: NDArray[np.intp], y: NDArray[np.intp], x: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Those of the given cells that equal a 3×3 max-pool of their heat map.

    Only cells above the threshold are looked at: pooling 80 maps of 128×128 would take longer than
    all the rest. At the edge the window repeats cells of its own, which changes no maximum.
    """
    _, height, width = heat.shape
    for dy, dx in _NEIGHBOURS:
        values = heat[ids, y, x]
        beside = heat[ids, (y + dy).clip(0, height - 1), (x + dx).clip(0, width - 1)]
        keep = ~(beside > values)  # a neighbour that is NaN takes nothing away
        ids, y, x = ids[keep], y[keep], x[keep]
    return ids, y, x
