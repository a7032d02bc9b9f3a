"""Finds a decoder's tensors among a model's outputs, with or without a dimension for the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.decoders._params import is_float, wrong_layout
from edgevision.errors import SpecError

__all__ = [
    "OneTensor",
    "channels_first",
    "grid",
    "logit",
    "names",
    "row_of",
    "row_shapes",
    "seen",
    "sigmoid",
]


class OneTensor:
    """The one output of a decoder that reads a single tensor.

    Args:
        decoder: The decoder's name, for messages.
        name: The output's name, or None for the only one that fits.
        layout: What is expected, for messages.
    """

    def __init__(self, decoder: str, name: str | None, layout: str) -> None:
        self._decoder, self._name, self._layout = decoder, name, layout

    def row(self, outputs: Mapping[str, NDArray[Any]], row: int) -> NDArray[Any]:
        """The row's values, two-dimensional; a view.

        Some exporters leave out the dimension of the rows when there is one row only.
        """
        tensor = outputs.get(self._name or self._only(outputs))
        if tensor is None or tensor.ndim not in (2, 3) or not is_float(tensor):
            raise wrong_layout(self._decoder, outputs, f"{self._layout}, called {self._name!r}")
        return row_of(tensor, row, 2)

    def name(self, outputs: Mapping[str, NDArray[Any]]) -> str:
        """What the output is called."""
        return self._name or self._only(outputs)

    def shape(self, outputs: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
        """The whole tensor's, for messages, once `row` has found it."""
        assert self._name is not None
        return outputs[self._name].shape

    def _only(self, outputs: Mapping[str, NDArray[Any]]) -> str:
        for dims in (3, 2):
            fitting = [n for n, a in outputs.items() if a.ndim == dims and is_float(a)]
            if len(fitting) == 1:
                self._name = fitting[0]
                return fitting[0]
            if fitting:
                break
        raise wrong_layout(self._decoder, outputs, self._layout)


def channels_first(
    decoder: str,
    shape: Sequence[int],
    channels: int | None,
    layout: str,
    outputs: Mapping[str, NDArray[Any]],
) -> bool:
    """Whether ``(channels, anchors)`` was seen, and not ``(anchors, channels)``.

    The known number of channels tells, else the larger of the two sides, which is the anchors'.
    """
    a, b = shape
    if channels is not None and (a == channels) != (b == channels):
        return a == channels
    if a == b:
        told = f"{layout}; in a square it cannot be told which"
        raise wrong_layout(decoder, outputs, told)
    return a < b


def grid(tensor_hw: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of a feature map."""
    # Rounded up, as convolutions with stride and padding do.
    return -(-tensor_hw[0] // stride), -(-tensor_hw[1] // stride)


def row_of(tensor: NDArray[Any], row: int, dims: int) -> NDArray[Any]:
    """One row's values of ``dims`` dimensions: a view of a tensor that has the rows' too, or not."""
    if tensor.ndim > dims:
        values: NDArray[Any] = tensor[row]
        return values
    if row != 0:
        raise SpecError(
            "the model's output has no dimension for the rows of a batch",
            received=f"row {row} of a tensor {tensor.shape}",
            expected=f"{dims + 1} dimensions",
            hint="run it with one row: --batch 1",
        )
    return tensor


def row_shapes(outputs: Mapping[str, NDArray[Any]], dims: int) -> dict[str, tuple[int, ...]]:
    """Shapes without the rows' dimension of all floating point tensors that have ``dims`` others."""
    return {
        name: a.shape[a.ndim - dims :]
        for name, a in outputs.items()
        if a.ndim in (dims, dims + 1) and is_float(a)
    }


def seen(outputs: Mapping[str, NDArray[Any]], tensor_hw: tuple[int, int]) -> object:
    """What a layout depends on; a decoder checks it again when this changes."""
    return (tensor_hw, *((n, a.shape, a.dtype) for n, a in outputs.items()))


def names(what: Sequence[str], value: object) -> tuple[str, ...] | None:
    """The parameter ``outputs`` of a decoder of several tensors: their names in a fixed order."""
    if value is None:
        return None
    fine = (
        isinstance(value, list | tuple)
        and len(value) == len(what) == len(set(value))
        and all(isinstance(name, str) and name for name in value)
    )
    if not fine:
        raise SpecError(
            "the decoder's parameter 'outputs' is not usable",
            received=repr(value)[:200],
            expected=f"the names of {len(what)} outputs: {', '.join(what)}",
        )
    return tuple(value)  # type: ignore[arg-type]


def logit(p: float) -> float:
    """The inverse of the sigmoid; −∞ for 0, ∞ for 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(p) - np.log1p(-p))


def sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """In place; large negative values give 0 without a warning."""
    with np.errstate(over="ignore"):
        np.negative(values, out=values)
        np.exp(values, out=values)
        values += 1
        return np.reciprocal(values, out=values)
