"""A source that ends after so many frames."""

from __future__ import annotations

from edgevision.frame import Frame
from edgevision.sources import Source, SourceInfo

__all__ = ["Limited"]


class Limited:
    """Another source's first ``frames`` frames; all of them for None."""

    def __init__(self, source: Source, frames: int | None) -> None:
        self._source, self._left, self._most = source, frames, frames
        self.live, self.problems = source.live, source.problems

    def open(self) -> SourceInfo:
        info = self._source.open()
        self._left = self._most
        counts = [n for n in (info.frames, self._most) if n is not None]
        return SourceInfo(info.uri, info.width, info.height, info.fps, min(counts, default=None))

    def read(self, into: Frame) -> bool:
        if self._left is not None:
            if self._left == 0:
                return False
            self._left -= 1
        return self._source.read(into)

    def cancel(self) -> None:
        self._source.cancel()

    def close(self) -> None:
        self._source.close()
