"""Which frames cameras lost, and when: counts in bins, of which there are never many, however long the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_BINS", "Losses", "Lost"]

#: Bins of one camera: when they are used up, two become one.
MOST_BINS = 128
#: A bin is at least so long, and holds so many frames: shares of fewer would be coarse.
_LEAST_NS, _LEAST_FRAMES = 100_000_000, 5


@dataclass(frozen=True, slots=True)
class Lost:
    """What cameras lost in a stretch of time, one entry a camera.

    Attributes:
        replaced: Frames that were read, and that newer ones replaced before anybody took them.
        unread: Frames that were not read, because reading the one before was not done in time.
        began_ns: Where the first bin begins, monotonic.
        bin_ns: Length of a bin.
        dropped: Frames of both kinds, by the bin in which they were due; each camera has as many bins.
    """

    replaced: tuple[int, ...]
    unread: tuple[int, ...]
    began_ns: int
    bin_ns: int
    dropped: tuple[tuple[int, ...], ...]

    def over_time(
        self, due_ns: NDArray[np.int64], cameras: NDArray[np.int64], origin_ns: int
    ) -> dict[str, Any]:
        """The record's ``camera.over_time``: what became of each camera's frames, by when they were due.

        Args:
            due_ns: int64 ``(results,)``: when each result's frame was due, monotonic.
            cameras: int64 ``(results,)``: which camera gave it.
            origin_ns: Where the record's times begin, monotonic.
        """
        count = len(self.dropped[0])
        # What waited when counting began was due before that: it belongs to the first bin.
        bins = np.clip((due_ns - self.began_ns) // self.bin_ns, 0, count - 1)
        return {
            "begin_s": round((self.began_ns - origin_ns) / 1e9, 6),
            "bin_s": self.bin_ns / 1e9,
            "per_camera": [
                {
                    "results": np.bincount(bins[cameras == camera], minlength=count).tolist(),
                    "dropped": list(lost),
                }
                for camera, lost in enumerate(self.dropped)
            ],
        }


class Losses:
    """Counts what cameras lose. It has no lock of its own.

    Args:
        cameras: How many.
        period_ns: Between two frames of one camera.
    """

    def __init__(self, cameras: int, period_ns: float) -> None:
        self._cameras, self._least_ns = cameras, _LEAST_NS
        while self._least_ns < _LEAST_FRAMES * period_ns:
            self._least_ns *= 2
        self.begin(0)

    def begin(self, now_ns: int) -> None:
        """Counts from now on; what was lost before is forgotten."""
        self._began_ns, self._bin_ns = now_ns, self._least_ns
        self._replaced, self._unread = [0] * self._cameras, [0] * self._cameras
        self._dropped = [[0] * MOST_BINS for _ in range(self._cameras)]

    def replaced(self, camera: int, due_ns: int) -> None:
        """A camera's frame that was due then was replaced by a newer one."""
        self._replaced[camera] += 1
        self._drop(camera, due_ns)

    def unread(self, camera: int, dues_ns: Sequence[int]) -> None:
        """A camera's frames that were due then were not read."""
        self._unread[camera] += len(dues_ns)
        for due_ns in dues_ns:
            self._drop(camera, due_ns)

    def until(self, now_ns: int) -> Lost:
        """What was lost since `begin`."""
        count = self._bin(now_ns) + 1
        return Lost(
            tuple(self._replaced),
            tuple(self._unread),
            self._began_ns,
            self._bin_ns,
            tuple(tuple(one[:count]) for one in self._dropped),
        )

    def _drop(self, camera: int, due_ns: int) -> None:
        place = self._bin(due_ns)  # before the list is taken: it may be made anew
        self._dropped[camera][place] += 1

    def _bin(self, at_ns: int) -> int:
        """The bin of that time; bins are made longer until there is one."""
        since = max(0, at_ns - self._began_ns)
        while since >= MOST_BINS * self._bin_ns:
            self._bin_ns *= 2
            self._dropped = [
                [*map(sum, zip(one[::2], one[1::2], strict=True)), *[0] * (MOST_BINS // 2)]
                for one in self._dropped
            ]
        return since // self._bin_ns
