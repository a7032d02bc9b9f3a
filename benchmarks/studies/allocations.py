"""Bytes asked of malloc a frame, from the filled frame to the result, after warm-up.

    python benchmarks/studies/allocations.py BUNDLE VIDEO [--variant fp32] [--backend openvino]

Compiles malloc_counter.c with the system's C compiler and runs itself again under LD_PRELOAD. Counted are
all threads and all libraries (Python, numpy, OpenCV, the engine). Python's objects of up to 512 bytes come
from arenas that it keeps; with --python-malloc each of them is counted as well.

Below the whole frame stands the share of each part, in a slot of its own: loading the tensor, the engine's
run, and decoding. For OpenVINO also its bare request, started and waited for with nothing of ours around it.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("video")
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--hint", default="latency")
    parser.add_argument("--backend", default="ort")
    parser.add_argument("--compute")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--python-malloc", action="store_true")
    arguments = parser.parse_args()
    if "malloc_counter" in os.environ.get("LD_PRELOAD", ""):
        measure(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "malloc_counter.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(HERE / "malloc_counter.c")],
            check=True,
        )
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        if arguments.python_malloc:
            environment["PYTHONMALLOC"] = "malloc"
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)


class Counter:
    """What malloc_counter.so has counted."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        for name in ("counted_bytes", "counted_calls"):
            getattr(self._library, name).restype = ctypes.c_ulonglong

    def now(self) -> tuple[int, int]:
        """Bytes and calls so far."""
        return self._library.counted_bytes(), self._library.counted_calls()

    def since(self, mark: tuple[int, int]) -> tuple[int, int]:
        size, calls = self.now()
        return size - mark[0], calls - mark[1]


def measure(arguments: argparse.Namespace) -> None:
    import edgevision
    from edgevision.preprocess import one_thread
    from edgevision.sources._limited import Limited
    from edgevision.sources.video import VideoSource

    one_thread()
    counter = Counter()
    mark = counter.now()

    class Marked(Limited):
        def read(self, into: object) -> bool:
            nonlocal mark
            more = super().read(into)  # type: ignore[arg-type]
            mark = counter.now()
            return more

    options = {name: getattr(arguments, name) for name in ("variant", "hint", "backend", "compute")}
    image: Any = None
    with edgevision.open(arguments.bundle, **options) as model:
        counts = []
        for frame, _result in model.stream(Marked(VideoSource(arguments.video), arguments.frames)):
            counts.append(counter.since(mark))
            image = frame.image
        print(f"{model.variant.id} on {model.executed}")
        show("filled frame → result", counts)
        for name, part in parts(model, image).items():
            show(f"  {name}", [counted(counter, part) for _ in range(60)])


def parts(model: Any, image: Any) -> dict[str, Callable[[], Any]]:
    """What a frame's way consists of, each to be called alone."""
    slot = model.pipeline.loaded_slot(image)
    transform = slot.load(image)

    def run() -> Any:
        slot.submit()
        return slot.wait()

    outputs = run()
    found = {
        "load": lambda: slot.load(image),
        "the engine's run": run,
        "decode": lambda: model.pipeline._decoder.decode(outputs, 0, transform),
    }
    if model.backend == "openvino":
        request = slot._request
        found["OpenVINO's bare request"] = lambda: (request.start_async(), request.wait())
    return found


def counted(counter: Counter, part: Callable[[], Any]) -> tuple[int, int]:
    mark = counter.now()
    part()
    return counter.since(mark)


def show(name: str, counts: list[tuple[int, int]]) -> None:
    """The median after ten for warm-up."""
    sizes, calls = zip(*counts[10:], strict=True)
    print(
        f"{name:<26} median {statistics.median(sizes) / 1024:6.1f} KiB, max {max(sizes) / 1024:6.1f} KiB, "
        f"median {statistics.median(calls):4.0f} calls, {len(sizes)} times"
    )


if __name__ == "__main__":
    main()
