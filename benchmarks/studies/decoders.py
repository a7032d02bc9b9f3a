"""Decode and NMS of one YOLOv8 output, 1×84×8400: the product against the common numpy way.

    python benchmarks/studies/decoders.py [--objects 60] [--rounds 61]

The common way is what most examples do: transpose, maximum over the classes, filter by the threshold,
xywh → xyxy, `cv2.dnn.NMSBoxes` with classes kept apart by an offset, scale to the frame and clip. The transpose
is either real (``copy``: `cv2.transpose`, `np.ascontiguousarray`) or only a view (``view``: `output[0].T`), which
numpy reads in the order of memory. All run on one core on the same outputs. Rounds alternate; quoted are
medians over rounds of a call's mean time, ratios of them, and whether all find the same boxes. The target: ≤ 1.2
ms with 60 objects, ≤ 0.3 ms empty, ratio ≥ 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from edgevision.decoders.yolov8 import YoloV8
from edgevision.geometry import Transform

CALLS = 20
SCORE, IOU = 0.25, 0.7
#: A 1280×720 frame, letterboxed to 640×640.
FRAME = Transform(np.array([[2.0, 0, 0], [0, 2.0, -280]]), 1280, 720, (640, 640))


def head(objects: int, classes: int = 80, anchors: int = 8400, seed: int = 0) -> np.ndarray:
    """Noise below the threshold, and for each object eight anchors that see it."""
    rng = np.random.default_rng(seed)
    out = rng.uniform(0, 0.05, (1, 4 + classes, anchors)).astype(np.float32)
    out[0, :4] = rng.uniform(10, 600, (4, anchors))
    at = rng.choice(anchors, (objects, 8), replace=False)
    for places in at:
        box = [*rng.uniform(160, 480, 2), *rng.uniform(20, 100, 2)]
        out[0, :4, places] = box + rng.normal(0, 1.5, (8, 4))
        out[0, 4 + rng.integers(classes), places] = rng.uniform(0.4, 0.95, 8)
    return out


def common(tensor: np.ndarray, copy: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and classes the common way."""
    rows = np.ascontiguousarray(tensor[0].T) if copy else tensor[0].T
    scores = rows[:, 4:].max(axis=1)
    keep = scores >= SCORE
    rows, scores = rows[keep], scores[keep]
    if len(rows) == 0:
        return np.empty((0, 4), np.float32), scores, np.empty(0, np.int64)
    ids = rows[:, 4:].argmax(axis=1)
    boxes = rows[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    rects = boxes.copy()
    rects[:, :2] += ids[:, None] * 7680
    kept = np.asarray(cv2.dnn.NMSBoxes(rects.tolist(), scores.tolist(), SCORE, IOU), np.intp)[:300]
    boxes = boxes[kept]
    boxes[:, 2:] += boxes[:, :2]
    boxes *= 2
    boxes[:, [1, 3]] -= 280
    boxes[:, [0, 2]] = boxes[:, [0, 2]].clip(0, 1280)
    boxes[:, [1, 3]] = boxes[:, [1, 3]].clip(0, 720)
    return boxes, scores[kept], ids[kept]


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=61)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    results = {}
    for name, objects in ((f"{arguments.objects} objects", arguments.objects), ("empty", 0)):
        outputs = {"output0": head(objects)}
        decoder = YoloV8(score=SCORE, iou=IOU)
        works = {
            "copy": partial(common, outputs["output0"], True),
            "view": partial(common, outputs["output0"], False),
            "edgevision": partial(decoder.decode, outputs, 0, FRAME),
        }
        (boxes, _, _), ours = works["copy"](), works["edgevision"]()
        same = len(ours) == len(boxes) and np.allclose(ours.boxes_xyxy, boxes, atol=0.01)
        for work in works.values():
            timed(work)
        rounds = [[timed(work) for work in works.values()] for _ in range(arguments.rounds)]
        copy, view, own = np.median(rounds, axis=0)
        results[name] = {
            "copy_ms": copy,
            "view_ms": view,
            "edgevision_ms": own,
            "ratio_to_copy": copy / own,
            "ratio_to_view": view / own,
            "same": bool(same),
        }
        if not arguments.json:
            print(
                f"{name:>11}: copy {copy:.3f} ms, view {view:.3f} ms, edgevision {own:.3f} ms, "
                f"ratios {copy / own:.2f} and {view / own:.2f}, {len(ours)} boxes, "
                f"{'the same' if same else 'NOT the same'}"
            )
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
