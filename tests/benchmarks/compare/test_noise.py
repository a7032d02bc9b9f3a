"""How often it is right, on simulated noise and on noise recorded from real models; the study has more of each."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from edgevision.benchmarks.compare import apart, interleaved

STUDY = Path(__file__).resolve().parents[3] / "benchmarks/studies/compare_noise.py"
NOISES = ["alike", "autocorrelated", "drifting", "bursts", "steps", "everything"]
RECORDED = [("nanodet", 3000), ("garments", 1900)]


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_noise", STUDY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of them: the ends of the intervals are less sure, the test is three times as fast."""
    for module in (apart, interleaved):
        monkeypatch.setattr(module, "_DRAWS", 300)


def series(study: ModuleType, noise: str, queries: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    if noise in NOISES:
        found: Iterator[np.ndarray] = study.simulated(study.SIMULATED[noise], queries, rng)
        return found
    return study.recorded(study.RECORDING, noise, queries, rng)  # type: ignore[no-any-return]


def check(study: ModuleType, noise: str, queries: int, draws: int, allowed: int) -> None:
    rng = np.random.default_rng(1)
    source = series(study, noise, queries, 2)
    for design in (study.apart, study.interleaved):
        alarms = study.rate(source, design, 1.0, draws, rng)["any"]
        assert alarms <= allowed, f"{alarms} false alarms of {draws} with {design.__name__}"
    found = study.rate(source, study.interleaved, 1.05, draws, rng)
    assert found["slower"] >= draws - allowed, found
    assert found["faster"] <= allowed, found


@pytest.mark.usefixtures("few_resamples")
@pytest.mark.parametrize(("noise", "queries"), [("everything", 3000), ("nanodet", 3000)])
def test_same_thing_is_no_difference_and_five_percent_is_found(
    study: ModuleType, noise: str, queries: int
) -> None:
    check(study, noise, queries, draws=12, allowed=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "queries"), [*((noise, 3000) for noise in NOISES), *RECORDED], ids=str
)
def test_in_95_of_100(study: ModuleType, noise: str, queries: int) -> None:
    check(study, noise, queries, draws=100, allowed=5)


def test_recording_is_small_and_long(study: ModuleType) -> None:
    assert study.RECORDING.stat().st_size <= 200_000
    with np.load(study.RECORDING) as file:
        seconds = {name: file[name].sum() * study.UNIT_NS / 1e9 for name in file.files}
    assert sum(seconds.values()) > 15 * 60
