"""The task seam: what the user asked for. Where to look in a frame, how parts merge, how a result is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from edgevision.frame import Frame, Image
from edgevision.geometry import Affine
from edgevision.results import Result

__all__ = ["Task"]


class Task(Protocol):
    """One instance a pipeline. A plug-in is one file with a class as ``plugin``, made without arguments."""

    def regions(self, frame: Frame, previous: Result | None) -> Sequence[Affine | None]:
        """Where to look; ``None`` is the whole frame."""
        ...

    def merge(self, parts: Sequence[Any], frame: Frame) -> Result:
        """One result from those of the regions, in their order."""
        ...

    def draw(self, image: Image, result: Any) -> None:
        """Draws a result into a picture, in place."""
        ...
