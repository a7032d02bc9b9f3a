"""A decoder of your own: the one best box of a YOLOv8 layout, for a station that shows one part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.results import Detections


class BestBox:
    """``(rows, 4 + C, A)``: centre x, y, width, height in tensor pixels, then C scores in 0…1."""

    def __init__(
        self, *, labels: tuple[str, ...] = (), score: float = 0.25, **unknown: object
    ) -> None:
        if unknown:
            raise SpecError("best-box has no such parameter", received=", ".join(unknown))
        self.labels = labels
        self.score = score

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        values = next(iter(outputs.values()))
        if values.ndim != 3 or values.shape[1] != 4 + len(self.labels):
            raise SpecError(
                "best-box cannot read this output",
                received=str(values.shape),
                expected=f"(rows, {4 + len(self.labels)}, anchors)",
            )
        scores = values[row, 4:]
        class_id, anchor = np.unravel_index(scores.argmax(), scores.shape)
        best = float(scores[class_id, anchor])
        if not best >= self.score:  # false for NaN too
            return Detections.empty(self.labels)
        x, y, w, h = values[row, :4, anchor].astype(float)
        box = np.array([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])
        return Detections(
            transform.boxes(box),  # to source pixels, cut at the frame
            np.array([best], np.float32),
            np.array([class_id], np.int32),
            self.labels,
        )
