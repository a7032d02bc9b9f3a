"""The CUDA runtime on a real GPU: the kernel against the CPU path, memory, graphs, overlap, and that nothing is left.

    pytest -m gpu tests/gpu

They need a driver, pycuda and a CUDA compiler, not TensorRT.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgevision.cuda.context import primary_context
from edgevision.cuda.driver import call, probe
from edgevision.cuda.graph import Replay
from edgevision.cuda.kernel import Kernel
from edgevision.cuda.library import pycuda_driver
from edgevision.cuda.memory import Twin
from edgevision.cuda.picture import KernelPictures
from edgevision.cuda.timing import Marks
from edgevision.errors import EdgevisionError
from edgevision.frame import Image
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, TensorSpec

pytestmark = pytest.mark.gpu

SPEC = InputSpec((320, 416))
FLOATS_BYTES = 4 * 3 * 320 * 416
NON_BLOCKING = 1


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    try:
        gpu = probe()
        context = primary_context()
    except EdgevisionError as error:
        pytest.skip(error.problem)
    with context.attached():
        loaded = Kernel(gpu)
        yield loaded
        loaded.close()


Make = Callable[..., KernelPictures]


@pytest.fixture
def pictures(kernel: Kernel) -> Iterator[Make]:
    made = []

    def make(spec: InputSpec = SPEC, mapped: bool = False, rows: int = 1) -> KernelPictures:
        tensor = TensorSpec("image", spec.dtype, (rows, *spec.tensor_shape(*(spec.size or (0, 0)))))
        made.append(KernelPictures(spec, tensor, kernel, mapped=mapped))
        return made[-1]

    yield make
    for one in made:
        one.close()


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3), np.uint8)


def tensor_of(one: KernelPictures, spec: InputSpec) -> np.ndarray:
    """What the kernel made: one row."""
    found = np.empty((1, *spec.tensor_shape(*(spec.size or (0, 0)))), spec.dtype)
    pycuda_driver().memcpy_dtoh(found, one.target)
    return found


def made_by_kernel(one: KernelPictures, image: Image, spec: InputSpec) -> np.ndarray:
    stream = pycuda_driver().Stream(NON_BLOCKING)
    one.load(image, 0, None, "bgr")
    one.upload(stream)
    one.launch(stream, 1)
    stream.synchronize()
    return tensor_of(one, spec)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize(("height", "width"), [(576, 768), (97, 131), (1, 1), (1080, 1920)])
def test_the_kernel_makes_the_tensor_of_the_cpu_path(
    pictures: Make, mapped: bool, dtype: str, height: int, width: int
) -> None:
    spec = replace(SPEC, dtype=dtype, scale=1.0 if dtype == "uint8" else SPEC.scale)
    image = noise(height, width)
    wanted = np.zeros((1, 3, 320, 416), dtype)
    Preprocessor(spec, wanted).load(image)
    found = made_by_kernel(pictures(spec, mapped), image, spec)
    np.testing.assert_array_equal(found, wanted)


def test_a_graph_gives_what_direct_calls_give_for_frame_after_frame(pictures: Make) -> None:
    one, stream = pictures(), pycuda_driver().Stream(NON_BLOCKING)
    replay = Replay(stream)
    for number, (height, width) in enumerate([(576, 768), (480, 640), (576, 768), (97, 131)]):
        image = noise(height, width) // (number + 1)
        one.load(image, 0, None, "bgr")
        one.upload(stream)
        replay.run(1, lambda: one.launch(stream, 1))
        stream.synchronize()
        wanted = np.zeros((1, 3, 320, 416), np.float32)
        Preprocessor(SPEC, wanted).load(image)
        np.testing.assert_array_equal(tensor_of(one, SPEC), wanted)
    assert (replay.captures, replay.replays, replay.note) == (1, 3, "")
    replay.forget()


def test_copies_in_two_streams_do_not_disturb_each_other(kernel: Kernel) -> None:
    cuda = pycuda_driver()
    streams = [cuda.Stream(NON_BLOCKING) for _ in range(2)]
    twins = [Twin(1 << 22) for _ in streams]
    for round_ in range(20):
        for number, (twin, stream) in enumerate(zip(twins, streams, strict=True)):
            twin.host[:] = 2 * round_ + number
            twin.upload(twin.host.size, stream)
        for twin, stream in zip(twins, streams, strict=True):
            stream.synchronize()
            twin.host[:] = 255
            twin.download(twin.host.size, stream)
        for number, (twin, stream) in enumerate(zip(twins, streams, strict=True)):
            stream.synchronize()
            assert (twin.host == 2 * round_ + number).all()
    for twin in twins:
        twin.close()


def test_marks_tell_times_that_are_positive_and_end(kernel: Kernel) -> None:
    stream, twin = pycuda_driver().Stream(NON_BLOCKING), Twin(1 << 24)
    for blocking in (False, True):
        marks = Marks(stream, blocking=blocking)
        marks.record(0)
        twin.upload(twin.host.size, stream)
        marks.record(1)
        marks.record(2)
        twin.download(twin.host.size, stream)
        marks.record(3)
        assert marks.wait(10)
        h2d, compute, d2h = marks.durations_ns()
        assert min(h2d, d2h) > 0
        assert compute >= 0
        marks.close()
    twin.close()


def test_making_and_closing_buffers_gives_all_memory_back(kernel: Kernel, pictures: Make) -> None:
    def free() -> int:
        left, total = ctypes.c_size_t(), ctypes.c_size_t()
        assert call("cuMemGetInfo_v2", ctypes.byref(left), ctypes.byref(total)) == 0
        return left.value

    def once() -> None:
        one = pictures(rows=4)
        one.load(noise(1080, 1920), 0, None, "bgr")
        one.close()

    once()
    before, rounds = free(), 50
    for _ in range(rounds):
        once()
    # Not to the byte: a driver keeps pages, and on Jetson it is the memory of all programs.
    assert before - free() < rounds * FLOATS_BYTES / 2
