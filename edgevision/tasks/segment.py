"""Segmentation: which class each place of the picture shows."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision import draw
from edgevision.frame import Frame, Image
from edgevision.results import Segmentation
from edgevision.tasks._whole_frame import WholeFrame, only_part

__all__ = ["Segment", "plugin"]


class Segment(WholeFrame):
    """Looks at the whole frame; masks of several regions would lie on grids of their own."""

    def merge(
        self,
        parts: Sequence[Segmentation],
        frame: Frame,  # noqa: ARG002
    ) -> Segmentation:
        return only_part("segment", parts)

    def draw(self, image: Image, result: Segmentation) -> None:
        draw.segmentation(image, result)


plugin = Segment
