"""Classification: what a picture shows, best class first."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision import draw
from edgevision.frame import Frame, Image
from edgevision.results import Classification
from edgevision.tasks._whole_frame import WholeFrame, only_part

__all__ = ["Classify", "plugin"]


class Classify(WholeFrame):
    """Looks at the whole frame; a picture has one answer, so there is nothing to merge."""

    def merge(
        self,
        parts: Sequence[Classification],
        frame: Frame,  # noqa: ARG002
    ) -> Classification:
        return only_part("classify", parts)

    def draw(self, image: Image, result: Classification) -> None:
        draw.classification(image, result)


plugin = Classify
