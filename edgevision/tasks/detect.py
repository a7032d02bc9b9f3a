"""Detection: boxes with a class and a score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevision import draw
from edgevision.decoders._nms import nms
from edgevision.frame import Frame, Image
from edgevision.results import Detections
from edgevision.tasks._whole_frame import WholeFrame

__all__ = ["Detect", "plugin"]

#: Overlap above which two regions are taken to show the same object: half, as in PASCAL VOC's
#: matching rule.
_SAME_OBJECT_IOU = 0.5


class Detect(WholeFrame):
    """Looks at the whole frame; several regions are merged by class-aware suppression."""

    def merge(
        self,
        parts: Sequence[Detections],
        frame: Frame,  # noqa: ARG002 - results are in its pixels already
    ) -> Detections:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Detections.empty()
        together = Detections(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.class_ids for part in parts]),
            parts[0].labels,
            _joined([part.landmarks for part in parts]),
        )
        count = len(together)
        keep = nms(
            together.boxes_xyxy,
            together.scores,
            together.class_ids,
            iou=_SAME_OBJECT_IOU,
            max_detections=count,
            max_candidates=max(1, count),
        )
        return together.select(keep)

    def draw(self, image: Image, result: Detections) -> None:
        draw.detections(image, result)


def _joined(parts: Sequence[NDArray[np.float32] | None]) -> NDArray[np.float32] | None:
    """Landmarks of all parts; None where the model has none."""
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if len(given) == len(parts) else None


plugin = Detect
