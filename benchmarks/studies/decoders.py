"""Decode and NMS of one YOLOv8 output, 1×84×8400: the product against two common numpy ways.

    python benchmarks/studies/decoders.py [--objects 60] [--rounds 61]

Both ways are what most examples do: transpose, maximum over the classes, filter by the threshold, xywh →
xyxy, `cv2.dnn.NMSBoxes` with classes kept apart by an offset, scale to the frame and clip. In one the
transpose is real (``copy``: `np.ascontiguousarray(output[0].T)`), in the other it is a view (``view``:
`output[0].T`), which numpy reads in the order of memory; the view is the harder one to beat.

Three scenes, in each of which eight anchors see an object: ``many classes`` (any of the 80, as COCO's
labels are dealt to objects by chance), ``one class``, and nothing at all. In each, three states of the
caches: ``hot`` (the same call after call), ``fresh`` (64 MB of other memory was used and the output then written,
much as after an inference) and ``cold`` (the same, but the output was not touched since).

All run on one core on the same output, in turns of 20 calls (hot) or of one. Quoted are medians of the
calls, ratios of those medians, and whether all find the same boxes. The target, hot and with many classes:
≤ 1.2 ms with 60 objects, ≤ 0.3 ms empty, ratio ≥ 1.5 to both ways with objects.
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

SCORE, IOU = 0.25, 0.7
#: A 1280×720 frame, letterboxed to 640×640.
FRAME = Transform(np.array([[2.0, 0, 0], [0, 2.0, -280]]), 1280, 720, (640, 640))
STATES = ("hot", "fresh", "cold")


def head(
    objects: int, seen: int = 80, classes: int = 80, anchors: int = 8400, seed: int = 0
) -> np.ndarray:
    """Noise below the threshold, and for each object, of one of ``seen`` classes, eight anchors."""
    rng = np.random.default_rng(seed)
    out = rng.uniform(0, 0.05, (1, 4 + classes, anchors)).astype(np.float32)
    out[0, :4] = rng.uniform(10, 600, (4, anchors))
    at = rng.choice(anchors, (objects, 8), replace=False)
    for places in at:
        box = [*rng.uniform(160, 480, 2), *rng.uniform(20, 100, 2)]
        out[0, :4, places] = box + rng.normal(0, 1.5, (8, 4))
        out[0, 4 + rng.integers(seen), places] = rng.uniform(0.4, 0.95, 8)
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


def timed(work: Callable[[], object], before: Callable[[], None], calls: int) -> list[float]:
    """Milliseconds of each call."""
    samples = []
    for _ in range(calls):
        before()
        started = time.perf_counter()
        work()
        samples.append((time.perf_counter() - started) * 1000)
    return samples


def medians(
    works: dict[str, Callable[[], object]], before: Callable[[], None], calls: int, rounds: int
) -> dict[str, float]:
    """Median milliseconds of a call, the works taking turns; the first round does not count."""
    samples: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            samples[name] += timed(work, before, calls)[: calls if turn else 0]
    return {f"{name}_ms": float(np.median(values)) for name, values in samples.items()}


def preparation(state: str, output: np.ndarray) -> Callable[[], None]:
    """What happens before each call."""
    other, source = np.zeros(64 << 20, np.uint8), output.copy()

    def prepare() -> None:
        if state != "hot":
            np.add(other, 1, out=other)
        if state == "fresh":
            np.copyto(output, source)

    return prepare


def measure(output: np.ndarray, rounds: int) -> dict[str, object]:
    """All states of one scene."""
    outputs, decoder = {"output0": output}, YoloV8(score=SCORE, iou=IOU)
    works: dict[str, Callable[[], object]] = {
        "copy": partial(common, output, True),
        "view": partial(common, output, False),
        "edgevision": partial(decoder.decode, outputs, 0, FRAME),
    }
    (boxes, scores, ids), ours = common(output, False), decoder.decode(outputs, 0, FRAME)
    same = (
        len(ours) == len(boxes)
        and np.allclose(ours.boxes_xyxy, boxes, atol=0.01)
        and np.array_equal(ours.scores, scores)
        and np.array_equal(ours.class_ids, ids)
    )
    result: dict[str, object] = {"boxes": len(ours), "same": bool(same)}
    for state in STATES:
        ms = medians(works, preparation(state, output), 20 if state == "hot" else 1, rounds)
        own = ms["edgevision_ms"]
        result[state] = {**ms, **{f"ratio_to_{w}": ms[f"{w}_ms"] / own for w in ("copy", "view")}}
    return result


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
    n = arguments.objects
    scenes = {
        f"{n} objects of many classes": head(n),
        f"{n} objects of one class": head(n, seen=1),
        "nothing": head(0),
    }
    results = {name: measure(output, arguments.rounds) for name, output in scenes.items()}
    if arguments.json:
        print(json.dumps(results))
        return
    for name, result in results.items():
        print(
            f"{name}: {result['boxes']} boxes, {'the same' if result['same'] else 'NOT THE SAME'}"
        )
        for state in STATES:
            values = "  ".join(f"{key} {value:.3f}" for key, value in result[state].items())  # type: ignore[attr-defined]
            print(f"  {state:5} {values}")


if __name__ == "__main__":
    main()
