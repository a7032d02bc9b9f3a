"""Records made up of latencies, as `edgevision bench` would write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MakeRecord = Callable[..., dict[str, Any]]


@pytest.fixture
def make_record() -> MakeRecord:
    """A record of these latencies, ms; keywords replace its keys."""

    def make(latency_ms: Any, **changes: Any) -> dict[str, Any]:
        samples = [round(value * 1e6) for value in np.asarray(latency_ms, float).tolist()]
        record: dict[str, Any] = {
            "schema": 1,
            "status": "ok",
            "error": None,
            "valid": True,
            "invalid_reason": None,
            "scenario": "single-stream",
            "scenario_options": {},
            "boundary": {"kind": "end-to-end"},
            "bundle": {"name": "street", "identity": "a" * 64},
            "variant": "fp32",
            "precision": "fp32",
            "backend": "ort",
            "compute": "fp32",
            "engine": {"library": "onnxruntime", "version": "1.20", "device": "CPU"},
            "hint": "latency",
            "in_flight": 1,
            "threads": {"engine": 2, "opencv": 1},
            "options": {},
            "source": {"uri": "/ci/a/street.mp4", "width": 768, "height": 576},
            "samples_per_query": 1,
            "duration_s": sum(samples) / 1e9,
            "environment": {
                "os": {"arch": "x86_64", "kernel": "6.1"},
                "cpu": {"name": "Zen 4", "cores_usable": 2, "governor": ["performance"]},
                "jetson": None,
                "libraries": {"numpy": "2.0", "onnxruntime": "1.20"},
            },
            "samples_ns": samples,
            "begins_ns": [],
            "stages_ns": {"compute": samples},
            "load_ms": 50.0,
            "peak_rss_mb": 100.0,
            "flags": [],
        }
        return record | changes

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes JSON, or text as it is, to a file of this name."""

    def write_it(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_it


@pytest.fixture
def quiet() -> Callable[..., Any]:
    """Latencies around so many ms with 2 % of noise: ``quiet(seed, ms=10.0, n=800)``."""

    def make(seed: int, ms: float = 10.0, n: int = 800) -> Any:
        return ms * np.exp(np.random.default_rng(seed).normal(0, 0.02, n))

    return make
