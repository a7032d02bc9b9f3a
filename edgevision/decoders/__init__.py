"""The decoder seam: output tensors of one row become a result in source pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from edgevision.geometry import Transform
from edgevision.results import Result

__all__ = ["Decoder"]


class Decoder(Protocol):
    """Stateless between frames; scratch buffers it may keep, so one thread uses it at a time.

    A plug-in is one file with a class as ``plugin``, made with the output spec's parameters as keywords:
    ``plugin(labels=("person", …), score=0.35, …)``. An unknown or wrong parameter is a `SpecError`.
    """

    labels: tuple[str, ...]
    score: float
    """Results below this score are left out; 0 if there is no such limit."""

    def decode(self, outputs: Mapping[str, NDArray[Any]], row: int, transform: Transform) -> Result:
        """Decodes one row of the outputs.

        The shapes are checked whenever they change, so a warm-up run finds a preset that does not fit.

        Raises:
            SpecError: The outputs are not of this decoder's layout, or the labels do not match the number of
                classes; the message lists the shapes that were seen.
        """
        ...
