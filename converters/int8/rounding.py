"""Round weights so that the layer's output errs least, not each weight by itself.

Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", 2023, arXiv:2210.17323; here per output channel, 8 bits, also for grouped
convolutions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevision.converters.int8.moments import Moments

__all__ = ["bias_shift", "round_nearest", "round_with_moments"]

Weights = NDArray[np.float32]

_DAMPING = 0.01  # of the mean diagonal; the paper's value
_BLOCK = 128  # columns between two updates of the remaining weights


def round_nearest(weights: Weights, scales: Weights, axis: int, limit: int) -> NDArray[np.int8]:
    """int8 weights in ±``limit`` by plain rounding; ``scales`` has one value per index of ``axis``."""
    shape = [1] * weights.ndim
    shape[axis] = -1
    steps = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
    integers: NDArray[np.int8] = steps.astype(np.int8)
    return integers


def round_with_moments(
    weights: Weights, scales: Weights, axis: int, moments: Moments, limit: int
) -> NDArray[np.int8]:
    """int8 weights whose summed error on the layer's real input is small.

    Columns are rounded one after the other, those with the strongest input first; what a column
    errs is made up for by the columns still to come, as far as their inputs correlate.

    Args:
        weights: Float weights; (out, in / groups, kernel…) for Conv, 2-D otherwise.
        scales: One per output channel.
        axis: The axis of output channels.
        moments: Second moments of the input, see `Moments`.
        limit: The largest magnitude of an integer.

    Returns:
        int8 weights in the shape of ``weights``. Plain rounding where the moments say nothing,
        and where they overflowed.
    """
    if not moments.finite:
        return round_nearest(weights, scales, axis, limit)
    groups, length = moments.mean.shape
    rows = np.moveaxis(weights, axis, 0)
    matrix = rows.reshape(groups, -1, length)
    steps = scales.reshape(groups, -1, 1)
    integers = np.empty(matrix.shape, np.int8)
    # One group at a time when the matrices are large, all at once for depthwise layers.
    chunk = max(1, (1 << 21) // (length * length))
    for start in range(0, groups, chunk):
        part = slice(start, start + chunk)
        integers[part] = _round(matrix[part], steps[part], moments.gram[part], limit)
    return np.ascontiguousarray(np.moveaxis(integers.reshape(rows.shape), 0, axis))


def bias_shift(
    weights: Weights, integers: NDArray[np.int8], scales: Weights, axis: int, moments: Moments
) -> NDArray[np.float64]:
    """What rounding took from each output channel on average: (W − scale·Wq)·E[x]."""
    groups, length = moments.mean.shape
    shape = [1] * weights.ndim
    shape[axis] = -1
    lost = weights.astype(np.float64) - integers * scales.astype(np.float64).reshape(shape)
    rows = np.moveaxis(lost, axis, 0).reshape(groups, -1, length)
    shift: NDArray[np.float64] = np.einsum("grk,gk->gr", rows, moments.mean).reshape(-1)
    return shift


def _round(
    matrix: NDArray[np.float32],
    steps: NDArray[np.float32],
    gram: NDArray[np.float32],
    limit: int,
) -> NDArray[np.int8]:
    """(groups, rows, K) weights to integers; ``gram`` is (groups, K, K)."""
    length = matrix.shape[-1]
    order = np.argsort(-np.diagonal(gram, axis1=1, axis2=2), axis=1, kind="stable")
    pick = order[:, None, :]
    work = np.take_along_axis(matrix, np.broadcast_to(pick, matrix.shape), axis=2)
    upper = _error_spread(gram, order)
    integers = np.empty(matrix.shape, np.int8)
    for start in range(0, length, _BLOCK):
        stop = min(start + _BLOCK, length)
        errors = np.empty((*work.shape[:2], stop - start), np.float32)
        for column in range(start, stop):
            value = work[:, :, column : column + 1]
            nearest = np.clip(np.rint(value / steps), -limit, limit)
            integers[:, :, column] = nearest[:, :, 0]
            error = (value - nearest * steps) / upper[:, column, column][:, None, None]
            errors[:, :, column - start] = error[:, :, 0]
            work[:, :, column:stop] -= error * upper[:, None, column, column:stop]
        work[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    result = np.empty_like(integers)
    np.put_along_axis(result, np.broadcast_to(pick, matrix.shape), integers, axis=2)
    return result


def _error_spread(gram: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.float32]:
    """U, upper, with UᵀU the inverse of the damped and sorted Gram matrix, per group.

    The Gram matrix is R·Rᵀ with R upper, so U = R⁻¹: one factorization, and nothing is inverted
    but a triangle. With the damping float32 is enough: its error, at most K·6e-8 of the mean
    diagonal, is far below 1 %. These are the largest arrays of a conversion, hence in place.
    """
    damping = _DAMPING
    while damping < 1e4:
        try:
            root = _damped_root(gram, order, damping)
            break
        except np.linalg.LinAlgError:  # few samples, or one input that dwarfs all others
            damping *= 10
    else:  # nothing can be learned from these moments
        return np.broadcast_to(np.eye(gram.shape[-1], dtype=np.float32), gram.shape)
    _invert_upper(root)
    return root


def _damped_root(
    gram: NDArray[np.float32], order: NDArray[np.int64], damping: float
) -> NDArray[np.float32]:
    """R, upper, with R·Rᵀ = H + damping: a Cholesky factor from the last row up."""
    length = gram.shape[-1]
    level = np.diagonal(gram, axis1=1, axis2=2).mean(axis=1, dtype=np.float64)
    level = np.where(level > 0, level, 1.0)
    flipped = np.empty_like(gram)
    for group, backwards in enumerate(order[:, ::-1]):
        flipped[group] = gram[group][np.ix_(backwards, backwards)]
    flipped[:, range(length), range(length)] += (damping * level)[:, None]
    root: NDArray[np.float32] = np.linalg.cholesky(flipped)
    return root[:, ::-1, ::-1]


def _invert_upper(matrix: NDArray[np.float32]) -> None:
    """Invert stacked upper triangles in place: [[A, B], [0, C]]⁻¹ = [[A⁻¹, −A⁻¹BC⁻¹], [0, C⁻¹]]."""
    length = matrix.shape[-1]
    if length <= _BLOCK:
        matrix[...] = np.triu(np.linalg.inv(matrix))
        return
    half = length // 2
    _invert_upper(matrix[:, :half, :half])
    _invert_upper(matrix[:, half:, half:])
    corner = matrix[:, :half, :half] @ matrix[:, :half, half:]
    matrix[:, :half, half:] = -(corner @ matrix[:, half:, half:])
