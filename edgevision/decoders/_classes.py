"""Class scores of decoders that read scores and boxes from two tensors, or from one of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._params import wrong_layout
from edgevision.decoders._tensors import logit, row_shapes, sigmoid

__all__ = ["ACTIVATIONS", "FOREGROUND", "pairs", "probabilities", "promising", "scores_and_boxes"]

ACTIVATIONS = ("softmax", "sigmoid", "none")
#: Where the classes lie beside the background, by where that is.
FOREGROUND = {"first": slice(1, None), "last": slice(0, -1), "none": slice(None)}
#: Lines within this of the threshold are looked at exactly.
_SLACK = 1e-3


def scores_and_boxes(
    decoder: str,
    outputs: Mapping[str, NDArray[Any]],
    named: Sequence[str] | None,
    layout: str,
) -> tuple[str, str]:
    """Names of the scores ``(rows, N, C)`` and of the boxes ``(rows, N, 4)``.

    Raises:
        SpecError: They are not there, or there are several that would fit.
    """
    shapes = row_shapes(outputs, 2)
    if named is not None:
        scores, boxes = named
    else:
        fours = [n for n, s in shapes.items() if s[1] == 4]
        if len(fours) > 1:  # as many classes: the name tells, which is "boxes" or "pred_boxes"
            fours = [n for n in fours if "box" in n.lower()]
        others = [n for n in shapes if n not in fours]
        if len(fours) != 1 or len(others) != 1:
            raise wrong_layout(decoder, outputs, layout)
        (boxes,), (scores,) = fours, others
    if scores not in shapes or boxes not in shapes or shapes[boxes] != (shapes[scores][0], 4):
        told = f", called {scores} and {boxes}" if named else ""
        raise wrong_layout(decoder, outputs, layout + told)
    return scores, boxes


def promising(
    raw: NDArray[Any],
    activation: str,
    background: str,
    threshold: float,
    buffer: NDArray[np.float32],
) -> NDArray[np.intp]:
    """Lines of ``(N, C)`` that may reach the threshold, without the exponentials of all.

    With a background, softmax gives a class at most the sigmoid of what it is above it.

    Args:
        raw: Scores as the model gives them.
        activation: What makes them probabilities.
        background: Which class is the background, a key of `FOREGROUND`.
        threshold: Lowest score.
        buffer: ``(N,)``, overwritten.
    """
    if activation == "softmax" and background == "none":
        return np.arange(len(raw))
    best = raw[:, FOREGROUND[background]].max(axis=1, out=buffer)
    if activation == "none":
        return np.flatnonzero(best >= threshold)
    if activation == "softmax":
        with np.errstate(invalid="ignore"):  # what is not finite reaches no threshold
            best -= raw[:, 0 if background == "first" else -1]
    return np.flatnonzero(best >= logit(threshold) - _SLACK)


def probabilities(raw: NDArray[Any], activation: str) -> NDArray[np.float32]:
    """Scores in 0…1 from raw ones ``(N, C)``: a new array, float32."""
    values: NDArray[np.float32] = raw.astype(np.float32)
    if activation == "sigmoid":
        return sigmoid(values)
    if activation == "softmax" and values.size:
        with np.errstate(invalid="ignore"):  # NaN reaches no threshold
            values -= values.max(axis=1, keepdims=True)
        np.exp(values, out=values)
        values /= values.sum(axis=1, keepdims=True)
    return values


def pairs(
    scores: NDArray[np.float32],
    threshold: float,
    wanted: tuple[int, ...] | None,
    *,
    best_only: bool,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """What reaches the threshold in ``(N, C)``: its lines, classes and scores.

    Args:
        scores: In 0…1.
        threshold: Lowest score.
        wanted: Classes to keep, or None for all.
        best_only: A line counts for its best class only, else for every class that reaches it.
    """
    if best_only and scores.shape[1]:
        ids = scores.argmax(axis=1)
        values = scores[np.arange(len(ids)), ids]
        lines = np.flatnonzero(values >= threshold)
        ids, values = ids[lines], values[lines]
    else:
        lines, ids = (scores >= threshold).nonzero()
        values = scores[lines, ids]
    if wanted is not None:
        keep = np.isin(ids, wanted)
        lines, ids, values = lines[keep], ids[keep], values[keep]
    return lines, ids, values
