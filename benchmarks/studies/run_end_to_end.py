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
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "peers"))  # the peers are measured in the same way

from measure import Figures, agreement, interval, run  # noqa: E402


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
        taken: dict[str, list[Figures]] = {name: [] for name in commands}
        for number in range(arguments.rounds + 1):
            for name in list(commands)[:: 1 if number % 2 else -1]:
                found = run(commands[name], outputs[name])
                if number:  # the first round warms the page cache
                    taken[name].append(found)
            print(f"round {number}/{arguments.rounds}", file=sys.stderr, flush=True)
        frames, score = len(ours.read_text().splitlines()), agreement(theirs, ours)
    print(
        f"{frames} frames, F1 {score.counts[0.35].f1:.4f} against the loop's "
        f"{score.counts[0.35].reference} detections, {arguments.rounds} rounds"
    )
    for key, label in (
        ("whole_fps", "frames/s"),
        ("first_s", "first result, s"),
        ("peak_mb", "peak MB"),
    ):
        a, b = (np.array([getattr(r, key) for r in taken[n]]) for n in ("edgevision", "loop"))
        ratio, low, high = interval(a, b)
        print(
            f"{label:<16} edgevision {np.median(a):8.3f}   loop {np.median(b):8.3f}   "
            f"ratio {ratio:.3f} (95 %: {low:.3f} … {high:.3f})   "
            f"difference {np.median(a) - np.median(b):+.3f}"
        )


if __name__ == "__main__":
    main()
