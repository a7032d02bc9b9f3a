"""The kernel's source built with g++ and called in this process: what the tests compare with OpenCV."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.cuda.job import KERNEL, Job, Pixels
from edgevision.geometry import Affine, Transform
from edgevision.preprocess import tensor_size
from edgevision.spec import InputSpec

BUILD = Path(__file__).parents[2] / "emulation" / "shim" / "build.py"


@pytest.fixture(scope="session")
def shim() -> ModuleType:
    """tests/emulation/shim/build.py; a folder of tests is no package."""
    spec = importlib.util.spec_from_file_location("kernel_shim", BUILD)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.compiler() is None:
        pytest.skip("there is no g++ to build the kernel with")
    return module


class Kernel:
    """Launches the g++ build as the driver would: a grid, a block, pointers to three arguments."""

    def __init__(self, library: Path) -> None:
        self._launch = getattr(ctypes.CDLL(str(library)), f"{KERNEL}__launch")

    def launch(
        self, job: Job, source: int, target: int, grid: tuple[int, int, int] | None = None
    ) -> None:
        values = [ctypes.c_void_p(v) for v in (source, target, job.record.ctypes.data)]
        params = (ctypes.c_void_p * 3)(*map(ctypes.addressof, values))
        self._launch(*(grid or job.grid), *job.block, params)

    def load(
        self,
        spec: InputSpec,
        image: np.ndarray,
        *,
        format: str = "bgr",
        region: Affine | None = None,
        grid: tuple[int, int, int] | None = None,
    ) -> tuple[np.ndarray, Transform]:
        """One row of the tensor, and the way back; bytes around the row must stay what they were."""
        pixels = Pixels.of(image, format)
        part = (pixels.height, pixels.width) if region is None else (region.height, region.width)
        hw = tensor_size(spec, *part)
        rows = np.full((3, *spec.tensor_shape(*hw)), 77, spec.dtype)
        job = Job(spec, hw)
        transform = job.fill(pixels, region)
        self.launch(job, image.ctypes.data, rows[1].ctypes.data, grid)
        assert (rows[[0, 2]] == 77).all()
        return rows[1], transform


@pytest.fixture(scope="session")
def kernel(shim: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(shim.build(tmp_path_factory.mktemp("kernel") / "kernels.so"))


@pytest.fixture(scope="session")
def noise() -> Callable[..., np.ndarray]:
    """Random bytes: what no rounding can hide in."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

    return make


@pytest.fixture(scope="session")
def real_frames(test_data: Path) -> list[Any]:
    """Frames of a street and of a face."""
    frames = []
    for name, number in (("vtest.avi", 100), ("carphone.mp4", 10)):
        video = cv2.VideoCapture(str(test_data / "video" / name), cv2.CAP_FFMPEG)
        video.set(cv2.CAP_PROP_POS_FRAMES, number)
        fine, frame = video.read()
        assert fine, name
        frames.append(frame)
    return frames
