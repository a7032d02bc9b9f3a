"""One frame on its way through the pipeline: its buffers, its submissions, its stamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgevision.backends import Slot
from edgevision.clock import STAGES, now_ns
from edgevision.frame import Frame, Image
from edgevision.geometry import Transform

__all__ = ["Run", "Work"]

_QUEUE, _H2D, _COMPUTE, _D2H = (STAGES.index(s) for s in ("queue", "h2d", "compute", "d2h"))
_VALUES = len(STAGES) + 1


@dataclass(slots=True)
class Run:
    """One submission: some regions of one frame in one slot, or several frames, one in each row.

    Attributes:
        slot: Where they were loaded.
        transforms: Of each row.
        works: The frames, if they are several; the first one has the run.
    """

    slot: Slot
    transforms: list[Transform]
    works: Sequence[Work] = ()


@dataclass(slots=True)
class Work:
    """One frame on its way; used again for later frames, so that nothing grows."""

    frame: Frame = field(default_factory=Frame)
    bgr: Image = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))
    runs: list[Run] = field(default_factory=list)
    parts: list[Any] = field(default_factory=list)
    started: int = 0
    mark: int = 0
    last: int = 0
    row: list[int] = field(default_factory=lambda: [0] * (_VALUES))

    def stamp(self, stage: int) -> None:
        """Adds the time since the last mark to a stage."""
        now = now_ns()
        self.row[stage] += now - self.mark
        self.last = now - self.mark
        self.mark = now

    def split(self, device_ns: tuple[int, int, int] | None) -> None:
        """Divides the wait that was stamped last into what a device says of it.

        What is left, the wait for the device to begin and for word of its end, is `queue`. Clocks differ: what
        the device says beyond the wait itself is cut off, so that the stages still add up.
        """
        if device_ns is None:
            return
        left = self.last
        for stage, told in zip(
            (_COMPUTE, _H2D, _D2H), (device_ns[1], device_ns[0], device_ns[2]), strict=True
        ):
            took = min(told, left)
            self.row[stage] += took
            left -= took
        self.row[_COMPUTE] -= self.last
        self.row[_QUEUE] += left
