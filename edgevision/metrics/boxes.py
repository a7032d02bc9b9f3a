"""How much boxes overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["iou_matrix"]


def iou_matrix(
    a_xyxy: NDArray[np.floating[Any]], b_xyxy: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Args:
        a_xyxy: ``(N, 4)`` left, top, right, bottom.
        b_xyxy: ``(M, 4)``.

    Returns:
        float64 ``(N, M)`` in 0…1; 0 wherever a box has no area or is not finite.
    """
    a, b = _clean(a_xyxy), _clean(b_xyxy)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    union = _area(a)[:, None] + _area(b)[None, :] - common
    iou: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou


def _clean(boxes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """A float64 copy in which every unusable box is empty."""
    clean = np.array(boxes, np.float64).reshape(-1, 4)
    fine = np.isfinite(clean).all(axis=1) & (clean[:, 2:] > clean[:, :2]).all(axis=1)
    clean[~fine] = 0
    return clean


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return area
