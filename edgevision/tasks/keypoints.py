"""Key points: where the joints of people are, or other named points of things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgevision import draw
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.results import Keypoints
from edgevision.tasks._whole_frame import WholeFrame

__all__ = ["FindKeypoints", "plugin"]


class FindKeypoints(WholeFrame):
    """Looks at the whole frame. Several regions show a person each, so nothing is suppressed between them."""

    def merge(
        self,
        parts: Sequence[Keypoints],
        frame: Frame,  # noqa: ARG002 - results are in its pixels already
    ) -> Keypoints:
        if not parts:
            raise UsageError(
                "task 'keypoints' looks at something in every frame",
                received="no region",
                expected="1 or more",
            )
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(-np.concatenate([part.scores for part in parts]), kind="stable")
        boxes = [part.boxes_xyxy for part in parts if part.boxes_xyxy is not None]
        return Keypoints(
            np.concatenate([part.points for part in parts])[order],
            np.concatenate([part.point_scores for part in parts])[order],
            np.concatenate([part.scores for part in parts])[order],
            parts[0].skeleton,
            np.concatenate(boxes)[order] if len(boxes) == len(parts) else None,
        )

    def draw(self, image: Image, result: Keypoints) -> None:
        draw.keypoints(image, result)


plugin = FindKeypoints
