"""Finds the few anchors whose best class reaches a threshold, in one pass over all scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._buffers import Buffer

__all__ = ["Best", "BestClass"]

#: Eight comparisons that are all true, read as one number.
_ALL_BELOW = np.full(8, True).view(np.uint64)[0]
#: With a larger share of all eights than this, a maximum over the classes is faster.
_FEW = 1 / 64


class Best(NamedTuple):
    """Anchors whose best class reaches the threshold; valid until the next call."""

    anchors: NDArray[np.intp]
    """``(N,)``: their positions, ascending."""
    ids: NDArray[np.intp]
    """``(N,)``: the best class; of equal ones the lowest."""
    scores: NDArray[Any]
    """``(N,)``: its score, in the dtype of the output; finite."""


class BestClass:
    """Looks for anchors in scores of one shape.

    A maximum over the classes, as it is usually taken, writes as much as it reads, and what it finds
    has to be gathered with all its classes. So scores are only compared with the threshold, and eight
    answers are looked at in one step. An anchor that has NaN among its scores reaches nothing.

    Args:
        classes: How many there are.
        anchors: How many there are.
        first: Scores are ``(classes, anchors)``, else ``(anchors, classes)``.
        dtype: Of the scores.
        wanted: Anchors whose best class is another are left out; None keeps all.
    """

    def __init__(
        self,
        classes: int,
        anchors: int,
        *,
        first: bool,
        dtype: np.dtype[Any],
        wanted: tuple[int, ...] | None,
    ) -> None:
        self._first = first
        count = classes * anchors
        # What fills up the last eight remains true.
        below: NDArray[np.bool_] = np.full(-(-count // 8) * 8, True)
        shape = (classes, anchors) if first else (anchors, classes)
        self._below: NDArray[np.bool_] = below[:count].reshape(shape)
        self._eights = below.view(np.uint64)
        self._some = np.empty(len(self._eights), np.bool_)
        self._above, self._places = Buffer(np.uint64), Buffer(np.intp)
        self._part, self._lines = Buffer(dtype), Buffer(dtype)
        self._found_ids, self._found_scores = Buffer(np.intp), Buffer(dtype)
        # Of each anchor; one more than there are, for what is of no interest.
        self._reached = np.zeros(anchors + 1, np.bool_)
        self._ids, self._best = np.empty(anchors + 1, np.intp), np.empty(anchors + 1, dtype)
        self._none = Best(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0, dtype))
        self._wanted = None if wanted is None else np.isin(np.arange(classes), wanted)

    def find(self, scores: NDArray[Any], threshold: float) -> Best:
        """Anchors in the scores of one picture."""
        np.less(scores, threshold, out=self._below)
        some = np.not_equal(self._eights, _ALL_BELOW, out=self._some).nonzero()[0]
        if len(some) == 0:
            return self._none
        few = len(some) <= _FEW * len(self._eights)
        found = self._of_few(some, scores) if few else self._of_all(scores, threshold)
        keep = found.scores < np.inf
        if self._wanted is not None:
            keep &= self._wanted[found.ids]
        # `all` and `any` allocate.
        everything = np.count_nonzero(keep) == len(keep)
        return found if everything else Best(*(values[keep] for values in found))

    def _of_few(self, some: NDArray[np.intp], scores: NDArray[Any]) -> Best:
        """From the positions of those eights in which not all is below the threshold."""
        at, lines, columns = self._find_places(some)
        whole = scores.flags.c_contiguous  # then the faster way needs no copy
        values = scores.reshape(-1).take(at) if whole else scores[lines, columns]
        np.copyto(values, np.inf, where=np.isnan(values))  # goes as the best of its anchor
        ids, anchors = (lines, columns) if self._first else (columns, lines)
        best = self._best
        best[anchors] = values
        # Where an anchor has several classes, until its best is there.
        while np.count_nonzero(more := values > (now := self._part.take(best, anchors))):
            best[anchors[more]] = values[more]
        np.putmask(anchors, values < now, len(best) - 1)
        self._ids[anchors] = ids  # of several the last remains
        self._reached[anchors] = True
        self._reached[-1] = False
        chosen = self._reached.nonzero()[0]
        self._reached[chosen] = False
        ids = self._found_ids.take(self._ids, chosen)
        return Best(chosen, ids, self._found_scores.take(best, chosen))

    def _find_places(self, some: NDArray[np.intp]) -> NDArray[np.intp]:
        """Positions, lines and columns ``(3, N)`` of the scores, from the last to the first."""
        above = self._above.take(self._eights, some).view(np.bool_)
        hits = np.logical_not(above, out=above).nonzero()[0][::-1]
        places = self._places.of(3, len(hits))
        at, lines, columns = places
        some.take(np.right_shift(hits, 3, out=lines), out=at, mode="clip")
        at <<= 3
        at += np.bitwise_and(hits, 7, out=lines)
        width = self._below.shape[1]
        np.floor_divide(at, width, out=lines)
        np.subtract(at, np.multiply(lines, width, out=columns), out=columns)
        return places

    def _of_all(self, scores: NDArray[Any], threshold: float) -> Best:
        """From the maximum of every anchor."""
        axis = 0 if self._first else 1
        best = scores.max(axis=axis, out=self._best[:-1])
        chosen = np.greater_equal(best, threshold, out=self._reached[:-1]).nonzero()[0]
        self._reached[chosen] = False
        part = self._part.take(scores, chosen, 1 - axis)
        lines = self._lines.of(len(chosen), scores.shape[axis])
        # `argmax` copies what is not contiguous along its axis, so that copy is made here.
        np.copyto(lines, part.T if self._first else part)
        ids = lines.argmax(axis=1, out=self._found_ids.of(len(chosen)))
        return Best(chosen, ids, self._found_scores.take(best, chosen))
