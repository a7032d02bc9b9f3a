"""Reads the BlazeFace layout: raw boxes with key points and scores for each anchor of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._faces import FaceSuppression
from edgevision.decoders._params import (
    check_class_count,
    choice,
    keywords,
    refuse_unknown,
    selection,
    stride_list,
    whole,
    wrong_layout,
)
from edgevision.decoders._tensors import grid, logit, row_of, row_shapes, seen, sigmoid
from edgevision.geometry import Transform
from edgevision.results import Detections

__all__ = ["BlazeFace", "plugin"]

_NAME = "blazeface"
#: ``score_clipping_thresh`` of MediaPipe's face detection graphs.
_CLIP = 100.0


class BlazeFace:
    """``(rows, A, 4 + 2K)`` raw boxes and key points, ``(rows, A, 1)`` raw scores.

    Boxes are centre x, y, width, height and then K points x, y, all in tensor pixels and relative
    to the anchor's centre. The score is the sigmoid of the raw one, clipped at ±100. Anchors are
    MediaPipe's (``ssd_anchors_calculator.cc`` with ``fixed_anchor_size``): on the centre of each
    cell, as many as that stride is listed, times ``anchors_per_stride``. Outputs of several grids
    may be apart (512 and 384 anchors) or together (896). Key points are right eye, left eye, nose,
    mouth, right ear, left ear of the person (Bazarevsky et al. 2019, arXiv:1907.05047).

    Args:
        labels: One name, or nothing.
        score: Lowest score of a face (0.65 is MediaPipe's for the back camera, 0.5 for the front).
        iou: Overlap above which the lower-scored face goes (0.3 there).
        max_detections: How many at most.
        strides: As in MediaPipe's graph: [16, 32, 32, 32] for the back camera's 256×256 model, [8,
            16, 16, 16] for the front camera's 128×128, [4] for the full range.
        anchors_per_stride: 2, or 1 where ``interpolated_scale_aspect_ratio`` is 0 (full range).
        key_points: How many points follow a box.
        suppression: ``weighted`` as published: a face is the mean, weighted by score, of all that it
            suppresses; ``plain`` keeps the best one as it is.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        score: float = 0.65,
        iou: float = 0.3,
        max_detections: int = 100,
        strides: Sequence[int] = (16, 32, 32, 32),
        anchors_per_stride: int = 2,
        key_points: int = 6,
        suppression: str = "weighted",
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(BlazeFace))
        self.labels, self.score, _ = selection(labels, score)
        self._suppress = FaceSuppression(
            iou,
            max_detections,
            weighted=choice("suppression", suppression, ("weighted", "plain")) == "weighted",
        )
        per_stride = whole("anchors_per_stride", anchors_per_stride, 1, 16)
        self._grids = [(s, n * per_stride) for s, n in _grouped(strides)]
        self._values = 4 + 2 * whole("key_points", key_points, 1, 64)
        self._seen: object = None
        self._levels: list[tuple[str, str, NDArray[np.float64]]] = []

    def decode(
        self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform
    ) -> Detections:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        now = seen(outputs, transform.tensor_hw)
        if now != self._seen:
            self._learn(outputs, transform.tensor_hw)
            self._seen = now
        least = logit(self.score)
        parts, scores = [], []
        for score_name, box_name, anchors in self._levels:
            raw = row_of(outputs[score_name], row, 2)[:, 0]
            chosen = np.flatnonzero((raw >= least) & (raw < np.inf))
            points = row_of(outputs[box_name], row, 2)[chosen].astype(np.float64)
            points = points.reshape(len(chosen), self._values // 2, 2)
            centres = anchors[chosen]
            points[:, 0] += centres
            points[:, 2:] += centres[:, None]
            parts.append(points)
            scores.append(raw[chosen].astype(np.float32))
        together = np.concatenate(parts)
        return self._finish(together, np.concatenate(scores), transform)

    def _finish(
        self, points: NDArray[np.float64], raw: NDArray[np.float32], transform: Transform
    ) -> Detections:
        half = points[:, 1] / 2
        with np.errstate(invalid="ignore"):  # what is not finite is dropped later
            boxes = np.concatenate([points[:, 0] - half, points[:, 0] + half], axis=1)
        scores = sigmoid(np.clip(raw, -_CLIP, _CLIP))
        return self._suppress(boxes, points[:, 2:], scores, transform, self.labels)

    def _learn(self, outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> None:
        """Pairs scores and boxes by their number of anchors: all grids together, or one each."""
        grids = [_anchors(tensor_hw, *grid) for grid in self._grids]
        shapes = row_shapes(outputs, 2)
        for levels in ([np.concatenate(grids)], grids):
            found = []
            for anchors in levels:
                scores = [n for n, s in shapes.items() if s == (len(anchors), 1)]
                boxes = [n for n, s in shapes.items() if s == (len(anchors), self._values)]
                if len(scores) == len(boxes) == 1:
                    found.append((scores[0], boxes[0], anchors))
            if len(found) == len(levels):
                check_class_count(_NAME, self.labels, 1, outputs[found[0][0]].shape)
                self._levels = found
                return
        counts = " and ".join(str(len(g)) for g in grids)
        raise wrong_layout(
            _NAME,
            outputs,
            f"for {tensor_hw}, scores (rows, A, 1) and boxes (rows, A, {self._values}) with A = {counts}"
            + (" apart, or their sum" if len(grids) > 1 else ""),
        )


plugin = BlazeFace


def _anchors(tensor_hw: tuple[int, int], stride: int, count: int) -> NDArray[np.float64]:
    """Centres ``(cells · count, 2)`` x, y in tensor pixels, cell by cell."""
    rows, columns = grid(tensor_hw, stride)
    y, x = np.divmod(np.arange(rows * columns).repeat(count), columns)
    centres = np.stack([x, y], axis=1) + 0.5
    return centres * (tensor_hw[1] / columns, tensor_hw[0] / rows)


def _grouped(value: object) -> list[tuple[int, int]]:
    """Each stride and how often it is listed; equal ones share a grid, as in MediaPipe."""
    strides = stride_list(value, repeated=True)
    return [(stride, len(list(same))) for stride, same in groupby(strides)]
