"""A camera over a belt with garments, and exactly where each of them is: ``synthetic://conveyor``.

Everything depends on the seed and the frame's index only, so any frame can be rendered alone. How hard it
is to see is said by the constants below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.frame import Image
from edgevision.sources._garments import CLASSES, Garments

__all__ = ["Conveyor", "Truth"]

#: Side of a garment's photograph at scale 1, and the scales that occur; parts of the frame's height.
SIDE, SCALES = 0.30, (0.6, 1.6)
#: Mean distance of one garment to the next along the belt, and its spread; parts of a side at scale 1.
DISTANCE, SPREAD = 0.62, 0.5
#: Garments lie across the belt between these parts of the frame's height, turned by up to so many degrees.
LANE, TURN = (0.22, 0.78), 25.0
#: The belt moves by this part of the frame's width a second.
SPEED = (0.20, 0.40)
#: Light changes slowly by up to ±40 %, and falls off towards one side.
LIGHT, FALL_OFF = 0.40, 0.15
#: The shutter is open for this part of a frame's time; the sensor's noise in grey values.
SHUTTER, NOISE = 0.5, 7.0


@dataclass(frozen=True)
class Truth:
    """What is in one frame: N garments, those on top last.

    Attributes:
        boxes_xyxy: float32 ``(N, 4)``: the visible part, in pixels.
        whole_xyxy: float32 ``(N, 4)``: as if nothing lay on top and the frame had no end.
        visible: float32 ``(N,)``: how much of the whole is seen, 0…1, never 0.
        class_ids: int32 ``(N,)``: index into `CLASSES`.
        track_ids: int32 ``(N,)``: the same garment has the same id in all frames.
        crossed: Ids of the garments whose centre passed the line in the frame's middle since the last frame.
    """

    boxes_xyxy: NDArray[np.float32]
    whole_xyxy: NDArray[np.float32]
    visible: NDArray[np.float32]
    class_ids: NDArray[np.int32]
    track_ids: NDArray[np.int32]
    crossed: tuple[int, ...]


@dataclass(frozen=True)
class _Item:
    """One garment: where on the belt, which, how large, how turned."""

    number: int
    along: float
    across: float
    photograph: int
    side: float
    turn: float
    tint: NDArray[np.float32]


class Conveyor:
    """One belt.

    Args:
        garments: What lies on it.
        seed: Everything random comes from it.
        width: Of the frames, pixels.
        height: Likewise.
        fps: Frames a second.
        side: Of a garment's photograph at scale 1, pixels; None is `SIDE` of the height.
        distance: Mean distance of one garment to the next, in such sides.
    """

    labels = CLASSES

    def __init__(
        self,
        garments: Garments,
        seed: int,
        width: int,
        height: int,
        fps: float = 30.0,
        side: float | None = None,
        distance: float = DISTANCE,
    ) -> None:
        self._garments, self._seed, self._size = garments, seed, (width, height)
        random = np.random.default_rng((seed, 0))
        self._unit = SIDE * height if side is None else side
        self._margin, self._pace = self._unit * SCALES[1], distance * self._unit
        self._speed = float(random.uniform(*SPEED)) * width / fps
        self._phase, self._period = random.uniform(0, 2 * math.pi), random.uniform(2, 5) * fps
        self._belt = _belt(random, width, height)
        self._noise = _noise(random, width, height)
        self._shade = _shade(random, width, height)
        self._items: dict[int, _Item] = {}

    def render(self, index: int, into: Image) -> None:
        """Draws a frame into uint8 ``(height, width, 3)`` BGR."""
        width, _ = self._size
        shift = int(self._speed * index) % width
        into[:, shift:], into[:, :shift] = (
            self._belt[:, : width - shift],
            self._belt[:, width - shift :],
        )
        for item in self._present(index):
            self._draw(into, item, index)
        length = 1 + round(SHUTTER * self._speed)
        if length > 1:
            cv2.blur(into, (length, 1), into)
        gain = 1 + LIGHT * math.sin(self._phase + 2 * math.pi * index / self._period)
        cv2.multiply(into, self._shade, into, gain / 255)
        x, y = np.random.default_rng((self._seed, 1, index)).integers(0, 64, 2)
        noise = self._noise[y : y + into.shape[0], x : x + into.shape[1]]
        cv2.addWeighted(into, 1, noise, 1, -128, into)

    def truth(self, index: int) -> Truth:
        """What is in a frame, from the outlines as they are before the shutter blurs them."""
        width, height = self._size
        hidden = np.zeros((height, width), np.bool_)
        rows = []
        for item in reversed(self._present(index)):
            outline, (left, top) = self._outline(item, index)
            whole = _bounds(outline)
            if whole is None:
                continue
            inside = _clip(outline.shape, left, top, self._size)
            shape, cover = outline[inside[0]], hidden[inside[1]]
            seen = _bounds(shape & ~cover)
            if seen is not None:
                part = float((shape & ~cover).sum() / outline.sum())
                corner = np.array([left, top, left, top], np.float32)
                rows.append((seen + np.maximum(corner, 0), whole + corner, part, item))
            cover |= shape
        return self._collected(rows[::-1], index)

    def _collected(
        self, rows: list[tuple[NDArray[np.float32], NDArray[np.float32], float, _Item]], index: int
    ) -> Truth:
        middle = self._size[0] / 2
        crossed = [
            item.number
            for item in self._present(index)
            if index and self._centre(item, index - 1)[0] < middle <= self._centre(item, index)[0]
        ]
        return Truth(
            np.array([r[0] for r in rows], np.float32).reshape(-1, 4),
            np.array([r[1] for r in rows], np.float32).reshape(-1, 4),
            np.array([r[2] for r in rows], np.float32),
            np.array([self._garments.labels[r[3].photograph] for r in rows], np.int32),
            np.array([r[3].number for r in rows], np.int32),
            tuple(crossed),
        )

    def _present(self, index: int) -> list[_Item]:
        """Garments of which something may be in the frame, the lowest first: later ones lie on top."""
        begin = self._speed * index
        first = max(0, math.floor((begin - self._margin) / self._pace) - 1)
        last = math.ceil((begin + self._size[0] + self._margin) / self._pace) + 1
        self._items = {n: self._items.get(n) or self._item(n) for n in range(first, last + 1)}
        return list(self._items.values())

    def _item(self, number: int) -> _Item:
        random = np.random.default_rng((self._seed, 2, number))
        return _Item(
            number,
            (number + random.uniform(-SPREAD, SPREAD)) * self._pace,
            float(random.uniform(*LANE)) * self._size[1],
            int(random.integers(len(self._garments))),
            float(random.uniform(*SCALES)) * self._unit,
            float(random.uniform(-TURN, TURN)),
            random.uniform(0.55, 1.0, 3).astype(np.float32),
        )

    def _centre(self, item: _Item, index: int) -> tuple[float, float]:
        return self._size[0] - item.along + self._speed * index, item.across

    def _placed(self, item: _Item, index: int) -> tuple[NDArray[np.float64], int, int, int]:
        """Matrix from the photograph to a square patch, the patch's side, and where its corner lies."""
        x, y = self._centre(item, index)
        side = math.ceil(item.side * 1.45) + 2
        left, top = math.floor(x - side / 2), math.floor(y - side / 2)
        matrix = cv2.getRotationMatrix2D((13.5, 13.5), item.turn, item.side / 28)
        matrix[:, 2] += (x - left - 13.5, y - top - 13.5)
        return matrix, side, left, top

    def _outline(self, item: _Item, index: int) -> tuple[NDArray[np.bool_], tuple[int, int]]:
        matrix, side, left, top = self._placed(item, index)
        mask = self._garments.pixels[item.photograph, ..., 1]
        return cv2.warpAffine(mask, matrix, (side, side), flags=cv2.INTER_LINEAR) >= 128, (
            left,
            top,
        )

    def _draw(self, into: Image, item: _Item, index: int) -> None:
        matrix, side, left, top = self._placed(item, index)
        patch, place = _clip((side, side), left, top, self._size)
        if into[place].size == 0:
            return
        warped = cv2.warpAffine(
            self._garments.pixels[item.photograph], matrix, (side, side), flags=cv2.INTER_LINEAR
        )[patch].astype(np.float32)
        alpha = warped[..., 1:] * (1 / 255)
        colour = (40 + warped[..., :1] * 0.84) * item.tint
        below = into[place]
        below[...] = below + (colour - below) * alpha


def _clip(
    shape: tuple[int, ...], left: int, top: int, size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a patch that lies in the frame: in the patch, and in the frame."""
    width, height = size
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = max(x0, min(left + shape[1], width)), max(y0, min(top + shape[0], height))
    patch = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    return patch, (slice(y0, y1), slice(x0, x1))


def _bounds(mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Left, top, right, bottom of what is set; None if nothing is."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(rows):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _belt(random: np.random.Generator, width: int, height: int) -> Image:
    """A dark, ribbed and stained band that repeats after the frame's width."""
    colour = random.uniform(35, 95) * random.uniform(0.8, 1.2, 3)
    coarse = random.normal(0, 1, (max(2, height // 40), max(2, width // 40))).astype(np.float32)
    stains = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 1.0)
    ribs = np.sin(np.arange(width) * (2 * math.pi * random.integers(20, 70) / width)).astype(
        np.float32
    )
    texture = 7 * stains + 14 * grain + random.uniform(3, 10) * ribs
    belt: Image = np.clip(colour + texture[..., None], 0, 255).astype(np.uint8)
    return belt


def _noise(random: np.random.Generator, width: int, height: int) -> Image:
    """Sensor noise around 128, larger than the frame: each frame takes another part of it."""
    values = random.normal(128, NOISE, (height + 64, width + 64, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _shade(random: np.random.Generator, width: int, height: int) -> Image:
    """How much light falls where: 255 in the middle, less to one side and more to the other, in 8 bits."""
    slope = random.uniform(-FALL_OFF, FALL_OFF)
    row = 255 / (1 + FALL_OFF) * (1 + np.linspace(-slope, slope, width))
    shade: Image = np.empty((height, width, 3), np.uint8)
    shade[...] = np.rint(row)[None, :, None]
    return shade
