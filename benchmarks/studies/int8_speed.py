"""INT8 against the *original* fp32 file on onnxruntime's CPU provider: interleaved, ratio of medians.

    python benchmarks/studies/int8_speed.py ORIGINAL.onnx BUNDLE/int8-x86.onnx [--rounds 60]

Every thread count from 1 to that of the machine; random input, session options as they come.
"""

from __future__ import annotations

import argparse
import os
import time

import numpy as np
import onnxruntime as ort


def session(path: str, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("original")
    parser.add_argument("quantized")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        both = [session(path, threads) for path in (arguments.original, arguments.quantized)]
        entry = both[1].get_inputs()[0]
        feed = {
            entry.name: np.random.default_rng(0).standard_normal(entry.shape).astype(np.float32)
        }
        times: list[list[float]] = []
        for number in range(arguments.rounds + 5):
            row = []
            for each in both:
                started = time.perf_counter()
                each.run(None, feed)
                row.append((time.perf_counter() - started) * 1000)
            if number >= 5:
                times.append(row)
        a, b = np.median(np.array(times), axis=0)
        print(f"{threads} threads: original {a:.2f} ms, int8 {b:.2f} ms, ratio {a / b:.2f}")


if __name__ == "__main__":
    main()
