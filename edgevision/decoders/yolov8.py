"""Reads the YOLOv8 and YOLO11 detection layout: one tensor of boxes and class scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._nms import Suppression
from edgevision.decoders._params import (
    check_class_count,
    class_mask,
    flag,
    fraction,
    is_float,
    refuse_unknown,
    tensor_name,
    whole,
    wrong_layout,
)
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["YoloV8", "plugin"]

_NAME = "yolov8"
_PARAMS = ("score", "iou", "classes", "max_detections", "class_agnostic", "outputs")
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
        refuse_unknown(_NAME, unknown, _PARAMS)
        self.labels = tuple(labels)
        self.score = fraction("score", score)
        self._suppress = Suppression(
            fraction("iou", iou),
            whole("max_detections", max_detections, 1, 100_000),
            flag("class_agnostic", class_agnostic),
        )
        self._wanted = class_mask(classes, self.labels)
        self._output = tensor_name("outputs", outputs)
        self._seen: object = None
        self._scratch = _Scratch(0, 0, False, np.dtype(np.float32), None)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        tensor = self._find(outputs)
        if (tensor.shape, tensor.dtype) != self._seen:
            self._learn(tensor, outputs)
        found = self._scratch.candidates(tensor[row], self.score)
        if found is None:
            return Detections.empty(self.labels)
        return self._suppress(*found, transform, self.labels)

    def _find(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if self._output is None:
            fitting = [n for n, a in outputs.items() if a.ndim == 3 and is_float(a)]
            if len(fitting) != 1:
                raise wrong_layout(_NAME, outputs, _LAYOUT)
            self._output = fitting[0]
        tensor = outputs.get(self._output)
        if tensor is None or tensor.ndim != 3 or not is_float(tensor):
            raise wrong_layout(_NAME, outputs, f"{_LAYOUT}, called {self._output!r}")
        return tensor

    def _learn(self, tensor: NDArray[Any], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Checks a shape that was not seen before, and makes buffers for it."""
        first = self._channels_first(tensor, outputs)
        channels, anchors = tensor.shape[1:] if first else tensor.shape[:0:-1]
        classes = channels - 4
        # Final boxes of an export with NMS, (rows, 300, x1 y1 x2 y2 score class), fit two classes too.
        if classes < 1 or tensor.shape[1:] == (300, 6):
            raise wrong_layout(_NAME, outputs, _LAYOUT)
        check_class_count(_NAME, self.labels, classes, tensor.shape)
        self._scratch = _Scratch(classes, anchors, first, tensor.dtype, self._wanted)
        self._seen = (tensor.shape, tensor.dtype)

    def _channels_first(self, tensor: NDArray[Any], outputs: Mapping[str, NDArray[Any]]) -> bool:
        _, a, b = tensor.shape
        channels = 4 + len(self.labels)
        if self.labels and (a == channels) != (b == channels):
            return bool(a == channels)
        if a == b:
            raise wrong_layout(_NAME, outputs, f"{_LAYOUT}; in a square it cannot be told which")
        return bool(a < b)


plugin = YoloV8


class _Scratch:
    """Buffers for one shape of output; they only grow.

    A whole frame may allocate 64 KiB, and the output alone is 2.8 MB at 640×640: so the best score
    of each anchor is reduced into a buffer, and only anchors above the threshold are gathered, into
    buffers too.
    """

    def __init__(
        self,
        classes: int,
        anchors: int,
        channels_first: bool,
        dtype: np.dtype[Any],
        wanted: tuple[int, ...] | None,
    ) -> None:
        self._classes, self._first = classes, channels_first
        self._best = np.empty(anchors, dtype)
        self._mask = np.empty(anchors, np.bool_)
        self._values = np.empty(0, dtype)
        self._scores = np.empty(0, dtype)
        self._ids = np.empty(0, np.intp)
        self._planes = np.empty(0, np.float64)
        self._wanted = None if wanted is None else np.isin(np.arange(classes), wanted)

    def candidates(
        self, values: NDArray[Any], threshold: float
    ) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[np.intp]] | None:
        """Boxes xyxy ``(N, 4)``, scores and class ids of what reaches the threshold; None for none.

        Boxes and ids are views of buffers, valid until the next call.
        """
        by_class, axis = (values[4:], 0) if self._first else (values[:, 4:], 1)
        scores = by_class.max(axis=axis, out=self._best)
        chosen = np.greater_equal(scores, threshold, out=self._mask).nonzero()[0]
        if len(chosen) == 0:
            return None
        boxes, ids = self._gather(values, chosen)
        if self._wanted is not None:
            keep = self._wanted[ids]
            boxes, ids, chosen = boxes[keep], ids[keep], chosen[keep]
        return boxes, scores[chosen], ids

    def _gather(
        self, values: NDArray[Any], chosen: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Boxes xyxy ``(N, 4)`` and best class ids ``(N,)`` of the chosen anchors."""
        n, channels = len(chosen), 4 + self._classes
        self._grow(n)
        part = self._values[: n * channels]
        # Without a mode, `take` with `out` would allocate a second buffer; the indices are known to
        # be fine.
        if self._first:
            part = values.take(chosen, axis=1, out=part.reshape(channels, n), mode="clip")
        else:
            part = values.take(chosen, axis=0, out=part.reshape(n, channels), mode="clip").T
        # `argmax` copies what is not contiguous along its axis, so that copy is made here, into a
        # buffer.
        scores = self._scores[: n * self._classes].reshape(n, self._classes)
        np.copyto(scores, part[4:].T)
        planes = self._planes[: 4 * n].reshape(4, n)
        np.copyto(planes, part[:4])
        _to_corners(planes)
        return planes.T, scores.argmax(axis=1, out=self._ids[:n])

    def _grow(self, n: int) -> None:
        if len(self._ids) < n:
            self._ids = np.empty(n, np.intp)
            self._planes = np.empty(4 * n, np.float64)
            self._scores = np.empty(n * self._classes, self._scores.dtype)
            self._values = np.empty(n * (4 + self._classes), self._values.dtype)


def _to_corners(planes: NDArray[np.float64]) -> None:
    """Centre and size → xyxy, ``(4, N)`` in place; planes that do not interleave need no copies."""
    corner, size = planes[:2], planes[2:]
    with np.errstate(invalid="ignore"):  # boxes that are not finite are dropped later
        size *= 0.5
        corner -= size
        size *= 2
        size += corner
