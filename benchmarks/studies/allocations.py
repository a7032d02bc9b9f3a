"""Bytes asked of malloc a frame, from the filled frame to the result, after warm-up.

    python benchmarks/studies/allocations.py BUNDLE VIDEO [--variant fp32]

Compiles malloc_counter.c with the system's C compiler and runs itself again under LD_PRELOAD. Counted are
all threads and all libraries (Python, numpy, OpenCV, the engine). Python's objects of up to 512 bytes come
from arenas that it keeps; with --python-malloc each of them is counted as well.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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


def measure(arguments: argparse.Namespace) -> None:
    import edgevision
    from edgevision.preprocess import one_thread
    from edgevision.sources._limited import Limited
    from edgevision.sources.video import VideoSource

    one_thread()
    counter = ctypes.CDLL(None)
    counter.counted_bytes.restype = counter.counted_calls.restype = ctypes.c_ulonglong
    marks = [0, 0]

    class Marked(Limited):
        def read(self, into: object) -> bool:
            more = super().read(into)  # type: ignore[arg-type]
            marks[0], marks[1] = counter.counted_bytes(), counter.counted_calls()
            return more

    sizes: list[int] = []
    calls: list[int] = []
    options = {"variant": arguments.variant, "hint": arguments.hint, "backend": arguments.backend}
    with edgevision.open(arguments.bundle, **options) as model:
        for _frame, _result in model.stream(Marked(VideoSource(arguments.video), arguments.frames)):
            sizes.append(counter.counted_bytes() - marks[0])
            calls.append(counter.counted_calls() - marks[1])
        print(f"{model.variant.id} on {model.executed}")
    warm = slice(10, None)
    print(
        f"{len(sizes) - 10} frames after warm-up: median {statistics.median(sizes[warm]) / 1024:.1f} KiB, "
        f"max {max(sizes[warm]) / 1024:.1f} KiB, median {statistics.median(calls[warm]):.0f} calls a frame"
    )


if __name__ == "__main__":
    main()
