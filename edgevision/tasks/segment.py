"""Segmentation: which class each place of the picture shows."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision import draw
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.geometry import Affine
from edgevision.results import Result, Segmentation

__all__ = ["Segment", "plugin"]


class Segment:
    """Looks at the whole frame; masks of several regions would lie on grids of their own."""

    def regions(
        self,
        frame: Frame,  # noqa: ARG002 - the whole frame, whatever it shows
        previous: Result | None,  # noqa: ARG002
    ) -> Sequence[Affine | None]:
        return (None,)

    def merge(
        self,
        parts: Sequence[Segmentation],
        frame: Frame,  # noqa: ARG002
    ) -> Segmentation:
        if len(parts) != 1:
            raise UsageError(
                "task 'segment' answers for one region of a frame",
                received=f"{len(parts)} results",
                expected="1",
            )
        return parts[0]

    def draw(self, image: Image, result: Segmentation) -> None:
        draw.segmentation(image, result)


plugin = Segment
