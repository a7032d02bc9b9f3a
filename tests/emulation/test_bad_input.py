"""Drivers, libraries and engines that are missing, too old or not the right ones: one clear error each, exit 1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import Settings
from program import Ended, Gpu

from edgevision.cuda import driver as product

MAKE = """
import sys
import plans
from pathlib import Path
from edgevision.bundle import open_bundle
from edgevision.choice import choose
path = Path(sys.argv[1])
keys = dict(pair.split("=") for pair in sys.argv[2:])
trusted = keys.pop("trusted", "yes") == "yes"
print(plans.write_engine(choose(open_bundle(path)).variant, path.parent / "engines", trusted=trusted, **keys))
"""


@pytest.fixture
def model(squares: Path, tmp_path: Path) -> Path:
    """A copy with no engine beside it."""
    return Path(shutil.copy(squares, tmp_path / "squares.onnx"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    import cv2
    import numpy as np

    path = tmp_path / "black.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    return path


@pytest.fixture
def refused(gpu: Gpu, model: Path, image: Path) -> Callable[..., str]:
    """Runs the command line, which has to fail in order; what it says."""

    def run(*options: str, said: str, **how: object) -> str:
        ended = gpu.command("run", model, image, "--backend", "trt", *options, **how)  # type: ignore[arg-type]
        assert ended.outcome.returncode == 1, ended.out + ended.err
        assert "Traceback" not in ended.err
        assert said in ended.err, ended.err
        assert "try:" in ended.err
        if ended.outcome.report:
            ended.clean()
        return ended.err

    return run


def make(gpu: Gpu, model: Path, *keys: str) -> Path:
    ended = gpu.run(MAKE, model, *keys)
    assert ended.outcome.returncode == 0, ended.err
    return Path(ended.out.strip())


# The driver


@pytest.mark.parametrize(
    ("faults", "said"),
    [
        ("cuInit:34@1", "the CUDA toolkit's stub of a driver"),
        ("cuInit:100@1", "the driver sees no GPU"),
        ("cuInit:803@1", "of different versions"),
        ("cuInit:804@1", "the CUDA compatibility library"),
        ("cuInit:999@1", "the NVIDIA driver does not start"),
    ],
)
def test_a_driver_that_does_not_start(refused: Callable[..., str], faults: str, said: str) -> None:
    text = refused(said=said, settings=Settings(faults=faults))
    assert "--backend ort runs without a GPU" in text


def test_a_gpu_that_another_process_has_to_itself(
    gpu: Gpu, refused: Callable[..., str], model: Path
) -> None:
    make(gpu, model)
    settings = Settings(faults="cuDevicePrimaryCtxRetain:46@1")
    assert "--backend ort" in refused(said="taken by another process", settings=settings)


def test_a_driver_that_is_too_old(refused: Callable[..., str]) -> None:
    text = refused(said="driver is too old", settings=Settings(device="driver=11020"))
    assert "CUDA 11.2" in text
    assert "CUDA 11.4 or later" in text


def test_no_driver_is_told_before_tensorrt_is_touched(model: Path, image: Path, gpu: Gpu) -> None:
    """Without the emulated driver, on a machine that has none: TensorRT would end the process."""
    if product_has_driver():
        pytest.skip("this machine has an NVIDIA driver")
    code = "import sys; from edgevision.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "run", str(model), str(image), "--backend", "trt"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**gpu.emulated.environment(), **gpu.environment(), "LD_PRELOAD": ""}
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "there is no NVIDIA driver on this machine" in done.stderr
    assert "edgevision doctor" in done.stderr


def product_has_driver() -> bool:
    try:
        product.probe()
    except product.BackendError:
        return False
    return True


# TensorRT


def test_no_tensorrt(refused: Callable[..., str]) -> None:
    text = refused(said="backend 'trt' needs TensorRT", tensorrt="none")
    assert "JetPack" in text
    assert "edgevision[rtx]" in text


@pytest.mark.parametrize("version", ["8.6.1", "10.2.0.19"])
def test_a_tensorrt_that_is_too_old(refused: Callable[..., str], version: str) -> None:
    assert version in refused(said="this TensorRT is too old", tensorrt=version)


# Engines


def test_no_engine_names_the_command_that_builds_one(
    refused: Callable[..., str], model: Path
) -> None:
    text = refused(said="there is no engine of")
    assert f"edgevision build {model} --variant" in text, "its folder is no bundle"
    assert "--backend ort runs without" in text


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("cc=8.9", "wrong device"),
        ("arch=sparc", "wrong device"),
        ("device=emulated CUDA device, 16 multiprocessors", "wrong device"),
        ("version=10.13.3.9", "wrong version"),
        ("l4t=36.4.3", "rebuild needed"),
        (f"variant_sha256={'0' * 64}", "rebuild needed"),
    ],
)
def test_an_engine_for_something_else_is_refused_before_it_is_loaded(
    gpu: Gpu, refused: Callable[..., str], model: Path, key: str, said: str
) -> None:
    make(gpu, model, key)
    assert "edgevision build" in refused(said=said)


def test_an_engine_for_this_very_gpu_is_loaded(gpu: Gpu, model: Path, image: Path) -> None:
    make(gpu, model, "device=emulated CUDA device, 8 multiprocessors")
    ended = gpu.command("run", model, image, "--backend", "trt")
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


def test_an_engine_that_was_cut_short(gpu: Gpu, refused: Callable[..., str], model: Path) -> None:
    plan = make(gpu, model)
    plan.write_bytes(plan.read_bytes()[:-100])
    refused(said="is not the one its sidecar describes")


def test_an_engine_that_was_not_built_here_needs_trust(
    gpu: Gpu, refused: Callable[..., str], model: Path, image: Path
) -> None:
    make(gpu, model, "trusted=no")
    assert "--trust-engines" in refused(said="was not built here", XDG_STATE_HOME="/nonexistent")
    ended = gpu.command(
        "run", model, image, "--backend", "trt", "--trust-engines", XDG_STATE_HOME="/nonexistent"
    )
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


def test_what_is_no_plan_is_refused_by_tensorrt_in_one_line(
    gpu: Gpu, refused: Callable[..., str], model: Path
) -> None:
    import hashlib

    plan = make(gpu, model)
    plan.write_bytes(b"nothing that TensorRT wrote")
    sidecar = plan.with_suffix(".json")
    told = json.loads(sidecar.read_text())
    told["sha256"] = hashlib.sha256(plan.read_bytes()).hexdigest()
    sidecar.write_text(json.dumps(told))
    text = refused("--trust-engines", said="TensorRT refuses the engine")
    assert "Serialization" in text
    assert ".cpp" not in text


def test_engines_may_lie_elsewhere(gpu: Gpu, model: Path, image: Path, tmp_path: Path) -> None:
    plan = make(gpu, model)
    plan.parent.rename(tmp_path / "elsewhere")
    ended = gpu.command(
        "run", model, image, "--backend", "trt", "--engine-dir", tmp_path / "elsewhere"
    )
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


def test_engines_with_plugins_find_them(gpu: Gpu, tmp_path: Path) -> None:
    """TensorRT makes a plugin of RoiAlign when it builds, and has to be told to have plugins when it loads."""
    import models

    code = """
import sys
from scenes import on_gpu, square, tell
with on_gpu(sys.argv[1]) as model:
    tell(label=model(square(2)).class_ids.tolist())
"""
    ended = gpu.run(code, models.shown(tmp_path / "model.onnx", roi=True))
    assert ended.outcome.returncode == 0, ended.err
    ended.clean()


def test_a_shape_that_is_an_input_is_refused(gpu: Gpu, tmp_path: Path, image: Path) -> None:
    import models

    model = models.shown(tmp_path / "model.onnx", reshaped=True)
    make(gpu, model)
    ended = gpu.command("run", model, image, "--backend", "trt")
    assert ended.outcome.returncode == 1
    assert "'shape' is a shape, not data" in ended.err
    assert "--backend ort runs it" in ended.err
    assert "Traceback" not in ended.err
    ended.clean()


SHAPES = """
import sys
from edgevision.errors import BackendError
from scenes import on_gpu, tell
profile = {"images": [[1, 3, 64, 64], [1, 3, 64, 64], [1, 3, 128, 128]]}
told = []
with on_gpu(sys.argv[1], profiles=profile) as model:
    for side in (32, 64, 128, 160):
        try:
            told.append(model.session.slot({"images": (1, 3, side, side)}).rows)
        except BackendError as error:
            told.append(str(error))
tell(told=told)
"""


def test_a_shape_outside_the_profile(gpu: Gpu, tmp_path: Path) -> None:
    import models

    ended: Ended = gpu.run(SHAPES, models.squares(tmp_path / "any.onnx", side=None))
    ended.clean()
    small, least, most, large = ended.told["told"]
    assert (least, most) == (1, 1)
    for text, shape in ((small, "1×3×32×32"), (large, "1×3×160×160")):
        assert "not built for that shape" in text
        assert shape in text
        assert "from 1×3×64×64 to 1×3×128×128" in text
        assert "edgevision build" in text
