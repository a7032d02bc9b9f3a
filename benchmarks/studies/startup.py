"""`edgevision --help` as a whole process, median of many.

python benchmarks/studies/startup.py [--runs 31]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=31)
    arguments = parser.parse_args()
    commands = {
        "edgevision --help": [str(Path(sys.executable).with_name("edgevision")), "--help"],
        "python -c 'import click'": [sys.executable, "-c", "import click"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.runs):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            times[name].append((time.perf_counter() - started) * 1000)
    for name, values in times.items():
        print(
            f"{name:<26} median {statistics.median(values):.0f} ms, min {min(values):.0f}, max {max(values):.0f}"
        )


if __name__ == "__main__":
    main()
