"""Kernels on the emulated driver: binaries checked as a driver checks them, launches given to the g++ build."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cubin
import pytest
from driver import Driver, Outcome, Settings
from shim import build as shim

SOURCE = """
extern "C" __global__ void add(const unsigned char* from, unsigned char* to, const int* parameters) {
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < (unsigned)parameters[0]) to[at] = from[at] + parameters[1];
}
"""
PRELUDE = """
import ctypes
from pathlib import Path
from raw_cuda import *

def load(path, *, expected=0):
    image = Path(path).read_bytes()
    module = ctypes.c_uint64()
    expect(expected, "cuModuleLoadDataEx", ctypes.byref(module), ctypes.create_string_buffer(image), 0, None, None)
    return module.value

def launch(kernel, *arguments, grid=1, block=64, stream):
    packed = (ctypes.c_uint64 * len(arguments))(*arguments)
    size = ctypes.c_size_t(ctypes.sizeof(packed))
    extra = (ctypes.c_void_p * 5)(1, ctypes.addressof(packed), 2, ctypes.addressof(size), 0)
    return call("cuLaunchKernel", kernel, grid, 1, 1, block, 1, 1, 0, stream.handle, None, extra)

def numbers(*values):
    there = alloc(4 * len(values))
    expect(0, "cuMemcpyHtoD_v2", there, (ctypes.c_int * len(values))(*values), 4 * len(values))
    return there
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with add.cu, its g++ build and its stand-in cubin."""
    if shim.compiler() is None:
        pytest.skip("there is no g++ to build kernels with")
    folder = tmp_path_factory.mktemp("kernels")
    source = folder / "add.cu"
    source.write_text(SOURCE)
    shim.build(folder / "kernels.so", [source])
    (folder / "add.cubin").write_bytes(cubin.stand_in(["add"], 87))
    return folder


def run(emulated: Driver, folder: Path, code: str, device: str | None = None) -> Outcome:
    settings = Settings(kernels=folder / "kernels.so", device=device)
    body = code.replace("{folder}", str(folder))
    outcome = emulated.run(PRELUDE + body, settings)
    assert outcome.returncode == 0, outcome.stderr
    return outcome


def test_a_kernel_runs_in_its_streams_order_and_in_a_graph(emulated, kernels):
    outcome = run(
        emulated,
        kernels,
        """
start()
stream, source, result, there, to = Stream(), pinned(100), pinned(100), alloc(100), alloc(100)
add = made("cuModuleGetFunction", load("{folder}/add.cubin"), b"add")
parameters = numbers(100, 5)
def work():
    stream.upload(there, source)
    assert launch(add, there, to, parameters, grid=2, stream=stream) == 0
    stream.download(result, to)
source[:] = bytes(range(100))
work()
assert stream.synchronize() == 0 and bytes(result) == bytes(range(5, 105))
stream.begin()
work()
replay = made("cuGraphInstantiateWithFlags", stream.end()[1], 0)
source[:] = bytes(range(100, 200))
expect(0, "cuGraphLaunch", replay, stream.handle)
assert stream.synchronize() == 0 and bytes(result) == bytes(range(105, 205))
""",
    )
    assert outcome.violations == []
    assert outcome.report["operations"]["kernel"] == 2


def test_a_kernel_that_leaves_its_memory_breaks_the_context_and_not_the_process(emulated, kernels):
    outcome = run(
        emulated,
        kernels,
        """
start()
stream, small = Stream(), alloc(256)
add = made("cuModuleGetFunction", load("{folder}/add.cubin"), b"add")
assert launch(add, small, small, numbers(4096, 1), grid=64, stream=stream) == 0
assert stream.synchronize() == 700
expect(700, "cuMemFree_v2", small)
expect(0, "cuCtxPopCurrent_v2", None)
""",
    )
    assert outcome.violations == ["illegal address: cuLaunchKernel"]


@pytest.mark.parametrize(
    ("argument", "violation"),
    [
        ("ctypes.addressof(here)", "host address on the device: cuLaunchKernel"),
        ("freed", "use after free: cuLaunchKernel"),
    ],
)
def test_a_kernel_is_not_given_a_hosts_or_a_freed_address(emulated, kernels, argument, violation):
    outcome = run(
        emulated,
        kernels,
        f"""
start()
stream, here, there, freed = Stream(), pinned(64), alloc(64), alloc(64)
expect(0, "cuMemFree_v2", freed)
add = made("cuModuleGetFunction", load("{{folder}}/add.cubin"), b"add")
assert launch(add, {argument}, there, numbers(64, 1), stream=stream) == 0
assert stream.synchronize() == 700
""",
    )
    assert outcome.violations == [violation]


def test_a_launch_that_no_device_takes_is_refused(emulated, kernels):
    run(
        emulated,
        kernels,
        """
start()
stream, there = Stream(), alloc(64)
add = made("cuModuleGetFunction", load("{folder}/add.cubin"), b"add")
assert launch(add, there, there, numbers(1, 1), block=1025, stream=stream) == 1
assert launch(add, there, there, numbers(1, 1), grid=0, stream=stream) == 1
""",
    )


@pytest.mark.parametrize(("cc", "expected"), [("8.7", 0), ("8.9", 0), ("8.6", 209), ("9.0", 209)])
def test_a_cubin_runs_on_its_own_generation_from_its_own_version_on(
    emulated, kernels, cc, expected
):
    code = f'start()\nload("{{folder}}/add.cubin", expected={expected})'
    run(emulated, kernels, code, device=f"cc={cc}")


def test_a_kernel_or_a_binary_that_is_not_one_is_told_apart(emulated, kernels):
    (kernels / "text.cubin").write_text("no binary")
    (kernels / "host.cubin").write_bytes((kernels / "kernels.so").read_bytes())
    run(
        emulated,
        kernels,
        """
start()
function = ctypes.c_uint64()
module = load("{folder}/add.cubin")
expect(500, "cuModuleGetFunction", ctypes.byref(function), module, b"subtract")
load("{folder}/text.cubin", expected=200)
load("{folder}/host.cubin", expected=200)
add = made("cuModuleGetFunction", module, b"add")
expect(0, "cuModuleUnload", module)
assert launch(add, 0, 0, 0, stream=Stream()) == 400, "it went with its module"
""",
    )


@pytest.mark.parametrize("sm", [75, 87, 90, 110])
def test_what_nvcc_compiles_is_read_like_the_stand_in(emulated, kernels, sm):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("nvcc is not on this machine")
    real = kernels / f"real-{sm}.cubin"
    command = [nvcc, "-cubin", f"-arch=sm_{sm}", "-o", real, kernels / "add.cu"]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"this nvcc does not know sm_{sm}")
    code = f"""
start()
made("cuModuleGetFunction", load("{real}"), b"add")
"""
    run(emulated, kernels, code, device=f"cc={sm // 10}.{sm % 10}")
    run(emulated, kernels, f'start()\nload("{real}", expected=209)', device="cc=8.0")
