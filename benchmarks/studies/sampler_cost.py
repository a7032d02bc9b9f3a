"""What the sampler costs the run beside it: blocks of one model's queries, with and without it in turn.

    python benchmarks/studies/sampler_cost.py BUNDLE|MODEL.onnx [--blocks 20] [--seconds 5] [--interval 0.1]

Prints medians over blocks of a query's median, p99 and processor time, and what the sampler says of itself.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from statistics import median

import numpy as np

from edgevision.benchmarks.sampling.sampler import Sampler
from edgevision.model import Model, open_model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--interval", type=float, default=0.1)
    given = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    blocks: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    costs = []
    with open_model(given.model) as model:
        block(model, image, 1.0)  # warm-up
        for number in range(2 * given.blocks):
            # A B B A: a drift of the machine falls on both alike.
            sampled = number % 4 in (1, 2)
            with (
                Sampler(interval_s=given.interval)
                if sampled
                else contextlib.nullcontext() as sampler
            ):
                blocks[sampled].append(block(model, image, given.seconds))
            timeline = sampler.timeline(0) if sampler else None
            if timeline is not None:
                costs.append(timeline["sampler"])
    print(f"{'':<10}{'p50 ms':>10}{'p99 ms':>10}{'cpu ms a query':>16}")
    for sampled, rows in blocks.items():
        p50, p99, cpu = (median(column) for column in zip(*rows, strict=True))
        name = "sampled" if sampled else "alone"
        print(f"{name:<10}{p50:>10.3f}{p99:>10.3f}{cpu:>16.3f}")
    percent = median(cost["cpu_percent"] or 0.0 for cost in costs)
    print(
        f"sampler: {percent:.2f} % of a core, {max(cost['rss_mb'] or 0 for cost in costs):.0f} MB"
    )


def block(model: Model, image: np.ndarray, seconds: float) -> tuple[float, float, float]:
    """Median, p99 and processor time of a query, milliseconds."""
    times = []
    cpu, until = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter_ns()
        model(image)
        times.append(time.perf_counter_ns() - began)
    cpu = time.process_time() - cpu
    return *(float(v) for v in np.percentile(times, [50, 99]) / 1e6), 1000 * cpu / len(times)


if __name__ == "__main__":
    main()
