"""Peak memory of a whole conversion to INT8, by the number of calibration pictures.

    python benchmarks/studies/calibration_memory.py MODEL.onnx PRESET LABELS VIDEO [--samples 25,100,200]

Each conversion is a process of its own; VmHWM is read from /proc while it lives (ru_maxrss would be inherited
from this process). To calibrate on all that `--samples` asks for, 40 % of the video must have that many frames.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def peak_mb(command: list[str]) -> tuple[float, float]:
    """Peak resident memory in MB, and seconds."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, float(status.split("VmHWM:")[1].split()[0]) / 1000)
        except (OSError, IndexError):
            pass
        time.sleep(0.02)
    return peak, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("preset")
    parser.add_argument("labels")
    parser.add_argument("video")
    parser.add_argument("--samples", default="25,100,200")
    arguments = parser.parse_args()
    edgevision = Path(sys.executable).with_name("edgevision")
    for samples in map(int, arguments.samples.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            peak, seconds = peak_mb(
                [
                    str(edgevision),
                    "convert",
                    arguments.model,
                    "--preset",
                    arguments.preset,
                    "--labels",
                    arguments.labels,
                    "--calibration",
                    arguments.video,
                    "--precision",
                    "int8",
                    "--samples",
                    str(samples),
                    "-o",
                    f"{folder}/model.evb",
                    "--keep-passing",
                ]
            )
        print(f"{samples} pictures: peak {peak:.0f} MB, {seconds:.0f} s")


if __name__ == "__main__":
    main()
