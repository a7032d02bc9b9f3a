"""Reads the YOLOv8 and YOLO11 detection layout: one tensor of boxes and class scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._best import BestClass
from edgevision.decoders._buffers import Buffer
from edgevision.decoders._nms import Suppression
from edgevision.decoders._objectness import to_corners
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

__all__ = ["YoloV8", "plugin"]

_NAME = "yolov8"
_LAYOUT = "one floating point tensor (rows, 4 + classes, anchors), or (rows, anchors, 4 + classes)"


class YoloV8:
    """``(rows, 4 + C, A)``: centre x, y, width, height in tensor pixels, then C scores in 0…1.

    The layout of Ultralytics' ``Detect`` head as it is exported (``nms=False``). ``(rows, A, 4 +
    C)`` is read too where the labels, or the larger of the two sides, tell which is which.

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection (0.25 is Ultralytics' ``predict`` default).
        iou: Overlap above which the lower-scored box of a class goes (0.7 is Ultralytics' default).
        classes: Ids or names to keep; None keeps all. As there, a box counts for its best class
            only.
        max_detections: How many at most (300 is Ultralytics' default).
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
        iou: float = 0.7,
        classes: object = None,
        max_detections: int = 300,
        class_agnostic: bool = False,
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(YoloV8))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._suppress = Suppression(iou, max_detections, class_agnostic)
        self._tensor = OneTensor(_NAME, tensor_name("outputs", outputs), _LAYOUT)
        self._seen: object = None

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        values = self._tensor.row(outputs, row)
        if (values.shape, values.dtype) != self._seen:
            self._learn(values, outputs)
        best = self._best.find(values[4:] if self._first else values[:, 4:], self.score)
        if len(best.anchors) == 0:
            return Detections.empty(self.labels)
        boxes = self._boxes(values, best.anchors)
        return self._suppress(boxes, best.scores, best.ids, transform, self.labels)

    def _boxes(self, values: NDArray[Any], anchors: NDArray[np.intp]) -> NDArray[np.float64]:
        """Left, top, right, bottom of the anchors ``(N, 4)``, valid until the next call."""
        lines = values[:4] if self._first else values
        part = self._part.take(lines, anchors, axis=1 if self._first else 0)
        planes = self._planes.of(4, len(anchors))
        np.copyto(planes, part if self._first else part.T[:4])
        return to_corners(planes)

    def _learn(self, values: NDArray[Any], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Checks a shape that was not seen before, and makes buffers for it."""
        known = 4 + len(self.labels) if self.labels else None
        first = channels_first(_NAME, values.shape, known, _LAYOUT, outputs)
        channels, anchors = values.shape if first else values.shape[::-1]
        # Final boxes of an export with NMS, (rows, 300, x1 y1 x2 y2 score class), fit two classes too.
        if channels < 5 or values.shape == (300, 6):
            raise wrong_layout(_NAME, outputs, _LAYOUT)
        check_class_count(_NAME, self.labels, channels - 4, self._tensor.shape(outputs))
        self._first, dtype = first, values.dtype
        self._best = BestClass(channels - 4, anchors, first=first, dtype=dtype, wanted=self._wanted)
        self._part, self._planes = Buffer(dtype), Buffer(np.float64)
        self._seen = (values.shape, dtype)


plugin = YoloV8
