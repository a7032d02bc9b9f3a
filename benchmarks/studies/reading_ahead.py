"""What reading a video ahead, and with how many decoding threads, is worth: the pipeline on a clip, whole or plain.

    python benchmarks/studies/reading_ahead.py MODEL.onnx CLIP.mp4 [--frames 40] [--rounds 15] [--cores 2] [--calm 5]

Three ways for each engine, every one a process of its own that keeps its model open, and in turn runs so many frames:
`before` (the pipeline reads, FFmpeg takes all cores), `ahead` (a thread reads, FFmpeg takes all cores) and `now` (a
thread reads, FFmpeg takes half of the cores). Told are medians of the wall and the processor time a frame, and of the
wall time over the rounds in which other programs took less than a tenth of a core. ``--calm`` waits up to so many
seconds for that before each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from edgevision.model import open_model, opened
from edgevision.preprocess import one_thread
from edgevision.sources import make_source, video
from edgevision.sources._ahead import ahead

ENGINES = {
    "ort fp32": {"backend": "ort"},
    "ort fp32, throughput": {"backend": "ort", "hint": "throughput"},
    "openvino bf16": {"backend": "openvino", "compute": "bf16"},
    "openvino bf16, throughput": {
        "backend": "openvino",
        "compute": "bf16",
        "hint": "throughput",
    },
}
WAYS = ("before", "ahead", "now")
QUIET, TICKS = 0.1, os.sysconf("SC_CLK_TCK")


def work(model: str, clip: str, engine: str, way: str) -> None:
    """A process: for every number on stdin so many frames, and a line with seconds and processor seconds."""
    one_thread()
    if way != "now":  # as OpenCV opens a video when it is told nothing
        real = cv2.VideoCapture
        video.cv2 = SimpleNamespace(  # type: ignore[assignment]
            **vars(cv2) | {"VideoCapture": lambda path, reader, _: real(path, reader)}
        )
    with open_model(model, **ENGINES[engine]) as ready:

        def frames() -> Iterator[object]:
            while True:
                source = make_source(clip)
                with opened(source if way == "before" else ahead(source)) as (given, _):
                    yield from ready.pipeline.stream(given)

        stream = frames()
        print("ready", flush=True)
        for line in sys.stdin:
            wall, processor = time.perf_counter(), time.process_time()
            for _ in range(int(line)):
                next(stream)
            told = [time.perf_counter() - wall, time.process_time() - processor]
            print(json.dumps(told), flush=True)


def busy_s() -> float:
    """Seconds that all cores together have worked, this machine's neighbours included."""
    user, nice, system, _, _, *rest = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    )
    return (user + nice + system + sum(rest)) / TICKS


def wait_for_calm(most_s: float) -> None:
    end = time.monotonic() + most_s
    while time.monotonic() < end:
        before = busy_s()
        time.sleep(0.2)
        if busy_s() - before < 0.2 * QUIET:
            return


def ask(process: subprocess.Popen[str], frames: int) -> tuple[float, float, float]:
    """Milliseconds and processor milliseconds a frame, and the cores that others took meanwhile."""
    assert process.stdin is not None
    assert process.stdout is not None
    before = busy_s()
    process.stdin.write(f"{frames}\n")
    process.stdin.flush()
    wall, processor = json.loads(process.stdout.readline())
    others = (busy_s() - before - processor) / wall
    return wall / frames * 1000, processor / frames * 1000, others


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("clip")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--calm", type=float, default=5.0)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.model, arguments.clip, *arguments.work)
        return
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    for engine in ENGINES:
        started = {}
        for way in WAYS:
            command = [sys.executable, __file__, arguments.model, arguments.clip, "--work"]
            started[way] = subprocess.Popen(
                [*command, engine, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            started[way].stdout.readline()
            ask(started[way], arguments.frames)
        taken: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
        for number in range(arguments.rounds):
            for way in WAYS[:: 1 if number % 2 else -1]:
                wait_for_calm(arguments.calm)
                taken[way].append(ask(started[way], arguments.frames))
        for process in started.values():
            process.communicate()
        print(engine, flush=True)
        for way, found in taken.items():
            values = np.array(found)
            calm = values[values[:, 2] < QUIET, 0]
            quiet = (
                f"{np.median(calm):6.2f} ms in {len(calm)} calm rounds"
                if len(calm)
                else "none calm"
            )
            wall, processor = np.median(values[:, :2], axis=0)
            print(f"  {way:<8}{wall:6.2f} ms ({quiet}), processor {processor:6.2f} ms", flush=True)


if __name__ == "__main__":
    main()
