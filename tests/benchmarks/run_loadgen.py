"""Runs MLPerf's LoadGen once, in a process of its own: python run_loadgen.py FOLDER '{"scenario": "Server", …}'."""

from __future__ import annotations

import json
import random
import sys
import time

import mlperf_loadgen as loadgen

#: A query in twenty takes long, so that percentiles differ from each other.
DELAYS_S = [0.0001] * 12 + [0.0003] * 7 + [0.002]


def main(folder: str, options: dict[str, object]) -> None:
    random.seed(7)

    def issue(samples: list[object]) -> None:
        for sample in samples:
            time.sleep(random.choice(DELAYS_S))
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(sample.id, 0, 0)])

    settings = loadgen.TestSettings()
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.scenario = getattr(loadgen.TestScenario, options.pop("scenario"))
    for name, value in options.items():
        setattr(settings, name, value)
    logs = loadgen.LogSettings()
    logs.enable_trace = True  # every single latency, in nanoseconds
    logs.log_output.outdir = folder
    logs.log_output.copy_summary_to_stdout = False
    sut = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(64, 64, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(sut, library, settings, logs, "")
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(sut)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
