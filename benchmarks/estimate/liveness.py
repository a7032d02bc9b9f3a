"""How much memory a network's tensors need at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

__all__ = ["peak_bytes"]


def peak_bytes(lives: Iterable[tuple[int, int, int]]) -> int:
    """The most that is alive at one step.

    Args:
        lives: ``(first, last, bytes)`` of each tensor: the steps between which it is needed, both included.
    """
    change: dict[int, int] = defaultdict(int)
    for first, last, size in lives:
        change[first] += size
        change[last + 1] -= size
    return max(accumulate(change[step] for step in sorted(change)), default=0)
