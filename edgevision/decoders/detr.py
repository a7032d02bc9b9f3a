"""Reads the DETR layout: class logits and normalized boxes of a fixed number of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._classes import (
    ACTIVATIONS,
    FOREGROUND,
    pairs,
    probabilities,
    promising,
    scores_and_boxes,
)
from edgevision.decoders._final import finish
from edgevision.decoders._objectness import to_corners
from edgevision.decoders._params import (
    check_class_count,
    choice,
    flag,
    keywords,
    limit,
    refuse_unknown,
    selection,
    wrong_layout,
)
from edgevision.decoders._tensors import names, row_of, row_shapes
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["Detr", "plugin"]

_NAME = "detr"
_LAYOUT = (
    "two floating point tensors, logits (rows, queries, classes) and boxes (rows, queries, 4), "
    "or both in one, (rows, queries, 4 + classes)"
)


class Detr:
    """Logits ``(rows, Q, C)``, boxes ``(rows, Q, 4)``: centre x, y, width, height as fractions.

    Also one tensor ``(rows, Q, 4 + C)``, as Ultralytics exports RT-DETR. Nothing is suppressed.

    Args:
        labels: The class names in the model's order without "no object", or nothing.
        score: Lowest score of a detection.
        classes: Ids or names to keep; None keeps all.
        max_detections: How many at most.
        activation: ``softmax`` where the last class means "no object" (DETR: Carion et al. 2020,
            arXiv:2005.12872), ``sigmoid`` for logits of classes alone (Deformable DETR, RT-DETR:
            Zhao et al. 2023, arXiv:2304.08069), ``none`` for scores in 0…1.
        multi_label: A query counts for every class that reaches the score, as RT-DETR's published
            post-processing has it, else for its best one. Not with softmax.
        outputs: Names of logits and boxes; needed where more tensors would fit.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.5,
        classes: object = None,
        max_detections: int = 300,
        activation: str = "softmax",
        multi_label: bool = False,
        outputs: Sequence[str] | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(Detr))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._most = limit(max_detections)
        self._activation = choice("activation", activation, ACTIVATIONS)
        self._background = "last" if activation == "softmax" else "none"
        self._multi_label = flag("multi_label", multi_label)
        if self._multi_label and activation == "softmax":
            raise SpecError(
                "the decoder's parameters 'multi_label' and 'activation' do not go together",
                received="multi_label = true, activation = softmax",
                expected="softmax gives each query one class; sigmoid or none may give several",
            )
        self._named = names(("logits", "boxes"), outputs)
        self._seen: object = None
        self._tensors: tuple[str, ...] = ()
        self._best = np.empty(0, np.float32)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = tuple((name, a.shape, a.dtype) for name, a in outputs.items())
        if now != self._seen:
            self._learn(outputs)
            self._seen = now
        parts = [row_of(outputs[name], row, 2) for name in self._tensors]
        raw, boxes = parts if len(parts) == 2 else (parts[0][:, 4:], parts[0])
        queries = promising(raw, self._activation, self._background, self.score, self._best)
        if len(queries) == 0:
            return Detections.empty(self.labels)
        scores = probabilities(raw[queries], self._activation)[:, FOREGROUND[self._background]]
        lines, ids, values = pairs(
            scores, self.score, self._wanted, best_only=not self._multi_label
        )
        planes = boxes[queries[lines], :4].T.astype(np.float64)
        height, width = transform.tensor_hw
        planes *= np.array([[width], [height], [width], [height]])
        return finish(to_corners(planes), values, ids, self._most, transform, self.labels)

    def _learn(self, outputs: Mapping[str, NDArray[Any]]) -> None:
        """Finds the two tensors, or the one of both."""
        shapes = row_shapes(outputs, 2)
        if self._named is None and len(shapes) == 1:
            self._tensors = tuple(shapes)
            classes = next(iter(shapes.values()))[1] - 4
        else:
            self._tensors = scores_and_boxes(_NAME, outputs, self._named, _LAYOUT)
            classes = shapes[self._tensors[0]][1]
        classes -= self._activation == "softmax"
        if classes < 1:
            raise wrong_layout(_NAME, outputs, _LAYOUT)
        check_class_count(_NAME, self.labels, classes, outputs[self._tensors[0]].shape)
        self._best = np.empty(shapes[self._tensors[0]][0], np.float32)


plugin = Detr
