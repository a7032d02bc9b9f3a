"""Noise in place of pictures, for who asks for it: the ranges that it gives prove nothing, and every report says so."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from edgevision.converters.calibration import Data, Part
from edgevision.frame import Frame, Image
from edgevision.sources import make_source

__all__ = ["noise_data"]

_SEEDS = {"calibration": 1, "selection": 2, "proof": 3}
_SCENE = "synthetic://noise?seed={seed}&size=320x240&frames={count}"
#: One picture of noise is like another: more would only take longer.
_MOST = 50


def noise_data(samples: int) -> Data:
    """Three parts of seeded noise, the same every time.

    Args:
        samples: At most so many pictures a part; more than 50 are never made.
    """
    count = min(samples, _MOST)
    calibration, selection, proof = (
        Part(purpose, count, [], partial(_pictures, _SCENE.format(seed=seed, count=count)))
        for purpose, seed in _SEEDS.items()
    )
    for _ in calibration:  # its digest
        pass
    return Data("synthetic://noise", "noise", calibration, selection, proof, calibration.digest)


def _pictures(uri: str) -> Iterator[Image]:
    source, frame = make_source(uri), Frame()
    source.open()
    try:
        while source.read(frame):
            yield frame.image
    finally:
        source.close()
