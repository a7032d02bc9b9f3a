"""Garments for the belt: grey photographs of 28×28 pixels from Fashion-MNIST, cut out of their background."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.assets import SPRITES
from edgevision.errors import DataError
from edgevision.frame import Image

__all__ = ["CLASSES", "SIDE", "Garments", "from_idx", "shipped"]

#: In the order of Fashion-MNIST's labels (github.com/zalandoresearch/fashion-mnist, MIT licence).
CLASSES = (
    *("t-shirt", "trousers", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
SIDE = 28
#: Darker pixels are background, unless garment lies all around them.
_BACKGROUND = 12


@dataclass(frozen=True)
class Garments:
    """Photographs with their outlines.

    Attributes:
        pixels: uint8 ``(N, 28, 28, 2)``: grey value, and how much of the pixel is garment.
        labels: uint8 ``(N,)``: index into `CLASSES`.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)


@cache
def shipped() -> Garments:
    """The sheet in the package: as many of each class, in the classes' order, all from the *test* set."""
    sheet: Any = cv2.imdecode(np.fromfile(SPRITES, np.uint8), cv2.IMREAD_GRAYSCALE)
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    tiles = sheet.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE, SIDE)
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.uint8), len(tiles) // len(CLASSES))
    return _cut_out(tiles, labels)


def from_idx(images: Path, labels: Path) -> Garments:
    """Garments from the data set's own files, ``…-images-idx3-ubyte.gz`` and ``…-labels-idx1-ubyte.gz``.

    Raises:
        DataError: They cannot be read or do not belong together.
    """
    pixels, classes = _idx(images, 16), _idx(labels, 8)
    if len(pixels) != len(classes) * SIDE * SIDE or not len(classes):
        raise DataError(
            f"{images.name} and {labels.name} do not belong together",
            received=f"{len(pixels)} pixels, {len(classes)} labels",
            expected=f"{SIDE}×{SIDE} pixels for each label",
        )
    return _cut_out(pixels.reshape(-1, SIDE, SIDE), classes)


def _idx(path: Path, header: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) as file:
            return np.frombuffer(file.read()[header:], np.uint8)
    except (OSError, EOFError) as error:
        raise DataError(
            f"{path} cannot be read: {error}",
            expected="a file of Fashion-MNIST",
            hint="on Debian: apt install dataset-fashion-mnist",
        ) from error


def _cut_out(tiles: Image, labels: NDArray[Any]) -> Garments:
    pixels = np.empty((*tiles.shape, 2), np.uint8)
    pixels[..., 0] = tiles
    for tile, outline in zip(tiles, pixels[..., 1], strict=True):
        shape = (tile > _BACKGROUND).astype(np.uint8)
        contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(shape), contours, -1, 255, cv2.FILLED)
        outline[...] = filled
    return Garments(pixels, np.asarray(labels, np.uint8))
