"""The head of SSD: class scores, and boxes as offsets from prior boxes."""

from __future__ import annotations

import numpy as np

from edgevision.converters.bake.heads import Candidates, Head, corners, matrix, top
from edgevision.decoders import _priors
from edgevision.decoders._classes import FOREGROUND, scores_and_boxes

__all__ = ["ssd"]


def ssd(head: Head) -> Candidates:
    """See `edgevision.decoders.ssd.Ssd`: an anchor counts for every class that reaches the score."""
    builder, params = head.builder, head.params
    names = scores_and_boxes("ssd", head.outputs, params["outputs"], "scores and boxes")
    anchors, classes = head.outputs[names[0]].shape[-2:]
    scores = matrix(head, names[0])
    if params["activation"] != "none":
        kind = params["activation"].capitalize()
        axis = {"axis": 1} if kind == "Softmax" else {}
        scores = builder.add(kind, [scores], "probabilities", **axis)
    start, stop, _ = FOREGROUND[params["background"]].indices(classes)
    if (start, stop) != (0, classes):
        scores = builder.slice(scores, 1, start, stop, "foreground")
    classes = stop - start
    if head.wanted is not None:
        mask = np.isin(np.arange(classes), head.wanted).astype(np.float32)
        scores = builder.add("Mul", [scores, builder.constant(mask, "wanted")], "wanted_scores")
    flat = builder.add("Reshape", [scores, builder.whole([anchors * classes], "all")], "flat")
    count = min(head.most, anchors * classes)
    best, pairs = top(builder, flat, count)
    per_anchor = builder.whole(classes, "classes")
    chosen = builder.add("Div", [pairs, per_anchor], "anchor")
    ids = builder.add("Mod", [pairs, per_anchor], "class")
    boxes = builder.add("Gather", [matrix(head, names[1]), chosen], "lines", axis=0)
    return Candidates(best, ids, _boxes(head, boxes, chosen), count, classes)


def _boxes(head: Head, lines: str, chosen: str) -> str:
    """The model's four values of each candidate → left, top, right, bottom in tensor pixels."""
    builder, params = head.builder, head.params
    if params["order"] == "yx":
        order = builder.whole([1, 0, 3, 2], "x_first")
        lines = builder.add("Gather", [lines, order], "lines", axis=1)
    if params["boxes"] == "corners":
        height, width = head.tensor_hw
        sides = builder.constant(np.array([width, height] * 2, np.float32), "sides")
        return builder.add("Mul", [lines, sides], "boxes")
    levels = _priors.levels(params["levels"])
    priors = _priors.priors(levels, head.tensor_hw, clip=params["clip_priors"])
    table = builder.constant(np.ascontiguousarray(priors.T, np.float32), "priors")
    prior = builder.add("Gather", [table, chosen], "prior", axis=0)
    middle = builder.slice(prior, 1, 0, 2, "prior_centre")
    extent = builder.slice(prior, 1, 2, 4, "prior_size")
    v0, v1 = (builder.constant(np.float32(v), "variance") for v in params["variances"])
    offset = builder.add("Mul", [builder.slice(lines, 1, 0, 2, "offset"), v0], "offset")
    centres = builder.add("Add", [builder.add("Mul", [offset, extent], "shift"), middle], "centre")
    growth = builder.add("Mul", [builder.slice(lines, 1, 2, 4, "growth"), v1], "growth")
    sizes = builder.add("Mul", [builder.add("Exp", [growth], "factor"), extent], "size")
    return corners(builder, centres, sizes)
