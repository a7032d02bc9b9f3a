"""Reads the YOLOv5 and YOLOv7 detection layout: boxes, an objectness and class scores per anchor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._nms import Suppression
from edgevision.decoders._objectness import ObjectnessScratch, to_corners
from edgevision.decoders._params import (
    check_class_count,
    keywords,
    refuse_unknown,
    selection,
    tensor_name,
    wrong_layout,
)
from edgevision.decoders._tensors import OneTensor, channels_first
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["YoloV5", "plugin"]

_NAME = "yolov5"
_LAYOUT = "one floating point tensor (rows, anchors, 5 + classes), or (rows, 5 + classes, anchors)"


class YoloV5:
    """``(rows, A, 5 + C)``: centre x, y, width, height in tensor pixels, objectness, C class scores.

    All scores are in 0…1: the layout of ``export.py`` of ultralytics/yolov5 and of YOLOv7 with
    ``--grid``. A detection's score is objectness × its best class. The three raw heads of other
    exports, ``(rows, 3, h, w, 5 + C)``, are not read.

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection (0.25 is ``detect.py``'s default).
        iou: Overlap above which the lower-scored box of a class goes (0.45 there).
        classes: Ids or names to keep; None keeps all. A box counts for its best class only.
        max_detections: How many at most (1000 there).
        class_agnostic: Boxes of different classes suppress each other too.
        outputs: Name of the output; needed only where several have three dimensions.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.25,
        iou: float = 0.45,
        classes: object = None,
        max_detections: int = 1000,
        class_agnostic: bool = False,
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(YoloV5))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._suppress = Suppression(iou, max_detections, class_agnostic)
        self._tensor = OneTensor(_NAME, tensor_name("outputs", outputs), _LAYOUT)
        self._seen: object = None
        self._scratch = ObjectnessScratch(0, 0, False, np.dtype(np.float32), None)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        values = self._tensor.row(outputs, row)
        if (values.shape, values.dtype) != self._seen:
            self._learn(values, outputs)
        found = self._scratch.candidates(values, self.score)
        if found is None:
            return Detections.empty(self.labels)
        boxes = to_corners(found.planes)
        return self._suppress(boxes, found.scores, found.ids, transform, self.labels)

    def _learn(self, values: NDArray[Any], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Checks a shape that was not seen before, and makes buffers for it."""
        known = 5 + len(self.labels) if self.labels else None
        first = channels_first(_NAME, values.shape, known, _LAYOUT, outputs)
        channels, anchors = values.shape if first else values.shape[::-1]
        # Final boxes of an export with NMS, (rows, 300, x1 y1 x2 y2 score class), fit one class too.
        if channels < 6 or values.shape == (300, 6):
            raise wrong_layout(_NAME, outputs, _LAYOUT)
        check_class_count(_NAME, self.labels, channels - 5, self._tensor.shape(outputs))
        self._scratch = ObjectnessScratch(channels - 5, anchors, first, values.dtype, self._wanted)
        self._seen = (values.shape, values.dtype)


plugin = YoloV5
