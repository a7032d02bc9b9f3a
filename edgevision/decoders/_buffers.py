"""Memory that a decoder uses again for every frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Buffer"]


class Buffer:
    """Numbers of one dtype in a buffer that only grows; what it gives is valid until the next call."""

    def __init__(self, dtype: Any) -> None:
        self._numbers: NDArray[Any] = np.empty(0, dtype)

    def of(self, *shape: int) -> NDArray[Any]:
        """A part of the buffer in that shape, uninitialized."""
        count = math.prod(shape)
        if len(self._numbers) < count:
            self._numbers = np.empty(count, self._numbers.dtype)
        return self._numbers[:count].reshape(shape)

    def take(
        self, values: NDArray[Any], at: NDArray[np.integer[Any]], axis: int = 0
    ) -> NDArray[Any]:
        """What ``values.take(at, axis)`` gives, of the same dtype as the buffer."""
        shape = (*values.shape[:axis], len(at), *values.shape[axis + 1 :])
        # Without a mode, `take` with `out` would allocate a second buffer; the indices are fine.
        return values.take(at, axis, self.of(*shape), "clip")
