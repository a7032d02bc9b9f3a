"""The stage seam: something with memory of one source, such as a tracker."""

from __future__ import annotations

from typing import Protocol

from edgevision.frame import Frame
from edgevision.results import Result

__all__ = ["Stage"]


class Stage(Protocol):
    """One instance a source. A plug-in is one file with a class as ``plugin``."""

    def update(self, frame: Frame, result: Result) -> Result:
        """The result, with what this stage knows added."""
        ...

    def reset(self) -> None:
        """Forgets everything: the source starts anew."""
        ...
