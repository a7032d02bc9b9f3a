"""Pre-processing a 1080p frame to a 640 letterbox, float32 NCHW RGB: the product against the common numpy way.

    python benchmarks/studies/preprocess.py [--threads 1]

The common way is what most examples do: resize, copyMakeBorder, reverse the channels, transpose,
ascontiguousarray, astype(float32) / 255. Rounds alternate; quoted are medians, their ratio, and the largest
difference between the two tensors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec

ROUNDS, CALLS = 41, 20


def common(frame: np.ndarray, size: int = 640) -> np.ndarray:
    height, width = frame.shape[:2]
    ratio = min(size / height, size / width)
    new = round(width * ratio), round(height * ratio)
    resized = cv2.resize(frame, new, interpolation=cv2.INTER_LINEAR)
    left, top = (size - new[0]) // 2, (size - new[1]) // 2
    padded = cv2.copyMakeBorder(
        resized,
        top,
        size - new[1] - top,
        left,
        size - new[0] - left,
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )
    return (
        np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32)[None] / 255
    )


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - started) / CALLS * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1, help="OpenCV's threads, for both")
    parser.add_argument("--sizes", default="1920x1080,1280x720,768x576,3840x2160")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    for size in arguments.sizes.split(","):
        width, height = map(int, size.split("x"))
        noise = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        frame = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        tensor = np.empty((1, 3, 640, 640), np.float32)
        ours = Preprocessor(InputSpec(size=(640, 640)), tensor)
        ours.load(frame)
        difference = np.abs(tensor - common(frame)).max() * 255
        works = partial(common, frame), partial(ours.load, frame)
        a, b = np.median([[timed(work) for work in works] for _ in range(ROUNDS)], axis=0)
        print(
            f"{size:>9}: common {a:.3f} ms, edgevision {b:.3f} ms, ratio {a / b:.2f}, "
            f"largest difference {difference:.3f}/255"
        )


if __name__ == "__main__":
    main()
