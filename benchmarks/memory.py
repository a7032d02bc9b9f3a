"""Frames that are in memory already: what is benchmarked when no source is named."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.bundle import Bundle
from edgevision.clock import now_ns
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.sources import SourceInfo

__all__ = ["MemorySource", "golden_source"]


class MemorySource:
    """Hands out the same pictures again and again, without an end and without copying them.

    A frame's ``image`` is a view that cannot be written to, so that nobody downstream changes what
    later queries will see.

    Args:
        images: At least one picture, uint8 ``(H, W, 3)`` BGR; not copied, not changed.
        uri: What to call this source.
    """

    live = False

    def __init__(self, images: Sequence[Image], uri: str = "memory://") -> None:
        self._images = [image.view() for image in images]
        for image in self._images:
            image.flags.writeable = False
        self._uri = uri
        self._index = 0
        self._cancelled = False
        self.problems: list[str] = []

    def open(self) -> SourceInfo:
        self._cancelled = False
        height, width = self._images[0].shape[:2]
        return SourceInfo(self._uri, width, height, 0.0, len(self._images))

    def read(self, into: Frame) -> bool:
        if self._cancelled:
            return False
        into.image = self._images[self._index % len(self._images)]
        into.format, into.index, into.pts_s, into.captured_ns = "bgr", self._index, 0.0, now_ns()
        self._index += 1
        return True

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        """Holds nothing that needs closing."""


def golden_source(bundle: Bundle) -> MemorySource:
    """The bundle's golden frames, from memory.

    Raises:
        UsageError: It has none.
    """
    from edgevision.golden import golden_frames

    images = golden_frames(bundle) if bundle.manifest else []
    if not images:
        raise UsageError(
            f"{bundle.path.name} brings no golden frames to be benchmarked on",
            expected="a SOURCE: a video, a folder of pictures, or synthetic://shapes",
            hint=f"edgevision bench {bundle.path} 'synthetic://shapes?size=1280x720'",
        )
    return MemorySource(images, f"memory://{bundle.name}/golden")
