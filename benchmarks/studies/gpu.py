"""What the CUDA runtime reaches on a GPU: bandwidth of the kernel and of copies, host time of a frame, overlap, leaks.

    python benchmarks/studies/gpu.py [BUNDLE.evb VIDEO] [-o docs/records/gpu.json] [--rounds 200]

Needs a driver, pycuda and a CUDA compiler. With a bundle that `edgevision build` made an engine of (and TensorRT),
it is also run on the video under both hints, with the stages' times. Device times are CUDA events, medians; the
kernel's bandwidth counts each byte of the frame and of the tensor once, and stands against a copy within the device.
The record says on which device it was made: "emulated" means that its times are worth nothing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgevision.backends import BackendOptions
from edgevision.benchmarks.environment import read_environment
from edgevision.bundle import open_bundle
from edgevision.choice import candidates
from edgevision.clock import now_ns
from edgevision.cuda.context import primary_context
from edgevision.cuda.driver import call, probe
from edgevision.cuda.graph import Replay
from edgevision.cuda.kernel import Kernel
from edgevision.cuda.library import pycuda_driver
from edgevision.cuda.memory import DeviceMemory, Twin
from edgevision.cuda.picture import KernelPictures
from edgevision.cuda.timing import Marks
from edgevision.model import load_variant
from edgevision.running import stage_summary
from edgevision.spec import InputSpec, TensorSpec
from edgevision.whole_file import write_whole

FRAMES = {"640×480": (480, 640), "1280×720": (720, 1280), "1920×1080": (1080, 1920)}
TENSOR = (640, 640)
COPIED = 1 << 26
#: Copied while work is given to a stream: half a millisecond on the fastest bus.
HELD_UP = 1 << 25
WARM_UP = 10
NON_BLOCKING = 1


class Clock:
    """Tells what work takes on the device: the median of some rounds.

    To an idle GPU, Python gives a kernel more slowly than that runs, and the time between two events would be
    Python's. So a copy holds the stream up until it has all of the work.
    """

    def __init__(self, stream: Any, rounds: int) -> None:
        self.stream, self.rounds = stream, rounds
        self._copy = Twin(HELD_UP)

    def ms(self, work: Callable[[], None]) -> float:
        marks, times = Marks(self.stream, blocking=False), []
        for _ in range(self.rounds + WARM_UP):
            self._copy.upload(HELD_UP, self.stream)
            marks.record(0)
            work()
            for place in (1, 2, 3):
                marks.record(place)
            marks.wait(None)
            times.append(marks.durations_ns()[0] / 1e6)
        marks.close()
        return max(median(times[WARM_UP:]), 1e-6)

    def close(self) -> None:
        self._copy.close()


def copies(clock: Clock) -> dict[str, float]:
    """GB/s of copies; within the device a byte is read and written, so it counts twice."""
    cuda, stream = pycuda_driver(), clock.stream
    twin, other = Twin(COPIED), DeviceMemory(COPIED)
    pageable = np.zeros(COPIED, np.uint8)
    ways: dict[str, tuple[int, Callable[[], None]]] = {
        "pinned to device": (1, lambda: twin.upload(COPIED, stream)),
        "device to pinned": (1, lambda: twin.download(COPIED, stream)),
        "pageable to device": (1, lambda: cuda.memcpy_htod_async(twin.address, pageable, stream)),
        "within the device": (
            2,
            lambda: cuda.memcpy_dtod_async(other.address, twin.address, COPIED, stream),
        ),
    }
    found = {name: times * COPIED / clock.ms(work) / 1e6 for name, (times, work) in ways.items()}
    twin.close()
    other.close()
    return found


def kernel_runs(kernel: Kernel, clock: Clock, within: float) -> dict[str, Any]:
    """The kernel by frame size, dtype and memory, and the host's time to load a frame and replay its graph."""
    found = {}
    for size, (height, width) in FRAMES.items():
        frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        for dtype in ("float32", "float16"):
            for mapped in (False, True):
                spec = InputSpec(TENSOR, dtype=dtype)
                tensor = TensorSpec("image", dtype, (1, 3, *TENSOR))
                one = KernelPictures(spec, tensor, kernel, mapped=mapped)
                name = f"{size} {dtype} {'mapped' if mapped else 'copied'}"
                found[name] = one_kernel(one, frame, clock, within)
                one.close()
    return found


def one_kernel(
    one: KernelPictures, frame: np.ndarray, clock: Clock, within: float
) -> dict[str, float]:
    stream = clock.stream
    one.load(frame, 0, None, "bgr")
    one.upload(stream)
    ms = clock.ms(lambda: one.launch(stream, 1))
    item = 4 if one._row_bytes == 4 * 3 * TENSOR[0] * TENSOR[1] else 2
    rate = (frame.nbytes + item * 3 * TENSOR[0] * TENSOR[1]) / ms / 1e6
    replay, load, replayed = Replay(stream), [], []
    for _ in range(clock.rounds + WARM_UP):
        begin = now_ns()
        one.load(frame, 0, None, "bgr")
        loaded = now_ns()
        one.upload(stream)
        replay.run(1, lambda: one.launch(stream, 1))
        replayed.append((now_ns() - loaded) / 1e3)
        load.append((loaded - begin) / 1e3)
        stream.synchronize()
    replay.forget()
    return {
        "kernel_ms": ms,
        "gb_s": rate,
        "of_copy": rate / within,
        "host_load_us": median(load[WARM_UP:]),
        "host_submit_us": median(replayed[WARM_UP:]),
    }


def left_after(kernel: Kernel, rounds: int) -> int:
    """Bytes of device memory that making and closing buffers again and again does not give back.

    Where the GPU shares the processor's memory, as on Jetson, other programs move this figure.
    """

    def free() -> int:
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        call("cuMemGetInfo_v2", ctypes.byref(left), ctypes.byref(total))
        return left.value

    def once() -> None:
        spec = TensorSpec("image", "float32", (1, 3, *TENSOR))
        KernelPictures(InputSpec(TENSOR), spec, kernel, mapped=False).close()

    once()
    before = free()
    for _ in range(rounds):
        once()
    return before - free()


def on_video(path: Path, video: str) -> dict[str, Any]:
    """The whole pipeline with an engine, under both hints: frames a second and the stages."""
    found = {}
    for hint in ("latency", "throughput"):
        bundle = open_bundle(path)
        choice = candidates(bundle, backend="trt")[0]
        with load_variant(bundle, choice, BackendOptions(hint), backend="trt") as model:
            begin, count = now_ns(), 0
            for _ in model.stream(video):
                count += 1
            seconds = (now_ns() - begin) / 1e9
            found[hint] = {
                "executed": str(model.executed),
                "variant": choice.variant.id,
                "frames": count,
                "fps": count / seconds,
                "stages_ms": stage_summary(model.pipeline.ring),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("video", nargs="?")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--rounds", type=int, default=200)
    asked = parser.parse_args()
    gpu = probe()
    with primary_context().attached():
        stream, kernel = pycuda_driver().Stream(NON_BLOCKING), Kernel(gpu)
        clock = Clock(stream, asked.rounds)
        rates = copies(clock)
        kernels = kernel_runs(kernel, clock, rates["within the device"])
        clock.close()
        left = left_after(kernel, asked.rounds)
        kernel.close()
        del stream, clock
    record = {
        "device": {"name": gpu.name, "compute_capability": gpu.cc, "driver": gpu.driver},
        "copies_gb_s": rates,
        "kernel": kernels,
        "bytes_not_given_back": left,
        "video": on_video(asked.bundle, asked.video) if asked.bundle and asked.video else None,
        "environment": read_environment(),
    }
    print(table(record))
    if asked.output:
        write_whole(asked.output, json.dumps(record, indent=1, default=str).encode())


def table(record: dict[str, Any]) -> str:
    lines = [
        f"{record['device']['name']}, compute capability {record['device']['compute_capability']}"
    ]
    lines += [f"{name}: {rate:.1f} GB/s" for name, rate in record["copies_gb_s"].items()]
    lines += ["", "| frame, tensor, memory | kernel ms | GB/s | of copy | load µs | submit µs |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, row in record["kernel"].items():
        lines.append(
            f"| {name} | {row['kernel_ms']:.3f} | {row['gb_s']:.1f} | {row['of_copy']:.0%} | "
            f"{row['host_load_us']:.0f} | {row['host_submit_us']:.0f} |"
        )
    lines += ["", f"not given back: {record['bytes_not_given_back']} bytes"]
    for hint, run in (record["video"] or {}).items():
        stages = {k: v["p50"] for k, v in run["stages_ms"].items()}
        lines.append(f"{hint}: {run['fps']:.1f} frames/s, median ms {stages}; {run['executed']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
