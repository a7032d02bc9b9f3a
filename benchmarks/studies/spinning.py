"""onnxruntime's idle workers: spinning (its default) against sleeping, on a stream and on the engine alone.

    python benchmarks/studies/spinning.py MODEL.onnx CLIP.mp4 [--frames 100] [--rounds 7]

The stream decodes a frame, loads it and runs the model; rounds alternate; quoted are medians of the time and
of the processor time a frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
import onnxruntime as ort


def session(path: str, spinning: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def stream(model: ort.InferenceSession, clip: str, frames: int) -> Callable[[], None]:
    entry = model.get_inputs()[0]
    tensor = np.zeros(entry.shape, np.float32)
    size = entry.shape[3], entry.shape[2]

    def run() -> None:
        capture, frame = cv2.VideoCapture(clip), None
        for _ in range(frames):
            _, frame = capture.read(frame)
            tensor[0] = cv2.resize(frame, size).transpose(2, 0, 1)
            model.run(None, {entry.name: tensor})

    return run


def alone(model: ort.InferenceSession, frames: int) -> Callable[[], None]:
    entry = model.get_inputs()[0]
    tensor = np.zeros(entry.shape, np.float32)

    def run() -> None:
        for _ in range(frames):
            model.run(None, {entry.name: tensor})

    return run


def measured(work: Callable[[], None], frames: int) -> tuple[float, float]:
    """Milliseconds and processor milliseconds a frame."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / frames * 1000, (
        time.process_time() - processor
    ) / frames * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(arguments.rounds):
        for spinning, name in (("1", "spinning"), ("0", "sleeping")):
            # One session at a time: the idle workers of another would spin beside it.
            model = session(arguments.model, spinning)
            works = {
                "stream": stream(model, arguments.clip, arguments.frames),
                "engine alone": alone(model, arguments.frames),
            }
            for what, work in works.items():
                times.setdefault((what, name), []).append(measured(work, arguments.frames))
            del model, works
    for what in ("stream", "engine alone"):
        (a, a_cpu), (b, b_cpu) = (
            np.median(times[what, name], axis=0) for name in ("spinning", "sleeping")
        )
        print(
            f"{what:<13} spinning {a:.2f} ms ({a_cpu:.1f} cpu), "
            f"sleeping {b:.2f} ms ({b_cpu:.1f} cpu), ratio {a / b:.3f}"
        )


if __name__ == "__main__":
    main()
