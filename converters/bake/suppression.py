"""Class-wise non-maximum suppression as nodes, with an output of a fixed size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevision.converters.bake.builder import Builder
from edgevision.converters.bake.heads import Candidates, top
from edgevision.decoders._greedy import FARTHEST

__all__ = ["Limits", "suppress"]


@dataclass(frozen=True)
class Limits:
    """What is kept.

    Attributes:
        score: Lowest score.
        iou: Overlap above which the lower-scored box of a class goes.
        most: How many detections at most.
        class_agnostic: Boxes of different classes suppress each other too.
    """

    score: float
    iou: float
    most: int
    class_agnostic: bool


def suppress(builder: Builder, found: Candidates, limits: Limits) -> tuple[str, int]:
    """Candidates → detections ``(1, N, 6)``: left, top, right, bottom, score, class; then rows of zeros.

    1. A candidate without an area, or far off, gets the score 0: NonMaxSuppression would take its
       corners for swapped.
    2. Each class is suppressed by itself: the scores of a candidate are 0 in all other classes.
    3. What NonMaxSuppression picks has no fixed number and comes class by class. Its scores are put back
       where the candidates stand, 0 elsewhere, and the best of those are taken. Candidates are sorted,
       so of equal scores the lower one still comes first.

    Returns:
        The output's name, and N.
    """
    k = found.count
    zero = builder.constant(np.float32(0), "zero")
    live = builder.add("Where", [_solid(builder, found, zero), found.scores, zero], "live")
    boxes = builder.add("Reshape", [found.boxes, builder.whole([1, k, 4], "shape")], "boxes")
    picked = builder.add(
        "NonMaxSuppression",
        [
            boxes,
            _by_class(builder, found, live, zero, limits),
            builder.whole([limits.most], "most"),
            builder.constant(np.array([limits.iou], np.float32), "iou"),
            builder.constant(np.array([_above(limits.score)], np.float32), "least"),
        ],
        "picked",
    )
    index = builder.add("Gather", [picked, builder.whole(2, "box")], "index", axis=1)
    kept = builder.add("Gather", [live, index], "kept", axis=0)
    nothing = builder.constant(np.zeros(k, np.float32), "nothing")
    put_back = builder.add("ScatterElements", [nothing, index, kept], "put_back", axis=0)
    count = min(limits.most, k)
    scores, order = top(builder, put_back, count)
    return _rows(builder, found, scores, order, count), count


def _solid(builder: Builder, found: Candidates, zero: str) -> str:
    """Case 1: whether each box has an area and lies near."""
    low = builder.slice(found.boxes, 1, 0, 2, "low")
    high = builder.slice(found.boxes, 1, 2, 4, "high")
    sides = builder.reduce("Min", builder.add("Sub", [high, low], "sides"), 1, "side")
    reach = builder.reduce("Max", builder.add("Abs", [found.boxes], "reach"), 1, "farthest")
    far = builder.constant(np.float32(FARTHEST), "far")
    solid = builder.add("Greater", [sides, zero], "solid")
    return builder.add("And", [solid, builder.add("Less", [reach, far], "near")], "usable")


def _by_class(builder: Builder, found: Candidates, live: str, zero: str, limits: Limits) -> str:
    """Case 2: scores ``(1, classes, K)``."""
    k, classes = found.count, found.classes
    if limits.class_agnostic or classes == 1:
        return builder.add("Reshape", [live, builder.whole([1, 1, k], "shape")], "scores")
    ids = builder.constant(np.arange(classes).reshape(1, classes, 1), "ids")
    own = builder.add("Equal", [ids, found.ids], "own")
    return builder.add("Where", [own, live, zero], "scores")


def _rows(builder: Builder, found: Candidates, scores: str, order: str, count: int) -> str:
    """Case 3, the last part."""
    column = builder.whole([count, 1], "column")
    real = builder.add("Cast", [found.ids], "float_class", to=1)
    values = [
        builder.add("Gather", [found.boxes, order], "kept_boxes", axis=0),
        builder.add("Reshape", [scores, column], "kept_scores"),
        builder.add(
            "Reshape", [builder.add("Gather", [real, order], "kept_ids"), column], "kept_classes"
        ),
    ]
    rows = builder.add("Concat", values, "rows", axis=1)
    least = builder.constant(np.float32(0), "zero")
    used = builder.add("Greater", [values[1], least], "used")
    rows = builder.add("Where", [used, rows, least], "filled")
    return builder.add("Reshape", [rows, builder.whole([1, count, 6], "shape")], "detections")


def _above(score: float) -> np.float32:
    """NonMaxSuppression takes scores *above* its threshold; decoders take the threshold too."""
    return max(np.nextafter(np.float32(score), np.float32(-1)), np.float32(0))
