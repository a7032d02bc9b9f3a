"""Peak memory and time of percentile calibration: the product's against onnxruntime's own calibrator.

    python benchmarks/studies/percentile_calibration.py VIDEO [--model MODEL.onnx --preset NAME] [--size 640x640]
        [--images 200] [--theirs 10,20] [--slices 5] [--rounds 2] [--limit-gb 12]

Both get the same cleaned model and the same pictures through the same input spec, and each run is a process of
its own, in turn: pictures are decoded and resized anew in each. Ours is `calibrate` without weight rounding, and
`with_histograms`; theirs is ``create_calibrator(…, CalibrationMethod.Percentile)`` with the operators that
``quantize_static`` passes and nothing else set.

Theirs keeps every activation of every picture until the last one was run, so not all pictures fit: `--theirs` is
how many it gets at once. `--slices` is what ``quantize_static`` does not do, but its calibrator allows: all
pictures, a few at a time. Peak is VmHWM of the process with all that Python imports; time is from the open model
file to the ranges, by the wall and by the processor (all threads).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgevision.assets import DETECTOR
from edgevision.bundle import open_bundle
from edgevision.converters.conversion import Order
from edgevision.converters.convert import convert
from edgevision.converters.int8.calibrate import calibrate, with_histograms
from edgevision.converters.int8.range_methods import interval_of
from edgevision.converters.pictures import picture_feeds
from edgevision.converters.settings import Overrides
from edgevision.frame import Frame, Image
from edgevision.progress import Progress
from edgevision.sources.video import VideoSource

Feed = dict[str, np.ndarray]


def pictures(video: str, count: int) -> Iterator[Image]:
    """Evenly spread over the video, one at a time."""
    source, frame = VideoSource(video), Frame()
    step = max(1, (source.open().frames or count) // count)
    try:
        for index in range(count * step):
            if index % step:
                source.skip()
            elif source.read(frame):
                yield frame.image
    finally:
        source.close()


def ours(model: Path, video: str, count: int, _slice: int) -> int:
    loaded, spec = onnx.load(model), open_bundle(model).variants["fp32"].spec
    spec_in = spec.input

    def feeds() -> Iterator[Feed]:
        return picture_feeds(loaded, spec_in, pictures(video, count))

    measured = calibrate(loaded, feeds, scheme="x86", rounding=False)
    measured = with_histograms(loaded, measured, feeds)
    for name, seen in measured.ranges.items():
        interval_of("p99.999", seen, measured.histograms.get(name), symmetric=False)
    assert measured.frames == count
    return len(measured.ranges)


def theirs(model: Path, video: str, count: int, slice_of: int) -> int:
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, feeds: Iterator[Feed]) -> None:
            self._feeds = feeds

        def get_next(self) -> Feed | None:
            # It keeps what it is given: the feeds are one buffer, filled anew for each picture.
            return next(({k: np.array(v) for k, v in feed.items()} for feed in self._feeds), None)

    spec = open_bundle(model).variants["fp32"].spec
    feeds = picture_feeds(onnx.load(model), spec.input, pictures(video, count))
    with tempfile.TemporaryDirectory() as folder:
        calibrator = create_calibrator(
            model,
            list({*QLinearOpsRegistry, *QDQRegistry}),
            augmented_model_path=f"{folder}/augmented.onnx",
            calibrate_method=CalibrationMethod.Percentile,
        )
        for start in range(0, count, slice_of):
            calibrator.collect_data(Reader(islice(feeds, min(slice_of, count - start))))
        return len(list(calibrator.compute_data().keys()))


def child(who: str, model: str, video: str, count: int, slice_of: int) -> None:
    """One run; what it took as a line of JSON."""
    wall, processor = time.perf_counter(), time.process_time()
    tensors = {"ours": ours, "theirs": theirs}[who](Path(model), video, count, slice_of)
    status = Path("/proc/self/status").read_text()
    print()
    print(
        json.dumps(
            {
                "tensors": tensors,
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - processor,
                "peak_mb": float(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6,
            }
        )
    )


def run(limit_gb: float, *arguments: object) -> dict[str, Any] | None:
    """A run in a process of its own; None if the memory was not enough."""

    def limit() -> None:
        size = int(limit_gb * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    done = subprocess.run(
        [sys.executable, __file__, "--child", *map(str, arguments)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        print(f"  {' '.join(map(str, arguments))}: {last[:200]}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def cleaned(model: Path, preset: str | None, size: tuple[int, int], folder: Path) -> Path:
    order = Order(
        model, folder / "model.evb", Overrides(preset=preset, size=size), golden="none", force=True
    )
    convert(order, Progress(quiet=True))
    return folder / "model.evb" / "fp32.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("video")
    parser.add_argument("--model", type=Path, default=DETECTOR)
    parser.add_argument("--preset")
    parser.add_argument("--size", default="640x640")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--theirs", default="10,20")
    parser.add_argument("--slices", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--limit-gb", type=float, default=12)
    arguments = parser.parse_args()
    height, width = map(int, arguments.size.split("x"))
    images, video = arguments.images, arguments.video
    with tempfile.TemporaryDirectory() as folder:
        model = cleaned(arguments.model, arguments.preset, (height, width), Path(folder))
        at_once = [int(count) for count in arguments.theirs.split(",") if count]
        runs = {f"ours, {images} pictures": ("ours", images, images)}
        runs |= {f"ours, {n} pictures": ("ours", n, n) for n in at_once}
        runs |= {f"theirs, {n} pictures at once": ("theirs", n, n) for n in at_once}
        if arguments.slices:
            name = f"theirs, {images} pictures, {arguments.slices} at a time"
            runs[name] = ("theirs", images, arguments.slices)
        for _ in range(arguments.rounds):
            for name, (who, count, slice_of) in runs.items():
                found = run(arguments.limit_gb, who, model, video, count, slice_of)
                if found is not None:
                    print(
                        f"{name}: peak {found['peak_mb']:.0f} MB, {found['seconds']:.1f} s, "
                        f"{found['cpu_seconds']:.1f} s of processor, {found['tensors']} tensors",
                        flush=True,
                    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        who, model, video, count, slice_of = sys.argv[2:]
        child(who, model, video, int(count), int(slice_of))
    else:
        main()
