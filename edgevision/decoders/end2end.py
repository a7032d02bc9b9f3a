"""Reads final boxes: models without NMS (YOLOv10, YOLO26) and exports that have NMS inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._final import finish
from edgevision.decoders._params import (
    flag,
    keywords,
    limit,
    refuse_unknown,
    selection,
    tensor_name,
    wrong_layout,
)
from edgevision.decoders._tensors import OneTensor
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["EndToEnd", "plugin"]

_NAME = "end2end"
_YOLO = ("x1", "y1", "x2", "y2", "score", "class")
#: More are no ids; the largest half is smaller.
_MOST_CLASSES = 2**15


class EndToEnd:
    """``(rows, N, 6)``: left, top, right, bottom in tensor pixels, score, class. Nothing is suppressed.

    What is no detection is padding: rows of zeros, or of −1. N may differ from picture to picture.

    Args:
        labels: The class names in the model's order, or nothing.
        score: Lowest score of a detection (0.25 is Ultralytics' ``predict`` default).
        classes: Ids or names to keep; None keeps all.
        max_detections: How many at most.
        columns: What the columns mean, in their order. ``batch`` may be among them: the row that a
            detection belongs to (YOLOv7's ``--end2end`` has batch, x1, y1, x2, y2, class, score).
        normalized: Coordinates are fractions of the tensor's width and height.
        outputs: Name of the output; needed only where several have as many dimensions.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.25,
        classes: object = None,
        max_detections: int = 300,
        columns: Sequence[str] = _YOLO,
        normalized: bool = False,
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(EndToEnd))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._most = limit(max_detections)
        self._columns = _columns(columns)
        self._normalized = flag("normalized", normalized)
        shape = "" if "batch" in self._columns else "rows, "
        self._layout = f"one floating point tensor ({shape}N, {len(self._columns)}): {', '.join(self._columns)}"
        self._tensor = OneTensor(_NAME, tensor_name("outputs", outputs), self._layout)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        batched = "batch" in self._columns
        values = self._tensor.row(outputs, 0 if batched else row)
        if values.shape[1] != len(self._columns):
            raise wrong_layout(_NAME, outputs, self._layout)
        column = dict(zip(self._columns, values.T, strict=True))
        chosen = self._choose(column, row if batched else None)
        scores = column["score"][chosen].astype(np.float32)
        ids = column["class"][chosen].astype(np.int32)
        planes = np.stack([column[name][chosen] for name in _YOLO[:4]]).astype(np.float64)
        if self._normalized:
            height, width = transform.tensor_hw
            planes *= np.array([[width], [height], [width], [height]])
        return finish(planes.T, scores, ids, self._most, transform, self.labels)

    def _choose(self, column: Mapping[str, NDArray[Any]], row: int | None) -> NDArray[np.intp]:
        """Which lines are detections."""
        classes = column["class"]
        # Any comparison with NaN is false.
        fine = (column["score"] >= self.score) & (classes >= 0) & (classes < _MOST_CLASSES)
        if row is not None:
            fine &= column["batch"] == row
        if self._wanted is not None:
            fine &= np.isin(classes, self._wanted)
        return np.flatnonzero(fine)


plugin = EndToEnd


def _columns(value: object) -> tuple[str, ...]:
    known = {*_YOLO, "batch"}
    fine = (
        isinstance(value, list | tuple)
        and all(isinstance(name, str) for name in value)
        and len(value) == len(set(value))
        and set(_YOLO) <= set(value) <= known
    )
    if not fine:
        raise SpecError(
            "the decoder's parameter 'columns' is not usable",
            received=repr(value)[:200],
            expected=f"{', '.join(_YOLO)} in the model's order, and batch where there is one",
        )
    return tuple(value)  # type: ignore[arg-type]
