"""How far the masks of two variants cover each other: intersection over union (IoU), the mean over classes.

Pixels are added up over all pictures before they are divided, class by class, as in PASCAL VOC (Everingham
et al. 2010); a picture in which a class is small weighs little. Pixels of no class are no class of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.results import NOTHING, Segmentation

__all__ = ["MaskAgreement", "same_masks"]

_IDS = NOTHING + 1
#: The golden check lets through what differs in this share of the picture times the tolerance: the edge of
#: a small mask is most of it.
_SMALL = 0.02


class MaskAgreement:
    """Mean IoU over frames.

    Attributes:
        frames: Pictures added.
        samples: Those in which the reference shows any class.
    """

    metric = "miou"

    def __init__(self) -> None:
        self.frames = self.samples = 0
        self._both, self._ours, self._theirs = np.zeros((3, NOTHING), np.int64)

    @property
    def value(self) -> float:
        """Mean of the IoUs of all classes that either side shows; 1 when there is none."""
        found = self.per_class
        return sum(found.values()) / len(found) if found else 1.0

    @property
    def per_class(self) -> dict[int, float]:
        """Class id → IoU, of all classes that either side shows."""
        union = self._ours + self._theirs - self._both
        return {int(i): float(self._both[i] / union[i]) for i in np.flatnonzero(union)}

    def add(self, reference: Segmentation, candidate: Segmentation) -> None:
        """Adds one picture.

        Raises:
            ValueError: The masks are not of one size.
        """
        ours, theirs = _both_maps(reference, candidate)
        self.frames += 1
        self.samples += bool(len(reference))
        self._ours += _pixels(ours)
        self._theirs += _pixels(theirs)
        self._both += _pixels(ours[ours == theirs])

    def to_dict(self) -> dict[str, Any]:
        """Also ``iou``: class id → IoU."""
        return {
            "metric": self.metric,
            "value": self.value,
            "samples": self.samples,
            "frames": self.frames,
            "iou": {str(i): iou for i, iou in self.per_class.items()},
        }


def same_masks(reference: Segmentation, candidate: Segmentation, tolerance: float) -> list[str]:
    """The golden check: one line for each class whose mask differs from what was stored.

    Args:
        reference: What was stored.
        candidate: What was decoded now.
        tolerance: The IoU must be at least 1 less this (see `edgevision.golden.TOLERANCE`); of a class with
            less than a fiftieth of the picture so many pixels may differ as if it had that.
    """
    if reference.transform.tensor_hw != candidate.transform.tensor_hw:
        return [
            f"a mask of {candidate.transform.tensor_hw} where {reference.transform.tensor_hw} was expected"
        ]
    ours, theirs = _both_maps(reference, candidate)
    differences = []
    for class_id in sorted({*reference.found, *candidate.found}):
        then, now = ours == class_id, theirs == class_id
        union, differ = int(np.count_nonzero(then | now)), int(np.count_nonzero(then ^ now))
        if differ > tolerance * max(union, _SMALL * ours.size):
            iou = 1 - differ / union
            differences.append(
                f"{reference.label(class_id)}: IoU {iou:.3f}, at least {1 - tolerance:g} expected"
            )
    return differences


def _both_maps(
    reference: Segmentation, candidate: Segmentation
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    ours, theirs = reference.class_map(), candidate.class_map()
    if ours.shape != theirs.shape:
        raise ValueError(f"masks of {ours.shape} and {theirs.shape} cannot be compared")
    return ours, theirs


def _pixels(class_map: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels each class has."""
    return np.bincount(class_map.reshape(-1), minlength=_IDS)[:NOTHING].astype(np.int64)
