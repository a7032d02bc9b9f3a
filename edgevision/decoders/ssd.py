"""Reads the SSD layout: class scores, and boxes as offsets from prior boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders import _priors
from edgevision.decoders._classes import (
    ACTIVATIONS,
    FOREGROUND,
    pairs,
    probabilities,
    promising,
    scores_and_boxes,
)
from edgevision.decoders._nms import Suppression
from edgevision.decoders._objectness import to_corners
from edgevision.decoders._params import (
    check_class_count,
    choice,
    flag,
    fraction,
    keywords,
    refuse_unknown,
    selection,
    wrong_layout,
)
from edgevision.decoders._tensors import names, row_of, seen
from edgevision.errors import SpecError
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["Ssd", "plugin"]

_NAME = "ssd"
_LAYOUT = "two floating point tensors, scores (rows, A, classes) and boxes (rows, A, 4)"
#: mobilenetv1_ssd_config.py in qfgaohao/pytorch-ssd.
_MOBILENET = (
    {"stride": 16, "min_size": 60, "max_size": 105, "aspect_ratios": [2, 3]},
    {"stride": 32, "min_size": 105, "max_size": 150, "aspect_ratios": [2, 3]},
    {"stride": 64, "min_size": 150, "max_size": 195, "aspect_ratios": [2, 3]},
    {"stride": 100, "min_size": 195, "max_size": 240, "aspect_ratios": [2, 3]},
    {"stride": 150, "min_size": 240, "max_size": 285, "aspect_ratios": [2, 3]},
    {"stride": 300, "min_size": 285, "max_size": 330, "aspect_ratios": [2, 3]},
)


class Ssd:
    """Scores ``(rows, A, C)`` with a background class, boxes ``(rows, A, 4)``.

    Centre = prior's centre + offset · v₀ · its size, size = prior's size · exp(offset · v₁) (Liu et
    al. 2016, arXiv:1512.02325). An anchor counts for every class that reaches the score, and each
    class is suppressed by itself, as published.

    Args:
        labels: The class names in the model's order without the background, or nothing.
        score: Lowest score of a detection.
        iou: Overlap above which the lower-scored box of a class goes.
        classes: Ids or names to keep; None keeps all. The background has no id.
        max_detections: How many at most.
        class_agnostic: Boxes of different classes suppress each other too.
        activation: ``softmax`` or ``sigmoid`` for logits, ``none`` for scores in 0…1.
        background: Which class is the background: ``first``, ``last`` or ``none``.
        boxes: ``offsets`` from the priors, or ``corners``: left, top, right, bottom as fractions of
            the tensor, where the export has decoded them.
        order: ``xy``, or ``yx`` where y comes before x and height before width (TensorFlow).
        levels: The priors of each feature map: ``stride`` or ``cells``; ``min_size``, ``max_size``
            and ``aspect_ratios``, or ``boxes`` [[width, height], …]; in pixels.
        variances: v₀ of centres and v₁ of sizes; 0.1 and 0.2 are TensorFlow's scales 10 and 5.
        clip_priors: Priors are cut at the tensor's sides.
        outputs: Names of scores and boxes; needed where more tensors would fit.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.4,
        iou: float = 0.45,
        classes: object = None,
        max_detections: int = 200,
        class_agnostic: bool = False,
        activation: str = "softmax",
        background: str = "first",
        boxes: str = "offsets",
        order: str = "xy",
        levels: Sequence[Mapping[str, Any]] = _MOBILENET,
        variances: Sequence[float] = (0.1, 0.2),
        clip_priors: bool = True,
        outputs: Sequence[str] | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(Ssd))
        self.labels, self.score, self._wanted = selection(labels, score, classes)
        self._suppress = Suppression(iou, max_detections, class_agnostic)
        self._activation = choice("activation", activation, ACTIVATIONS)
        self._background = choice("background", background, FOREGROUND)
        self._corners = choice("boxes", boxes, ("offsets", "corners")) == "corners"
        self._y_first = choice("order", order, ("xy", "yx")) == "yx"
        self._levels = _priors.levels(levels)
        self._variances = _variances(variances)
        self._clip = flag("clip_priors", clip_priors)
        self._named = names(("scores", "boxes"), outputs)
        self._seen: object = None
        self._tensors = ("", "")
        self._priors = np.empty((4, 0), np.float64)
        self._best = np.empty(0, np.float32)

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._learn(outputs, transform.tensor_hw)
            self._seen = now
        raw, boxes = (row_of(outputs[name], row, 2) for name in self._tensors)
        anchors = promising(raw, self._activation, self._background, self.score, self._best)
        if len(anchors) == 0:
            return Detections.empty(self.labels)
        scores = probabilities(raw[anchors], self._activation)[:, FOREGROUND[self._background]]
        lines, ids, values = pairs(scores, self.score, self._wanted, best_only=False)
        chosen = anchors[lines]
        planes = boxes[chosen].T.astype(np.float64)
        if self._y_first:
            planes = planes[[1, 0, 3, 2]]
        found = self._place(planes, chosen, transform.tensor_hw)
        return self._suppress(found, values, ids, transform, self.labels)

    def _place(
        self, planes: NDArray[np.float64], anchors: NDArray[np.intp], tensor_hw: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Box values ``(4, N)``, changed in place → left, top, right, bottom ``(N, 4)``."""
        if self._corners:
            planes *= np.array([tensor_hw[1], tensor_hw[0]] * 2, np.float64)[:, None]
            corners: NDArray[np.float64] = planes.T
            return corners
        prior = self._priors.take(anchors, axis=1)
        centre, size = planes[:2], planes[2:]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is dropped later
            centre *= prior[2:] * self._variances[0]
            centre += prior[:2]
            size *= self._variances[1]
            np.exp(size, out=size)
            size *= prior[2:]
        return to_corners(planes)

    def _learn(self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> None:
        """Finds the two tensors, and makes priors and buffers for their shape."""
        self._tensors = scores_and_boxes(_NAME, outputs, self._named, _LAYOUT)
        shape = outputs[self._tensors[0]].shape
        anchors, classes = shape[-2], shape[-1] - (self._background != "none")
        if classes < 1:
            raise wrong_layout(_NAME, outputs, f"{_LAYOUT}, with a background class")
        check_class_count(_NAME, self.labels, classes, shape)
        if not self._corners:
            self._priors = _priors.priors(self._levels, tensor_hw, clip=self._clip)
            if self._priors.shape[1] != anchors:
                told = (
                    f"{_LAYOUT}; the levels make A = {self._priors.shape[1]} priors of {tensor_hw}"
                )
                raise wrong_layout(_NAME, outputs, told)
        self._best = np.empty(anchors, np.float32)


plugin = Ssd


def _variances(value: object) -> tuple[float, float]:
    if isinstance(value, list | tuple) and len(value) == 2:
        centre, size = (fraction("variances", v) for v in value)
        if centre > 0 and size > 0:
            return centre, size
    raise SpecError(
        "the decoder's parameter 'variances' is not usable",
        received=repr(value)[:200],
        expected="two numbers above 0, such as [0.1, 0.2]",
    )
