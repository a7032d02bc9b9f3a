"""The engine without reading, pre-processing and decoding: OpenVINO's benchmark_app beside `bench --inference-only`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from sides import Engine

__all__ = ["app_fps", "bench_fps"]

_SECONDS = "5"


def app_fps(engine: Engine, model: Path) -> float:
    """Inferences a second that benchmark_app tells."""
    app = str(Path(sys.executable).with_name("benchmark_app"))
    told = _told([app, "-m", str(model), "-d", "CPU", "-t", _SECONDS, *engine.app])
    found = re.search(r"Throughput:\s+([\d.]+) FPS", told)
    if found is None:
        raise SystemExit(f"benchmark_app told no throughput:\n{told[-1000:]}")
    return float(found[1])


def bench_fps(engine: Engine, model: Path) -> float:
    """Inferences a second of the same file in edgevision."""
    edgevision = str(Path(sys.executable).with_name("edgevision"))
    command = [edgevision, "bench", str(model), "synthetic://conveyor?seed=1&frames=1"]
    command += ["--inference-only", "--duration", _SECONDS, "--json", *engine.bench]
    return float(json.loads(_told(command))["throughput_fps"])


def _told(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr[-2000:]}")
    return done.stdout
