"""Reads the CenterFace layout: a heat map of face centres with sizes, offsets and five landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._faces import FaceSuppression
from edgevision.decoders._params import (
    check_class_count,
    keywords,
    refuse_unknown,
    selection,
    wrong_layout,
)
from edgevision.decoders._tensors import grid, names, row_of, row_shapes, seen
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["CenterFace", "plugin"]

_NAME = "centerface"
_TENSORS = ("heat map", "size", "offset", "landmarks")
_STRIDE = 4
_POINTS = 5


class CenterFace:
    """``(rows, 1, h, w)`` heat map, sizes and offsets with 2 channels, landmarks with 10; stride 4.

    Of cell (x, y): size = exp(s) · 4 with height before width; centre = (cell + 0.5 + offset) · 4
    with y before x; landmark = corner + value · size, y before x: both eyes, nose, both corners of
    the mouth, from the picture's left to its right (Xu et al. 2019, arXiv:1911.03599; ``decode`` in
    Star-Clouds/CenterFace). The published code cuts a box's corner at the frame before it adds the
    size, which shifts faces at the left and upper edge; here they are cut afterwards.

    Args:
        labels: One name, or nothing.
        score: Lowest score of a face (0.5 is the default of the published demo).
        iou: Overlap above which the lower-scored face goes (0.3 there).
        max_detections: How many at most.
        outputs: Names of heat map, size, offset and landmarks. By default they are told apart by
            their channels; of the two with 2 the size comes first, as in the published files.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.5,
        iou: float = 0.3,
        max_detections: int = 300,
        outputs: Sequence[str] | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(CenterFace))
        self.labels, self.score, _ = selection(labels, score)
        self._suppress = FaceSuppression(iou, max_detections)
        self._named = names(_TENSORS, outputs)
        self._seen: object = None
        self._order: tuple[str, ...] = ()
        self._mask = np.empty((0, 0), np.bool_)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._learn(outputs, transform.tensor_hw)
            self._seen = now
        heat, size, offset, marks = (row_of(outputs[n], row, 3) for n in self._order)
        y, x = np.greater_equal(heat[0], self.score, out=self._mask).nonzero()
        cells = np.stack([y, x])
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped later
            sizes = np.exp(size[:, y, x].astype(np.float64)) * _STRIDE
            corner = (cells + offset[:, y, x].astype(np.float64) + 0.5) * _STRIDE - sizes / 2
            # (point, y or x, N)
            points = marks[:, y, x].astype(np.float64).reshape(_POINTS, 2, -1) * sizes + corner
            boxes = np.concatenate([corner[::-1], (corner + sizes)[::-1]])
        scores = heat[0, y, x].astype(np.float32)
        return self._suppress(
            boxes.T, points[:, ::-1].transpose(2, 0, 1), scores, transform, self.labels
        )

    def _learn(self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> None:
        """Finds the four tensors among those of a quarter of the input's size."""
        cells = grid(tensor_hw, _STRIDE)
        channels = {n: s[0] for n, s in row_shapes(outputs, 3).items() if s[1:] == cells}
        wanted = (1, 2, 2, 2 * _POINTS)
        order = self._named or tuple(
            sorted(
                (n for n, c in channels.items() if c in wanted),
                key=lambda n: wanted.index(channels[n]),
            )
        )
        if tuple(channels.get(name) for name in order) != wanted:
            raise wrong_layout(
                _NAME,
                outputs,
                f"four floating point tensors (rows, 1 | 2 | 2 | 10, {cells[0]}, {cells[1]})"
                + (f", called {', '.join(self._named)}" if self._named else ""),
            )
        check_class_count(_NAME, self.labels, 1, outputs[order[0]].shape)
        self._order = order
        self._mask = np.empty(cells, np.bool_)


plugin = CenterFace
