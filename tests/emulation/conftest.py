"""The emulated CUDA driver, built once a session; without cc, cuda.h or pycuda its tests are skipped with the reason."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import driver
import models
import program
import pytest


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> driver.Driver:
    """The driver alone: for ctypes, and for programs that do without pycuda."""
    reason = driver.unavailable()
    if reason is not None:
        pytest.skip(reason)
    return driver.Driver(driver.build(tmp_path_factory.mktemp("libcuda")))


@pytest.fixture(scope="session")
def emulated_pycuda(emulated: driver.Driver) -> driver.Driver:
    """The driver for programs that import the real pycuda."""
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("pycuda is not installed: run tests/emulation/pycuda_wheel.py")
    return emulated


@pytest.fixture(scope="session")
def gpu(emulated_pycuda: driver.Driver, tmp_path_factory: pytest.TempPathFactory) -> program.Gpu:
    """All of the emulated GPU: driver, pycuda, the kernel, TensorRT."""
    folder = tmp_path_factory.mktemp("gpu")
    kernels = program.build_kernels(tmp_path_factory.mktemp("kernels"))
    if kernels is None:
        pytest.skip("there is no g++ to build the kernel with")
    return program.Gpu(emulated_pycuda, kernels, folder)


@pytest.fixture(scope="session")
def nanodet(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NanoDet, a real detector, with its spec in its metadata."""
    return models.with_spec(
        test_data / "models/nanodet.onnx",
        tmp_path_factory.mktemp("models") / "nanodet.onnx",
        "nanodet",
        (test_data / "labels/coco-80.txt").read_text().split("\n")[:80],
    )


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of coloured squares, which runs in a millisecond."""
    return models.squares(tmp_path_factory.mktemp("models") / "squares.onnx")
