"""The demo's belts: pictures for the conversion, and frames whose truth is known exactly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from edgevision.converters.calibration import Data, Part
from edgevision.frame import Image
from edgevision.metrics.truth import DetectionTruth
from edgevision.sources._conveyor import Conveyor, Truth
from edgevision.sources._garments import shipped

__all__ = ["FRAMES", "LEAST_VISIBLE", "SEEDS", "SIZE", "belt", "belt_data", "pictures", "wanted"]

#: Frames of the belt: width and height, pixels.
SIZE = 960, 540
#: One belt for each purpose; the detector was trained on others, and on other garments.
SEEDS = {"calibration": 11, "selection": 12, "proof": 13, "truth": 14}
#: Pictures of each belt for the conversion, and how many frames they are apart: neighbours look alike.
SAMPLES, APART = 60, 15
#: Frames of the belt with the truth.
FRAMES = 300
#: A garment that is seen less than this is neither asked for nor held against the detector.
LEAST_VISIBLE = 0.3


def belt(purpose: str) -> Conveyor:
    """The belt for a purpose of `SEEDS`."""
    return Conveyor(shipped(), SEEDS[purpose], *SIZE)


def pictures(purpose: str, count: int, apart: int = 1) -> Iterator[Image]:
    """Frames, uint8 ``(540, 960, 3)`` BGR, every ``apart``-th; one buffer, drawn anew for the next."""
    scene, image = belt(purpose), np.empty((*SIZE[::-1], 3), np.uint8)
    for number in range(count):
        scene.render(number * apart, image)
        yield image


def belt_data() -> Data:
    """Pictures to calibrate on, to choose a recipe by and to prove with: three belts."""
    calibration, selection, proof = (
        Part(purpose, SAMPLES, [], partial(pictures, purpose, SAMPLES, APART))
        for purpose in ("calibration", "selection", "proof")
    )
    for _ in calibration:  # its digest
        pass
    return Data("synthetic://conveyor", "belts", calibration, selection, proof, calibration.digest)


def wanted(truth: Truth) -> DetectionTruth:
    """What is to be found; what is hardly seen is left out of the count."""
    return DetectionTruth.of(truth.boxes_xyxy, truth.class_ids, truth.visible < LEAST_VISIBLE)
