"""Engines of the real TensorRT on a real GPU: built here, run on frames, compared with onnxruntime, run for long.

    pytest -m gpu tests/gpu

They need a driver, pycuda and TensorRT. `EDGEVISION_TEST_ENGINES` names a folder of engines of the demo's detector that
are there already; else they are built, which takes a minute.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import scenes

from edgevision.assets import DETECTOR
from edgevision.backends import BackendOptions
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.cuda.context import primary_context
from edgevision.cuda.driver import call
from edgevision.cuda.library import pycuda_driver
from edgevision.errors import EdgevisionError
from edgevision.model import Model, load_variant
from edgevision.trt.library import installed_libraries

pytestmark = pytest.mark.gpu

BELT = "synthetic://conveyor?seed=1"
COMMAND = "import sys; from edgevision.cli import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copy(DETECTOR, tmp_path_factory.mktemp("detector")))


@pytest.fixture(scope="module")
def engines(detector: Path) -> Path:
    """The folder with an engine of the detector."""
    try:
        pycuda_driver()
        installed_libraries()
    except EdgevisionError as error:
        pytest.skip(error.problem)
    given = os.environ.get("EDGEVISION_TEST_ENGINES")
    if given:
        return Path(given)
    folder = detector.parent / "engines"
    command = [sys.executable, "-c", COMMAND, "build", detector, "--engine-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def on_gpu(detector: Path, engines: Path, hint: str, **extra: object) -> Model:
    bundle = open_bundle(detector)
    trust = (
        engines.parent != detector.parent
    )  # those that are there already were built by another user
    told = {"engine_dir": engines, "trust_engines": trust, **extra}
    options = BackendOptions(hint, extra=told)
    return load_variant(bundle, choose(bundle), options, backend="trt")


def free_bytes() -> int:
    """Of device memory."""
    left, total = ctypes.c_size_t(), ctypes.c_size_t()
    with primary_context().attached():
        assert call("cuMemGetInfo_v2", ctypes.byref(left), ctypes.byref(total)) == 0
    return left.value


@pytest.mark.parametrize("memory", ["copied", "mapped"])
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_an_engine_finds_what_onnxruntime_finds(
    detector: Path, engines: Path, hint: str, memory: str
) -> None:
    wrong, found = [], 0
    with (
        on_gpu(detector, engines, hint, memory=memory) as model,
        scenes.on_cpu(str(detector)) as reference,
    ):
        ours, theirs = (m.stream(scenes.frames(BELT, 30)) for m in (model, reference))
        for (frame, result), (_, wanted) in zip(ours, theirs, strict=True):
            told = scenes.differences(result, wanted, threshold=0.35)
            wrong += [f"{frame.index}: {what}" for what in told]
            found += len(wanted)
        assert model.executed.note == "", "graphs, and the kernel"
    assert wrong == []
    assert found > 30


@pytest.mark.slow
def test_thousands_of_frames_and_many_models_leave_nothing_behind(
    detector: Path, engines: Path
) -> None:
    def run(frames: int) -> None:
        with on_gpu(detector, engines, "throughput") as model:
            assert sum(1 for _ in model.stream(scenes.frames(BELT, frames))) == frames

    run(20)
    before = free_bytes()
    run(5000)
    for _ in range(20):
        run(3)
    # An engine with its contexts and buffers takes more; on Jetson it is the memory of all programs.
    assert before - free_bytes() < 64 << 20
