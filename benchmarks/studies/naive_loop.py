"""What a careful engineer writes by hand for NanoDet: OpenCV, numpy, onnxruntime, JSON lines. The studies' yardstick.

    python benchmarks/studies/naive_loop.py MODEL.onnx VIDEO OUT.jsonl LABELS.txt

It is kept free of edgevision on purpose, and of tricks: session options as they come, `session.run`,
normalization and decoding in numpy, `cv2.dnn.NMSBoxesBatched`. It prints the time of its first result, counted
from the start of the process, and its peak memory.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

MEAN = np.array([103.53, 116.28, 123.675], np.float32)
STD = np.array([57.375, 57.12, 58.395], np.float32)
SIZE, BINS = 416, 11


def preprocess(frame: np.ndarray) -> np.ndarray:
    resized = cv2.resize(frame, (SIZE, SIZE))
    normalized = (resized.astype(np.float32) - MEAN) / STD
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))[None]


def decode(outputs: list[np.ndarray], width: int, height: int, score: float, iou: float) -> tuple:
    boxes, scores, classes = [], [], []
    for stride in (8, 16, 32):
        side = SIZE // stride
        probabilities = next(o for o in outputs if o.shape[1:] == (side * side, 80))[0]
        bins = next(o for o in outputs if o.shape[1:] == (side * side, 4 * BINS))[0]
        best = probabilities.max(axis=1)
        keep = np.flatnonzero(best >= score)
        if keep.size == 0:
            continue
        logits = bins[keep].reshape(-1, 4, BINS)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        sides = (
            (weights / weights.sum(axis=2, keepdims=True))
            @ np.arange(BINS, dtype=np.float32)
            * stride
        )
        x, y = (keep % side + 0.5) * stride, (keep // side + 0.5) * stride
        boxes.append(
            np.stack([x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]], axis=1)
        )
        scores.append(best[keep])
        classes.append(probabilities[keep].argmax(axis=1))
    if not boxes:
        return np.empty((0, 4)), np.empty(0), np.empty(0, int)
    found, values, ids = np.concatenate(boxes), np.concatenate(scores), np.concatenate(classes)
    rectangles = np.concatenate([found[:, :2], found[:, 2:] - found[:, :2]], axis=1)
    kept = np.array(cv2.dnn.NMSBoxesBatched(rectangles, values, ids, score, iou), int).reshape(-1)
    found = found[kept] * np.array([width, height, width, height]) / SIZE
    return found.clip(0, [width, height, width, height]), values[kept], ids[kept]


def main() -> None:
    model, video, output, labels = sys.argv[1:5]
    names = Path(labels).read_text().split("\n")
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    capture = cv2.VideoCapture(video)
    first = None
    index = 0
    with Path(output).open("w") as lines:
        while True:
            fine, frame = capture.read()
            if not fine:
                break
            outputs = session.run(None, {name: preprocess(frame)})
            boxes, scores, ids = decode(outputs, frame.shape[1], frame.shape[0], 0.35, 0.5)
            found = [
                {
                    "box_xyxy": [round(float(v), 2) for v in box],
                    "score": round(float(score), 4),
                    "class_id": int(class_id),
                    "label": names[class_id],
                }
                for box, score, class_id in zip(boxes, scores, ids, strict=True)
            ]
            lines.write(json.dumps({"frame": index, "detections": found}) + "\n")
            if first is None:
                first = time.time()
                lines.flush()
            index += 1
    print(json.dumps({"frames": index, "first_result_at": first}))


if __name__ == "__main__":
    main()
