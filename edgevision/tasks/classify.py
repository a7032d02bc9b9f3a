"""Classification: what a picture shows, best class first."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision import draw
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.geometry import Affine
from edgevision.results import Classification, Result

__all__ = ["Classify", "plugin"]


class Classify:
    """Looks at the whole frame; a picture has one answer, so there is nothing to merge."""

    def regions(
        self,
        frame: Frame,  # noqa: ARG002 - the whole frame, whatever it shows
        previous: Result | None,  # noqa: ARG002
    ) -> Sequence[Affine | None]:
        return (None,)

    def merge(
        self,
        parts: Sequence[Classification],
        frame: Frame,  # noqa: ARG002
    ) -> Classification:
        if len(parts) != 1:
            raise UsageError(
                "task 'classify' answers for one region of a frame",
                received=f"{len(parts)} results",
                expected="1",
            )
        return parts[0]

    def draw(self, image: Image, result: Classification) -> None:
        draw.classification(image, result)


plugin = Classify
