"""Run lengths: a picture of classes as the places where the class changes, column by column as COCO has it.

A mask of 256×256 pixels is 64 KiB, and its runs are mostly 4: they can be kept for every frame, and written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["counts_of", "expand", "mask_of", "runs_of"]


def runs_of(
    picture: NDArray[np.uint8], scratch: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Where each run of equal values begins, and the value.

    Args:
        picture: uint8 ``(height, width)``; column after column in memory it is read without a copy.
        scratch: bool ``(height · width − 1,)``, overwritten; saves making it.

    Returns:
        int32 and uint8 ``(R,)``, new; the first run begins at 0.
    """
    flat = picture.T.reshape(-1)
    changed = np.not_equal(flat[1:], flat[:-1], out=scratch)
    before = np.flatnonzero(changed)
    starts, values = np.zeros(len(before) + 1, np.int32), np.empty(len(before) + 1, np.uint8)
    starts[1:], values[:-1], values[-1] = before, flat[before], flat[-1]
    starts[1:] += 1
    return starts, values


def expand(
    starts: NDArray[np.int32], values: NDArray[np.uint8], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """A picture from its runs.

    Args:
        starts: int32 ``(R,)``: where each run begins, from 0, rising.
        values: uint8 ``(R,)``: what each run consists of.
        size: Height and width.

    Returns:
        uint8 ``(height, width)``, new, column after column in memory.
    """
    height, width = size
    lengths = np.diff(starts, append=np.int32(height * width))
    picture: NDArray[np.uint8] = np.repeat(values, lengths).reshape(width, height).T
    return picture


def counts_of(starts: NDArray[np.int32], shown: NDArray[np.bool_], pixels: int) -> list[int]:
    """COCO's uncompressed counts: how many pixels are not in the mask, how many then are, and so on.

    Args:
        starts: Where each run begins, from 0, rising.
        shown: bool ``(R,)``: which runs are in the mask; neighbours may be alike.
        pixels: Of the whole picture.
    """
    turns = np.flatnonzero(np.diff(shown, prepend=False))
    counts: list[int] = np.diff(starts[turns], prepend=0, append=pixels).tolist()
    return counts


def mask_of(counts: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The inverse of `counts_of`: bool ``(height, width)``, new.

    Raises:
        ValueError: The counts are those of a picture of another size.
    """
    height, width = size
    if sum(counts) != height * width:
        raise ValueError(f"the counts of {sum(counts)} pixels are not those of {height}×{width}")
    shown = np.arange(len(counts)) % 2 == 1
    mask: NDArray[np.bool_] = np.repeat(shown, counts).reshape(width, height).T
    return mask
