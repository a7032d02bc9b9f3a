"""What the detection heads that NMS can be baked behind have in common: candidates, the best ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.converters.bake.builder import Builder

__all__ = ["Candidates", "Head", "best_classes", "corners", "matrix", "top"]


@dataclass(frozen=True)
class Head:
    """A detector's outputs, and how its decoder reads them.

    Attributes:
        builder: Takes the new nodes.
        outputs: Zeros in the shapes and dtypes of the model's outputs, by name.
        params: Every parameter of the decoder.
        labels: Class names, or nothing.
        wanted: Class ids to keep, or None for all.
        tensor_hw: Height and width of the picture.
        most: How many candidates may enter the suppression.
    """

    builder: Builder
    outputs: Mapping[str, NDArray[Any]]
    params: Mapping[str, Any]
    labels: tuple[str, ...]
    wanted: tuple[int, ...] | None
    tensor_hw: tuple[int, int]
    most: int


@dataclass(frozen=True)
class Candidates:
    """Names of tensors: the best candidates of one picture, of equal scores the lower index first.

    Attributes:
        scores: float32 ``(K,)``, descending.
        ids: int64 ``(K,)``, their classes.
        boxes: float32 ``(K, 4)``: left, top, right, bottom in tensor pixels.
        count: K.
        classes: How many classes there are.
    """

    scores: str
    ids: str
    boxes: str
    count: int
    classes: int


def matrix(head: Head, output: str) -> str:
    """An output of one row as a float32 matrix."""
    builder, array = head.builder, head.outputs[output]
    if array.dtype != np.float32:
        output = builder.add("Cast", [output], "float", to=1)
    if array.ndim == 2:
        return output
    shape = builder.whole(array.shape[-2:], "matrix_shape")
    return builder.add("Reshape", [output, shape], "matrix")


def top(builder: Builder, values: str, count: int) -> tuple[str, str]:
    """The ``count`` largest of a vector, descending, and where they were."""
    best, index = builder.several(
        "TopK", [values, builder.whole([count], "count")], ["best", "index"], axis=0
    )
    return best, index


def best_classes(
    head: Head, scores: str, shape: Sequence[int], *, first: bool, factor: str | None = None
) -> tuple[str, str, str, int]:
    """Anchors by the score of their best class.

    Args:
        head: The head.
        scores: A matrix.
        shape: Of the matrix.
        first: It is ``(classes, anchors)``, else ``(anchors, classes)``.
        factor: A vector that multiplies the scores of each anchor, such as its objectness.

    Returns:
        Scores, class ids and anchors of the best ones, and how many there are.
    """
    builder, axis = head.builder, 0 if first else 1
    best = builder.reduce("Max", scores, axis, "best_class")
    if factor is not None:
        best = builder.add("Mul", [factor, best], "score")
    ids = ""
    if head.wanted is not None:
        ids = builder.add("ArgMax", [scores], "class", axis=axis, keepdims=0)
        mask = builder.constant(np.isin(np.arange(shape[axis]), head.wanted), "wanted")
        lowest = builder.constant(np.finfo(np.float32).min, "lowest")  # the scores may be logits
        kept = builder.add("Gather", [mask, ids], "kept")
        best = builder.add("Where", [kept, best, lowest], "wanted_score")
    count = min(head.most, shape[1 - axis])
    values, anchors = top(builder, best, count)
    if ids:
        return values, builder.add("Gather", [ids, anchors], "class_of_best"), anchors, count
    # The class is looked for in the few that are left.
    part = builder.add("Gather", [scores, anchors], "scores_of_best", axis=1 - axis)
    ids = builder.add("ArgMax", [part], "class", axis=axis, keepdims=0)
    return values, ids, anchors, count


def corners(builder: Builder, centres: str, sizes: str) -> str:
    """Centres and sizes ``(K, 2)`` → left, top, right, bottom ``(K, 4)``."""
    half = builder.add("Mul", [sizes, builder.constant(np.float32(0.5), "half")], "half_size")
    low = builder.add("Sub", [centres, half], "corner")
    high = builder.add("Add", [centres, half], "corner")
    return builder.add("Concat", [low, high], "boxes", axis=1)
