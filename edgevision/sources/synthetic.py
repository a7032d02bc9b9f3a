"""Frames without a camera: ``synthetic://noise``, ``shapes`` and ``conveyor``, the same for the same seed.

Arguments, after ``?`` and joined by ``&``: ``seed=1``, ``size=1280x720`` (width × height), ``frames=100``
(0 is endless), ``fps=30``. The frames come as fast as they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import cv2
import numpy as np

from edgevision.clock import now_ns
from edgevision.errors import UsageError
from edgevision.frame import Frame, Image
from edgevision.sources import SourceInfo

__all__ = ["SyntheticSource", "plugin"]

_DEFAULTS = {"seed": "0", "size": "640x480", "frames": "100", "fps": "30"}


class SyntheticSource:
    """Each frame depends on the seed and its index only."""

    live = False

    def __init__(self, uri: str) -> None:
        name, _, query = uri.partition("://")[2].partition("?")
        scene = _SCENES.get(name)
        given = dict(parse_qsl(query, keep_blank_values=True))
        if scene is None or not set(given) <= set(_DEFAULTS):
            raise UsageError(
                f"there is no synthetic source {uri!r}",
                expected=f"scenes {', '.join(_SCENES)}; arguments {', '.join(_DEFAULTS)}",
                hint="synthetic://noise?seed=1&size=1280x720&frames=100",
            )
        self._uri = uri
        values = _DEFAULTS | given
        try:
            self._seed, self._frames = int(values["seed"]), int(values["frames"])
            self._fps = float(values["fps"])
            self._width, self._height = (int(v) for v in values["size"].lower().split("x"))
        except ValueError as error:
            raise UsageError(
                f"an argument of {uri!r} is no number: {error}",
                expected="size=1280x720, whole numbers",
            ) from error
        if (
            min(self._width, self._height) < 1
            or max(self._width, self._height) > 16384
            or not 0 < self._fps < math.inf
            or self._seed < 0
            or self._frames < 0
        ):
            raise UsageError(
                f"an argument of {uri!r} is out of range",
                expected="sides of 1 to 16384, fps above 0, no negative number",
            )
        self._render = scene(self._seed, self._width, self._height, self._fps)
        self._index = 0
        self._cancelled = False
        self.problems: list[str] = []

    def open(self) -> SourceInfo:
        self._index, self._cancelled = 0, False
        return SourceInfo(self._uri, self._width, self._height, self._fps, self._frames or None)

    def read(self, into: Frame) -> bool:
        if self._cancelled or (self._frames and self._index >= self._frames):
            return False
        if into.image.shape != (self._height, self._width, 3):
            into.image = np.empty((self._height, self._width, 3), np.uint8)
        self._render(self._index, into.image)
        into.format, into.index, into.captured_ns = "bgr", self._index, now_ns()
        into.pts_s = self._index / self._fps
        self._index += 1
        return True

    def cancel(self) -> None:
        self._cancelled = True

    def close(self) -> None:
        """Holds nothing."""


plugin = SyntheticSource


#: Draws the frame of an index into uint8 ``(height, width, 3)``.
Render = Callable[[int, Image], None]


def _noise(seed: int, *_: Any) -> Render:
    """Every value independent and uniform: the worst case for codecs, and no picture for a model."""

    def render(index: int, image: Image) -> None:
        image[...] = np.random.default_rng((seed, index)).integers(0, 256, image.shape, np.uint8)

    return render


def _shapes(seed: int, *_: Any) -> Render:
    """Flat ellipses and rectangles that drift over a soft gradient: edges, colours and smooth areas."""
    return lambda index, image: _draw_shapes(image, seed, index)


def _conveyor(seed: int, width: int, height: int, fps: float) -> Render:
    """Garments on a belt; `edgevision.sources._conveyor.Conveyor` knows where each of them is."""
    from edgevision.sources._conveyor import Conveyor
    from edgevision.sources._garments import shipped

    return Conveyor(shipped(), seed, width, height, fps).render


def _draw_shapes(image: Image, seed: int, index: int) -> None:
    height, width = image.shape[:2]
    random = np.random.default_rng(seed)
    corners = random.integers(40, 216, (2, 2, 3)).astype(np.float32)
    image[...] = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    for number in range(12):
        centre = random.uniform(0, 1, 2) + index * random.uniform(-0.02, 0.02, 2)
        x, y = (int(v) for v in (centre % 1.0) * (width, height))
        half = random.uniform(0.02, 0.15, 2) * min(width, height)
        w, h = (max(1, int(v)) for v in half)
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        if number % 2:
            cv2.ellipse(
                image,
                (x, y),
                (w, h),
                float(random.uniform(0, 180)),
                0,
                360,
                colour,
                -1,
                cv2.LINE_AA,
            )
        else:
            cv2.rectangle(image, (x - w, y - h), (x + w, y + h), colour, -1)


_SCENES: dict[str, Callable[[int, int, int, float], Render]] = {
    "noise": _noise,
    "shapes": _shapes,
    "conveyor": _conveyor,
}
