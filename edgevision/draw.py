"""Draws results into pictures: readable from 320×240 to 4K, in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgevision.frame import Image
from edgevision.results import Classification, Detections, Keypoints, Segmentation

__all__ = ["classification", "colour", "detections", "drawable", "keypoints", "segmentation"]

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LONGEST_LABEL = 48
#: Pixels; OpenCV draws with 16 bits before and 16 behind the point.
_FAR = 32_000
#: Hues of neighbouring ids lie far apart: multiples of the golden ratio never come back to the same
#: place.
_GOLDEN = 0.6180339887498949
#: Points below are not drawn: Google's model card of MoveNet recommends it.
_SURE = 0.3
#: How much of a mask's colour is mixed into what it covers.
_TINT = 0.4
#: ITU-R BT.601 luma of blue, green and red.
_LUMA = (0.114, 0.587, 0.299)


def detections(image: Image, result: Detections) -> None:
    """Draws boxes with label and score, and landmarks as dots, in place; the best score on top.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        result: In pixels of ``image``; boxes that are not finite are left out.
    """
    style = _Style.of(image)
    for i in reversed(range(len(result))):
        if not np.isfinite(result.boxes_xyxy[i]).all():
            continue
        left, top, right, bottom = _corners(image, result.boxes_xyxy[i].tolist())
        shade = colour(int(result.class_ids[i]))
        cv2.rectangle(image, (left, top), (right, bottom), shade, style.line)
        if result.landmarks is not None:
            _dots(image, result.landmarks[i].tolist(), shade, style)
        text = f"{drawable(result.label(i))} {result.scores[i]:.2f}"
        _, height = style.measure(text)
        # Above the box, or inside it where the picture ends.
        _text(image, text, left, top - height if top >= height else top, shade, style)


def classification(image: Image, result: Classification) -> None:
    """Draws the classes, best first, as a panel in the top left corner, in place.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        result: What does not fit below each other in the picture is left out.
    """
    texts = [
        (int(result.class_ids[i]), f"{result.scores[i]:.2f} {drawable(result.label(i))}")
        for i in range(len(result))
    ]
    _panel(image, texts, _Style.of(image))


def keypoints(image: Image, result: Keypoints) -> None:
    """Draws the skeletons, and their boxes, in place; the best on top.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        result: In pixels of ``image``; points that score less than 0.3 and lines to them are left out.
    """
    style = _Style.of(image)
    for i in reversed(range(len(result))):
        shade = colour(i)
        if result.boxes_xyxy is not None and np.isfinite(result.boxes_xyxy[i]).all():
            left, top, right, bottom = _corners(image, result.boxes_xyxy[i].tolist())
            cv2.rectangle(image, (left, top), (right, bottom), shade, style.line)
        places = _within(result.points[i]).tolist()
        sure = (result.point_scores[i] >= _SURE).tolist()
        for a, b in result.skeleton.edges:
            if sure[a] and sure[b]:
                cv2.line(image, places[a], places[b], shade, style.line + 1, cv2.LINE_AA)
        _dots(image, [p for p, seen in zip(places, sure, strict=True) if seen], shade, style)


def segmentation(image: Image, result: Segmentation) -> None:
    """Tints what each class covers and draws its outline, in place, with a panel of names and shares.

    Args:
        image: uint8 ``(H, W, 3)`` BGR.
        result: Of a picture of that size.
    """
    style = _Style.of(image)
    for class_id in result.found:
        mask = result.mask(class_id).view(np.uint8)
        tinted = np.full_like(image, colour(class_id))
        cv2.addWeighted(tinted, _TINT, image, 1 - _TINT, 0, dst=tinted)
        cv2.copyTo(tinted, mask, image)
        outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, colour(class_id), style.line)
    texts = [(i, f"{drawable(result.label(i))} {result.share(i):.0%}") for i in result.found]
    _panel(image, texts, style)


def colour(class_id: int) -> Colour:
    """A class's colour, blue-green-red: always the same, and unlike those of neighbouring ids."""
    hue = (class_id * _GOLDEN) % 1.0
    # Two lightnesses in turn tell apart what colour alone would not.
    value = 255 if class_id % 2 == 0 else 200
    pixel = np.array([[[hue * 180, 220, value]]]).astype(np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


def drawable(label: str) -> str:
    """A label as OpenCV can draw it: printable ASCII, at most 48 characters.

    Control characters (line ends, terminal escapes) vanish, other characters become ``?``.
    """
    shown = (c if " " <= c <= "~" else "?" for c in label if c.isprintable())
    text = "".join(shown)
    return text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 3] + "..."


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes that suit a picture's size."""

    line: int
    font_scale: float
    font_line: int
    margin: int

    @classmethod
    def of(cls, image: Image) -> _Style:
        # 0.4 is the smallest font that can be read, and 1 suits 1080 lines; 4K gets 2.
        scale = min(max(min(image.shape[:2]) / 1080, 0.4), 4.0)
        return cls(
            line=max(1, round(3 * scale)),
            font_scale=scale,
            font_line=max(1, round(2 * scale)),
            margin=max(2, round(6 * scale)),
        )

    def measure(self, text: str) -> tuple[int, int]:
        """Width and height of the text with its background."""
        (width, height), below = cv2.getTextSize(text, _FONT, self.font_scale, self.font_line)
        return width + 2 * self.margin, height + below + self.margin


def _corners(image: Image, box: list[float]) -> tuple[int, int, int, int]:
    """The outermost pixels of a box, within the picture."""
    height, width = image.shape[:2]
    left, right = (min(max(round(v), 0), width - 1) for v in (box[0], box[2] - 1))
    top, bottom = (min(max(round(v), 0), height - 1) for v in (box[1], box[3] - 1))
    return left, top, max(left, right), max(top, bottom)


def _within(points: NDArray[np.float32]) -> NDArray[np.intp]:
    """The pixels of points that may lie far outside, where OpenCV's whole numbers would overflow."""
    return np.floor(np.clip(points, -_FAR, _FAR)).astype(np.intp)


def _panel(image: Image, texts: Sequence[tuple[int, str]], style: _Style) -> None:
    """Lines of text in the top left corner, each on its class's colour, as far as there is room."""
    y = 0
    for class_id, text in texts:
        _, height = style.measure(text)
        if y + height > image.shape[0] and y > 0:
            return
        _text(image, text, 0, y, colour(class_id), style)
        y += height


def _dots(image: Image, points: list[list[float]], shade: Colour, style: _Style) -> None:
    """A dot on each point within the picture, ringed so that it shows on any background."""
    height, width = image.shape[:2]
    for x, y in points:
        if 0 <= x < width and 0 <= y < height:  # false for NaN too
            cv2.circle(image, (int(x), int(y)), style.line + 1, _ink(shade), cv2.FILLED)
            cv2.circle(image, (int(x), int(y)), style.line, shade, cv2.FILLED)


def _text(image: Image, text: str, x: int, y: int, background: Colour, style: _Style) -> None:
    """Text on a background, moved so that it stays within the picture."""
    width, height = style.measure(text)
    x = max(0, min(x, image.shape[1] - width))
    y = max(0, min(y, image.shape[0] - height))
    cv2.rectangle(image, (x, y), (x + width - 1, y + height - 1), background, cv2.FILLED)
    _, below = cv2.getTextSize(text, _FONT, style.font_scale, style.font_line)[0:2]
    origin = (x + style.margin, y + height - below - style.margin // 2)
    ink = _ink(background)
    cv2.putText(image, text, origin, _FONT, style.font_scale, ink, style.font_line, cv2.LINE_AA)


def _ink(background: Colour) -> Colour:
    """Black or white, whichever stands out."""
    luma = sum(weight * value for weight, value in zip(_LUMA, background, strict=True))
    return (0, 0, 0) if luma > 127 else (255, 255, 255)
