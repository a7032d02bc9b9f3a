"""Reads MoveNet's single pose: 17 points of the one person that is closest to the middle of the picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._params import (
    check_class_count,
    fraction,
    keywords,
    refuse_unknown,
    tensor_name,
    wrong_layout,
)
from edgevision.decoders._tensors import row_of, row_shapes, seen
from edgevision.geometry import Transform
from edgevision.results import Keypoints
from edgevision.skeleton import COCO_17

__all__ = ["MoveNet", "plugin"]

_NAME = "movenet"
_SHAPE = (1, len(COCO_17), 3)


class MoveNet:
    """``(rows, 1, 17, 3)``: y, x and score of each of COCO's points; y and x in fractions of the tensor.

    That is the output of MoveNet.SinglePose Lightning and Thunder (Google's model card). The model always
    gives a pose; its score here is the mean of those of the 17 points, which is low where nobody is.

    Args:
        labels: One name, or nothing.
        score: Least score of a person.
        outputs: Name of the output; needed only where several would fit.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.25,
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(MoveNet))
        self.labels = tuple(labels)
        self.score = fraction("score", score)
        self._output = tensor_name("outputs", outputs)
        self._seen: object = None
        self._tensor = ""

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Keypoints:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._tensor = self._find(outputs)
            self._seen = now
        values = row_of(outputs[self._tensor], row, 3)
        scores = values[..., 2].astype(np.float32)
        mean = scores.mean(axis=1)
        if not (np.isfinite(values).all() and mean[0] >= self.score):
            return Keypoints.empty(COCO_17)
        height, width = transform.tensor_hw
        points = transform.points(values[..., 1::-1] * np.array([width, height], np.float32))
        return Keypoints(points, scores, mean, COCO_17)

    def _find(self, outputs: Mapping[str, NDArray[Any]]) -> str:
        fitting = [name for name, shape in row_shapes(outputs, 3).items() if shape == _SHAPE]
        if self._output is not None:
            fitting = [name for name in fitting if name == self._output]
        if len(fitting) != 1:
            called = f", called {self._output!r}" if self._output else ""
            raise wrong_layout(
                _NAME, outputs, f"one floating point tensor (rows, 1, 17, 3){called}"
            )
        check_class_count(_NAME, self.labels, 1, outputs[fitting[0]].shape)
        return fitting[0]


plugin = MoveNet
