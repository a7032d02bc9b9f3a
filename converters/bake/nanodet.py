"""The head of NanoDet: for each stride, scores and distributions of box sides."""

from __future__ import annotations

import numpy as np

from edgevision.converters.bake.heads import Candidates, Head, best_classes, matrix
from edgevision.decoders._tensors import grid
from edgevision.decoders.nanodet import match_levels

__all__ = ["nanodet"]


def nanodet(head: Head) -> Candidates:
    """See `edgevision.decoders.nanodet.NanoDet`; sides are decoded for the best cells only."""
    builder, params = head.builder, head.params
    bins, strides = params["reg_max"] + 1, tuple(params["strides"])
    pairs = match_levels(head.outputs, head.tensor_hw, strides, bins)
    scores = _joined(head, [scores for scores, _ in pairs], "scores")
    sides = _joined(head, [sides for _, sides in pairs], "sides")
    shapes = [head.outputs[name].shape[-2:] for name, _ in pairs]
    anchors, classes = sum(count for count, _ in shapes), shapes[0][1]
    best, ids, chosen, count = best_classes(head, scores, (anchors, classes), first=False)
    if params["activation"] == "sigmoid":
        best = builder.add("Sigmoid", [best], "score")
    rows = builder.add("Gather", [sides, chosen], "sides_of_best", axis=0)
    rows = builder.add("Reshape", [rows, builder.whole([count, 4, bins], "bins_shape")], "bins")
    rows = builder.add("Softmax", [rows], "weights", axis=2)
    column = builder.constant(np.arange(bins, dtype=np.float32).reshape(bins, 1), "bin")
    mean = builder.add("MatMul", [rows, column], "mean")
    mean = builder.add("Reshape", [mean, builder.whole([count, 4], "distances_shape")], "distances")
    signs = builder.constant(np.array([-1, -1, 1, 1], np.float32), "signs")
    around = builder.add("Mul", [mean, signs], "around")
    centres, scale = _constants(head, strides)
    centre = builder.add("Gather", [builder.constant(centres, "centres"), chosen], "centre")
    stride = builder.add("Gather", [builder.constant(scale, "strides"), chosen], "stride")
    boxes = builder.add("Mul", [builder.add("Add", [around, centre], "cells"), stride], "boxes")
    return Candidates(best, ids, boxes, count, classes)


def _joined(head: Head, names: list[str], what: str) -> str:
    parts = [matrix(head, name) for name in names]
    return parts[0] if len(parts) == 1 else head.builder.add("Concat", parts, what, axis=0)


def _constants(head: Head, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Anchors in cells, x y x y ``(A, 4)``, and strides ``(A, 1)``."""
    centres, scale = [], []
    for stride in strides:
        cells = grid(head.tensor_hw, stride)
        xy = np.indices(cells)[::-1].reshape(2, -1).T + head.params["cell_offset"]
        centres.append(np.tile(xy, 2))
        scale.append(np.full((len(xy), 1), stride))
    return np.concatenate(centres).astype(np.float32), np.concatenate(scale).astype(np.float32)
