"""The source that the pipeline sees: the real one, opened again and again until the run is over."""

from __future__ import annotations

from collections import deque

from edgevision.benchmarks.scenarios.measurement import MakeSource
from edgevision.benchmarks.terms import Terms
from edgevision.errors import EdgevisionError
from edgevision.frame import Frame
from edgevision.model import Model, opened
from edgevision.sources import Source

__all__ = ["Feed", "passes"]


class Feed:
    """Hands out the frames of an open source while the terms let it; one frame is one query.

    Attributes:
        passes: How often a source was opened.
        frames: How many frames the one that is open has given.
        longest: The most that one of them gave.
        total: All together.
        problems: What they had to say, each thing once.
    """

    live = False

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.passes = self.frames = self.longest = self.total = 0
        self.problems: list[str] = []
        self._source: Source | None = None

    def use(self, source: Source) -> None:
        """From here on the frames come from this source, which is open."""
        self._source = source
        self.passes += 1
        self.frames = 0
        self.resumed(self.terms.resume())

    def resumed(self, stood_ns: int) -> None:
        """The source was opened again, for which time stood still."""

    def read(self, into: Frame) -> bool:
        if not self.terms.may_begin() or not self._read(into):
            return False
        self.terms.begun()
        return True

    def _read(self, into: Frame) -> bool:
        if self._source is None or not self._source.read(into):
            return False
        self.frames += 1
        self.total += 1
        self.longest = max(self.longest, self.frames)
        return True


def passes(model: Model, make_source: MakeSource, feed: Feed) -> EdgevisionError | str | None:
    """Runs the source to its end, again and again, until the run is over; returns what failed."""
    try:
        while not feed.terms.over:
            with opened(make_source()) as (source, _):
                feed.use(source)
                try:
                    deque(model.pipeline.stream(feed), maxlen=0)
                finally:
                    feed.terms.pause()
                    feed.problems = list(dict.fromkeys([*feed.problems, *source.problems]))
            if not feed.frames and not feed.terms.over:
                return "the source gave no frame when it was opened again"
    except EdgevisionError as error:
        return error
    return None
