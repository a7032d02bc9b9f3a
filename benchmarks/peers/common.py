"""What loops written by hand for a YOLOv8-layout model share: letterbox, numpy decoding, OpenCV's NMS, JSON lines.

As in most published examples: no buffers kept, nothing clever. Free of edgevision on purpose.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import cv2
import numpy as np

SIZE = 640


class Call(NamedTuple):
    """How every peer is started: ``python with_….py MODEL CLIP OUTPUT SCORE IOU [OPTION…]``."""

    model: str
    clip: str
    output: Path
    score: float
    iou: float
    options: list[str]


def call() -> Call:
    model, clip, output, score, iou, *options = sys.argv[1:]
    return Call(model, clip, Path(output), float(score), float(iou), options)


def letterbox(frame: np.ndarray) -> np.ndarray:
    """uint8 ``(640, 640, 3)``: scaled to fit, grey around it."""
    height, width = frame.shape[:2]
    ratio = min(SIZE / height, SIZE / width)
    w, h = round(width * ratio), round(height * ratio)
    left, top = (SIZE - w) // 2, (SIZE - h) // 2
    resized = cv2.resize(frame, (w, h), interpolation=cv2.INTER_LINEAR)
    edges = top, SIZE - h - top, left, SIZE - w - left
    return cv2.copyMakeBorder(resized, *edges, cv2.BORDER_CONSTANT, value=(114, 114, 114))


def tensor(frame: np.ndarray) -> np.ndarray:
    """float32 ``(1, 3, 640, 640)``, red-green-blue in 0…1."""
    planes = letterbox(frame)[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(planes, dtype=np.float32)[None] / 255


def candidates(
    output: np.ndarray, frame: np.ndarray, score: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes ``(N, 4)`` as corners in the frame, scores and class ids of all anchors above a score."""
    rows = output[0].T
    scores, ids = rows[:, 4:].max(axis=1), rows[:, 4:].argmax(axis=1)
    keep = scores > score
    x, y, w, h = rows[keep, :4].T
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    height, width = frame.shape[:2]
    ratio = min(SIZE / height, SIZE / width)
    left, top = (SIZE - round(width * ratio)) // 2, (SIZE - round(height * ratio)) // 2
    boxes = (boxes - [left, top, left, top]) / ratio
    return boxes.clip(0, [width, height, width, height]), scores[keep], ids[keep]


def detections(
    output: np.ndarray, frame: np.ndarray, score: float, iou: float
) -> list[tuple[list[float], float, int]]:
    """Boxes as corners, scores and class ids that are left after suppression class by class."""
    boxes, scores, ids = candidates(output, frame, score)
    rectangles = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxesBatched(rectangles, scores, ids, score, iou)
    return [(boxes[i].tolist(), float(scores[i]), int(ids[i])) for i in kept]


def write_line(lines: TextIO, index: int, found: list[tuple[list[float], float, int]]) -> None:
    """One frame's result, at once."""
    rows: list[dict[str, Any]] = [
        {"box_xyxy": box, "score": score, "class_id": class_id} for box, score, class_id in found
    ]
    lines.write(json.dumps({"frame": index, "detections": rows}) + "\n")
    lines.flush()
