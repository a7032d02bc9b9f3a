"""SSD's prior boxes, generated from a few numbers a level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import SpecError

__all__ = ["Level", "levels", "priors"]

_KEYS = {"stride", "cells", "min_size", "max_size", "aspect_ratios", "boxes"}


@dataclass(frozen=True, slots=True)
class Level:
    """One feature map.

    Attributes:
        stride: Pixels a cell, or None where ``cells`` is given.
        cells: Rows and columns of the map, which then covers the tensor exactly.
        boxes: Widths and heights of a cell's priors in pixels, in the order of the anchors.
    """

    stride: float | None
    cells: tuple[int, int] | None
    boxes: tuple[tuple[float, float], ...]

    def grid(self, tensor_hw: tuple[int, int]) -> tuple[tuple[int, int], tuple[float, float]]:
        """Rows and columns of the map, and height and width of a cell in pixels."""
        if self.cells is not None:
            return self.cells, (tensor_hw[0] / self.cells[0], tensor_hw[1] / self.cells[1])
        assert self.stride is not None
        # Rounded up, as convolutions with stride and padding do.
        rows, columns = (math.ceil(side / self.stride - 1e-6) for side in tensor_hw)
        return (rows, columns), (self.stride, self.stride)


def priors(
    levels: tuple[Level, ...], tensor_hw: tuple[int, int], *, clip: bool
) -> NDArray[np.float64]:
    """Centre x, y, width, height ``(4, A)`` in tensor pixels, level by level, cell by cell.

    Args:
        levels: The feature maps.
        tensor_hw: Height and width of the tensor.
        clip: Each of the four values is cut to 0…the tensor's side, as ``clamp=True`` does in
            qfgaohao/pytorch-ssd.
    """
    parts = []
    for level in levels:
        (rows, columns), (height, width) = level.grid(tensor_hw)
        y, x = np.divmod(np.arange(rows * columns), columns)
        boxes = np.array(level.boxes).T
        part = np.empty((4, rows * columns, boxes.shape[1]))
        part[0], part[1] = ((x + 0.5) * width)[:, None], ((y + 0.5) * height)[:, None]
        part[2:] = boxes[:, None]
        parts.append(part.reshape(4, -1))
    planes: NDArray[np.float64] = np.concatenate(parts, axis=1)
    if clip:
        sides = np.array([tensor_hw[1], tensor_hw[0]] * 2, np.float64)[:, None]
        np.clip(planes, 0, sides, out=planes)
    return planes


def levels(value: object) -> tuple[Level, ...]:
    """The decoder's parameter ``levels``, checked."""
    if not isinstance(value, list | tuple) or not value:
        raise _unusable(value)
    return tuple(_level(one) for one in value)


def _level(value: Any) -> Level:
    if not isinstance(value, Mapping) or not set(value) <= _KEYS:
        raise _unusable(value)
    if ("stride" in value) == ("cells" in value) or ("boxes" in value) == ("min_size" in value):
        raise _unusable(value)
    try:
        stride = _positive(value["stride"]) if "stride" in value else None
        cells = _cells(value["cells"]) if "cells" in value else None
        if "boxes" in value:
            boxes = tuple((_positive(w), _positive(h)) for w, h in value["boxes"])
        else:
            boxes = _boxes(value["min_size"], value.get("max_size"), value.get("aspect_ratios", ()))
    except (TypeError, ValueError) as error:
        raise _unusable(value) from error
    if not boxes:
        raise _unusable(value)
    return Level(stride, cells, boxes)


def _boxes(low: object, high: object, ratios: Any) -> tuple[tuple[float, float], ...]:
    """Of SSD (Liu et al. 2016, arXiv:1512.02325): a square, one between it and the next, then each ratio."""
    small = _positive(low)
    boxes = [(small, small)]
    if high is not None:
        between = math.sqrt(small * _positive(high))
        boxes.append((between, between))
    for ratio in ratios:
        root = math.sqrt(_positive(ratio))
        boxes += [(small * root, small / root), (small / root, small * root)]
    return tuple(boxes)


def _cells(value: object) -> tuple[int, int]:
    pair = [value, value] if isinstance(value, int) else value
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise ValueError(value)
    if not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 4096 for n in pair):
        raise ValueError(value)
    return int(pair[0]), int(pair[1])


def _positive(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(value)
    if not 0 < value < math.inf:
        raise ValueError(value)
    return float(value)


def _unusable(value: object) -> SpecError:
    return SpecError(
        "the decoder's parameter 'levels' is not usable",
        received=repr(value)[:200],
        expected="a list of tables with stride or cells, and with min_size, max_size and aspect_ratios, "
        "or boxes [[width, height], …], all above 0",
        hint='such as {"stride": 16, "min_size": 60, "max_size": 105, "aspect_ratios": [2, 3]}',
    )
