"""Reads the YOLOX detection layout: offsets from grid cells, an objectness and class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._nms import Suppression
from edgevision.decoders._objectness import ObjectnessScratch, to_corners
from edgevision.decoders._params import (
    check_class_count,
    flag,
    keywords,
    refuse_unknown,
    selection,
    stride_list,
    tensor_name,
    wrong_layout,
)
from edgevision.decoders._tensors import OneTensor, channels_first, grid
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["YoloX", "cells_of", "plugin"]

_NAME = "yolox"
_LAYOUT = "one floating point tensor (rows, anchors, 5 + classes), or (rows, 5 + classes, anchors)"


class YoloX:
    """``(rows, A, 5 + C)``: x, y, log width, log height in cells, objectness, C class scores in 0…1.

    Centre = (xy + cell) · stride, size = exp(wh) · stride; the cells of each stride follow each
    other row by row (Ge et al. 2021, arXiv:2107.08430; ``demo_postprocess`` in
    Megvii-BaseDetection/YOLOX).

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection (0.3 is the default of ``onnx_inference.py``).
        iou: Overlap above which the lower-scored box of a class goes (0.45 there).
        classes: Ids or names to keep; None keeps all. A box counts for its best class only.
        max_detections: How many at most.
        class_agnostic: Boxes of different classes suppress each other too.
        strides: Pixels a cell, in the order of the anchors; the P6 models add 64.
        decoded: The boxes are centre and size in tensor pixels already (``--decode_in_inference``).
        outputs: Name of the output; needed only where several have three dimensions.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.3,
        iou: float = 0.45,
        classes: object = None,
        max_detections: int = 300,
        class_agnostic: bool = False,
        strides: Sequence[int] = (8, 16, 32),
        decoded: bool = False,
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(YoloX))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._suppress = Suppression(iou, max_detections, class_agnostic)
        self._strides = stride_list(strides)
        self._decoded = flag("decoded", decoded)
        self._tensor = OneTensor(_NAME, tensor_name("outputs", outputs), _LAYOUT)
        self._seen: object = None
        self._scratch = ObjectnessScratch(0, 0, False, np.dtype(np.float32), None)
        self._cells = np.empty((3, 0), np.float64)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        values = self._tensor.row(outputs, row)
        if (values.shape, values.dtype, transform.tensor_hw) != self._seen:
            self._learn(values, outputs, transform.tensor_hw)
        found = self._scratch.candidates(values, self.score)
        if found is None:
            return Detections.empty(self.labels)
        if not self._decoded:
            _place(found.planes, self._cells.take(found.anchors, axis=1))
        boxes = to_corners(found.planes)
        return self._suppress(boxes, found.scores, found.ids, transform, self.labels)

    def _learn(
        self,
        values: NDArray[Any],
        outputs: Mapping[str, NDArray[Any]],
        tensor_hw: tuple[int, int],
    ) -> None:
        """Checks a shape that was not seen before, and makes buffers for it."""
        known = 5 + len(self.labels) if self.labels else None
        first = channels_first(_NAME, values.shape, known, _LAYOUT, outputs)
        channels, anchors = values.shape if first else values.shape[::-1]
        if channels < 6:
            raise wrong_layout(_NAME, outputs, _LAYOUT)
        check_class_count(_NAME, self.labels, channels - 5, self._tensor.shape(outputs))
        if not self._decoded:
            self._cells = cells_of(tensor_hw, self._strides)
            if self._cells.shape[1] != anchors:
                strides = ", ".join(map(str, self._strides))
                told = (
                    f"{self._cells.shape[1]} anchors: the cells of {tensor_hw} at strides {strides}"
                )
                raise wrong_layout(_NAME, outputs, told)
        self._scratch = ObjectnessScratch(channels - 5, anchors, first, values.dtype, self._wanted)
        self._seen = (values.shape, values.dtype, tensor_hw)


plugin = YoloX


def cells_of(tensor_hw: tuple[int, int], strides: tuple[int, ...]) -> NDArray[np.float64]:
    """Column, row and stride of every anchor, ``(3, A)``."""
    parts = []
    for stride in strides:
        rows, columns = grid(tensor_hw, stride)
        y, x = np.divmod(np.arange(rows * columns), columns)
        parts.append(np.stack([x, y, np.full_like(x, stride)]))
    return np.concatenate(parts, axis=1).astype(np.float64)


def _place(planes: NDArray[np.float64], cells: NDArray[np.float64]) -> None:
    """Offsets in cells → centre and size in tensor pixels, ``(4, N)`` in place."""
    planes[:2] += cells[:2]
    with np.errstate(over="ignore"):  # boxes that are not finite are dropped later
        np.exp(planes[2:], out=planes[2:])
    planes *= cells[2]
