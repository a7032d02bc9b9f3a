"""Reads a classifier's output: one tensor of logits or probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._params import (
    check_class_count,
    choice,
    is_float,
    keywords,
    refuse_unknown,
    tensor_name,
    whole,
    wrong_layout,
)
from edgevision.geometry import Transform
from edgevision.results import Classification

__all__ = ["Softmax", "plugin"]

_NAME = "softmax"
_LAYOUT = "one floating point tensor (rows, classes), or with further sides of 1"


class Softmax:
    """``(rows, C)`` or ``(rows, C, 1, 1)`` → the best ``top_k`` classes.

    Values that are not finite are left out. Of equal values the lower class id comes first.

    Args:
        labels: The class names in the model's order, or nothing.
        top_k: How many classes a result holds.
        activation: ``softmax`` for logits, ``none`` where the model ends in a softmax of its own.
        outputs: Name of the output; needed only where several would fit.

    Raises:
        SpecError: A parameter is unknown or out of range.
    """

    def __init__(
        self,
        *,
        labels: tuple[str, ...] = (),
        top_k: int = 5,
        activation: str = "softmax",
        outputs: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown(_NAME, unknown, keywords(Softmax))
        self.labels = tuple(labels)
        self.score = 0.0  # the best classes are given, however unlikely
        self._top_k = whole("top_k", top_k, 1, 100_000)
        self._softmax = choice("activation", activation, ("softmax", "none")) == "softmax"
        self._output = tensor_name("outputs", outputs)
        self._seen: object = None
        self._values = self._sorted = np.empty(0, np.float32)
        self._mask = np.empty(0, np.bool_)

    def decode(
        self,
        outputs: Mapping[str, NDArray[Any]],
        row: int,
        transform: Transform,  # noqa: ARG002 - a class has no place in the picture
    ) -> Classification:
        """Decodes one row; see `edgevision.decoders.Decoder`."""
        tensor = self._find(outputs)
        if tensor.shape != self._seen:
            classes = int(np.prod(tensor.shape[1:]))
            check_class_count(_NAME, self.labels, classes, tensor.shape)
            self._values, self._sorted = np.empty((2, classes), np.float32)
            self._mask = np.empty(classes, np.bool_)
            self._seen = tensor.shape
        np.copyto(self._values, tensor[row].reshape(-1), casting="same_kind")
        return self._top(self._values)

    def _top(self, values: NDArray[np.float32]) -> Classification:
        """The best classes; changes ``values``."""
        finite = np.isfinite(values, out=self._mask)
        k = min(self._top_k, int(np.count_nonzero(finite)))
        np.logical_not(finite, out=finite)
        np.copyto(values, -np.inf, where=finite)
        best = self._best(values, k)
        if self._softmax and k:
            np.subtract(values, values[best[0]], out=values)
            np.exp(values, out=values)
            np.divide(values, values.sum(), out=values)
        return Classification(best.astype(np.int32), values[best], self.labels)

    def _best(self, values: NDArray[np.float32], k: int) -> NDArray[np.intp]:
        """Ids of the ``k`` best values; sorts only those, since sorting all allocates 20 KB."""
        if k == 0:
            return np.empty(0, np.intp)
        np.copyto(self._sorted, values)
        self._sorted.partition(-k)
        chosen = np.flatnonzero(np.greater_equal(values, self._sorted[-k], out=self._mask))
        # A stable sort of the negated values puts the lower id first among equals.
        return chosen[np.argsort(-values[chosen], kind="stable")[:k]]

    def _find(self, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        if self._output is None:
            fitting = [name for name, a in outputs.items() if _fits(a)]
            if len(fitting) != 1:
                raise wrong_layout(_NAME, outputs, _LAYOUT)
            self._output = fitting[0]
        tensor = outputs.get(self._output)
        if tensor is None or not _fits(tensor):
            raise wrong_layout(_NAME, outputs, f"{_LAYOUT}, called {self._output!r}")
        return tensor


plugin = Softmax


def _fits(array: NDArray[Any]) -> bool:
    flat = array.ndim >= 2 and array.shape[1] > 0 and all(side == 1 for side in array.shape[2:])
    return flat and is_float(array)
