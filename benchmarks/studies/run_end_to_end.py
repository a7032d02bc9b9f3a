"""`edgevision run` against the hand-written loop of naive_loop.py, whole processes, in turn.

    python benchmarks/studies/run_end_to_end.py BUNDLE CLIP.mp4 LABELS.txt [--rounds 11] [--variant fp32]

Both read the same clip, run the same ONNX file and write the same lines to a file. Before any time is
quoted their detections are compared. Per round the two processes run one after the other, in alternating
order; quoted are the ratio of the medians and a bootstrap 95 % interval of it over rounds.

- frames/s: all frames by the process's whole life, start and exit included
- first result: from the start of the process to the first line being complete in the file
- peak memory: VmHWM of the process, read from /proc while it lives
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from edgevision.metrics.agreement import DetectionAgreement
from edgevision.results import Detections

HERE = Path(__file__).resolve().parent
POLL_S = 0.002


def run(command: list[str], output: Path) -> dict[str, float]:
    """One process: seconds, seconds to the first line, peak memory in MB."""
    output.unlink(missing_ok=True)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    peak, first = [0.0], [float("nan")]

    def watch() -> None:
        while process.poll() is None:
            if np.isnan(first[0]) and output.exists() and output.stat().st_size > 0:
                first[0] = time.perf_counter() - started
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak[0] = max(peak[0], float(status.split("VmHWM:")[1].split()[0]) / 1000)
            except (OSError, IndexError):
                pass
            time.sleep(POLL_S if np.isnan(first[0]) else 0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return {"seconds": seconds, "first_s": first[0], "peak_mb": peak[0]}


def agreement(a: Path, b: Path) -> tuple[float, int]:
    """F1 of b's detections against a's, and the number of a's."""
    score = DetectionAgreement()
    for left, right in zip(a.read_text().splitlines(), b.read_text().splitlines(), strict=True):
        score.add(detections(left), detections(right))
    return score.f1, score.samples


def detections(line: str) -> Detections:
    rows = json.loads(line)["detections"]
    return Detections(
        np.array([r["box_xyxy"] for r in rows], np.float32).reshape(-1, 4),
        np.array([r["score"] for r in rows], np.float32),
        np.array([r["class_id"] for r in rows], np.int32),
    )


def interval(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Ratio of medians ours / theirs, with its bootstrap 95 % interval over rounds (seeded)."""
    random = np.random.default_rng(0)
    picks = random.integers(0, len(ours), (10_000, len(ours)))
    ratios = np.median(ours[picks], axis=1) / np.median(theirs[picks], axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(np.median(ours) / np.median(theirs)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("clip")
    parser.add_argument("labels")
    parser.add_argument("--variant", default="fp32")
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    frames = 0
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.jsonl", Path(folder) / "theirs.jsonl"
        edgevision = Path(sys.executable).with_name("edgevision")
        commands = {
            "edgevision": [
                str(edgevision),
                "run",
                str(arguments.bundle),
                arguments.clip,
                str(ours),
                "--variant",
                arguments.variant,
                "--force",
            ],
            "loop": [
                sys.executable,
                str(HERE / "naive_loop.py"),
                str(arguments.bundle / f"{arguments.variant}.onnx"),
                arguments.clip,
                str(theirs),
                arguments.labels,
            ],
        }
        outputs = {"edgevision": ours, "loop": theirs}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name in list(commands)[:: 1 if number % 2 else -1]:
                found = run(commands[name], outputs[name])
                if number:  # the first round warms the page cache
                    taken[name].append(found)
            print(f"round {number}/{arguments.rounds}", file=sys.stderr, flush=True)
        frames = len(ours.read_text().splitlines())
        f1, samples = agreement(theirs, ours)
    print(
        f"{frames} frames, F1 {f1:.4f} against the loop's {samples} detections, {arguments.rounds} rounds"
    )
    for key, label, upside_down in (
        ("seconds", "frames/s", True),
        ("first_s", "first result, s", False),
        ("peak_mb", "peak MB", False),
    ):
        a, b = (np.array([r[key] for r in taken[name]]) for name in ("edgevision", "loop"))
        if upside_down:
            a, b = frames / a, frames / b
        ratio, low, high = interval(a, b)
        print(
            f"{label:<16} edgevision {np.median(a):8.3f}   loop {np.median(b):8.3f}   "
            f"ratio {ratio:.3f} (95 %: {low:.3f} … {high:.3f})   "
            f"difference {np.median(a) - np.median(b):+.3f}"
        )


if __name__ == "__main__":
    main()
