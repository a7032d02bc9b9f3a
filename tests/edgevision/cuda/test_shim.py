"""The build of kernels by g++ (tests/emulation/shim): what the kernel's other tests stand on."""

from __future__ import annotations

import ctypes
import threading

import numpy as np
import pytest

VISIT = """
extern "C" __global__ void visit(int* visits, int width, int height) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    const int z = blockIdx.z * blockDim.z + threadIdx.z;
    if (x < width && y < height) visits[(z * height + y) * width + x] += 1 + (int)gridDim.x;
}
"""
#: A function with the name of one in the product's kernel: sources do not see each other.
SCALE = """
__device__ float within(float value) { return __fmul_rn(value, 2); }
extern "C"  __global__  void scale(float* value) { *value = within(*value); }
"""


@pytest.fixture(scope="module")
def library(shim, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    (folder / "visit.cu").write_text(VISIT)
    (folder / "scale.cu").write_text(SCALE)
    sources = [shim.PREPROCESS, folder / "visit.cu", folder / "scale.cu"]
    return ctypes.CDLL(str(shim.build(folder / "kernels.so", sources)))


def launch(function, grid, block, *values):
    params = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
    function(*grid, *block, params)


def visit(library, visits, grid, block):
    _, height, width = visits.shape
    sizes = ctypes.c_int(width), ctypes.c_int(height)
    launch(library.visit__launch, grid, block, ctypes.c_void_p(visits.ctypes.data), *sizes)


def test_each_thread_of_a_grid_runs_once(library):
    visits = np.zeros((6, 7, 9), np.int32)
    visit(library, visits, (3, 2, 3), (4, 4, 2))
    assert (visits == 4).all()
    visit(library, visits, (1, 1, 1), (2, 1, 1))
    assert visits.sum() == visits.size * 4 + 2 * 2


def test_kernels_of_several_sources_are_in_one_library(library):
    value = ctypes.c_float(3)
    launch(library.scale__launch, (1, 1, 1), (1, 1, 1), ctypes.c_void_p(ctypes.addressof(value)))
    assert value.value == 6
    assert library.edgevision_preprocess__launch


def test_two_threads_may_launch_at_the_same_time(library):
    """ctypes lets go of the GIL, as a driver's worker threads run without it."""
    pictures = [np.zeros((1, 300, 200 + n), np.int32) for n in range(4)]

    def work(picture):
        for _ in range(20):
            visit(library, picture, (4, 19, 1), (64, 16, 1))

    threads = [threading.Thread(target=work, args=(picture,)) for picture in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((picture == 20 * 5).all() for picture in pictures)
