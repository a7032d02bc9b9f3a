"""The kernel through the real compilers, where they are; and the cache and the errors around any compiler."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from dataclasses import dataclass, field

import pytest

from edgevision.cuda import compile as compiling
from edgevision.cuda.compile import Nvcc, binary, find_nvcc, source
from edgevision.cuda.nvrtc import find_nvrtc
from edgevision.errors import BackendError, DependencyError
from edgevision.user_cache import user_cache

#: Architectures of Jetson Orin (87), Thor (110), and of cards: Turing, Hopper.
ARCHITECTURES = ["75", "87", "90", "110"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def nvcc():
    found = find_nvcc()
    if found is None:
        pytest.skip("nvcc is not on this machine")
    return found


@pytest.fixture(scope="module")
def nvrtc():
    for found in find_nvrtc():
        return found
    pytest.skip("NVRTC is not on this machine: pip install nvidia-cuda-nvrtc-cu12")


def architecture(cubin):
    """Of a cubin: ELF for machine 190 (EM_CUDA); the flags' second byte from CUDA 13 on, before it the first."""
    assert cubin[:4] == b"\x7fELF"
    assert struct.unpack_from("<H", cubin, 18)[0] == 190
    flags = struct.unpack_from("<I", cubin, 48)[0]
    return {str(flags >> 8 & 0xFF), str(flags & 0xFF)}


@pytest.mark.parametrize("sm", ARCHITECTURES)
def test_nvcc_compiles_the_kernel_for(nvcc, sm):
    try:
        cubin = nvcc.compile(source(), sm)
    except BackendError as error:
        if "Unsupported gpu architecture" in str(error):
            pytest.skip(f"{nvcc.name} does not know sm_{sm}")
        raise
    assert sm in architecture(cubin)
    assert b"edgevision_preprocess" in cubin


@pytest.mark.parametrize("sm", ARCHITECTURES)
def test_nvrtc_compiles_the_kernel_for(nvrtc, sm):
    try:
        cubin = nvrtc.compile(source(), sm)
    except BackendError as error:
        if "invalid value for --gpu-architecture" in str(error):
            pytest.skip(f"{nvrtc.name} does not know sm_{sm}")
        raise
    assert sm in architecture(cubin)
    assert b"edgevision_preprocess" in cubin


@pytest.mark.parametrize("sm", ARCHITECTURES)
def test_the_kernel_works_in_registers_only(nvcc, sm, tmp_path):
    """Local memory is the GPU's memory: a spill would cost more than what the kernel reads."""
    (tmp_path / "kernel.cu").write_bytes(source())
    command = [
        nvcc.path,
        "-cubin",
        f"-arch=sm_{sm}",
        "-Xptxas",
        "-v",
        "-o",
        "kernel.cubin",
        "kernel.cu",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if "Unsupported gpu architecture" in done.stderr:
        pytest.skip(f"{nvcc.name} does not know sm_{sm}")
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stderr
    registers = int(re.search(r"Used (\d+) registers", done.stderr)[1])
    assert registers <= 64  # of 64 Ki: at least 1,024 threads at work on each multiprocessor


def test_what_a_real_compiler_says_is_passed_on(nvcc):
    with pytest.raises(BackendError, match=r"sm_87(.|\n)*nonsense"):
        nvcc.compile(b"nonsense", "87")
    with pytest.raises(BackendError, match="sm_12345"):
        nvcc.compile(source(), "12345")


def test_what_nvrtc_says_is_passed_on(nvrtc):
    with pytest.raises(BackendError, match=r"sm_75(.|\n)*nonsense"):
        nvrtc.compile(b"nonsense", "75")


@dataclass
class Stand:
    """In the place of a compiler, to see when it is asked."""

    name: str = "stand-in-12.6"
    version: tuple[int, int] = (12, 6)
    fails: str = ""
    asked: list[str] = field(default_factory=list)

    def compile(self, source, sm):
        self.asked.append(sm)
        if self.fails:
            raise BackendError(f"{self.name} did not compile", received=self.fails)
        return f"{self.name} {sm} {len(source)}".encode()


@pytest.fixture
def use(monkeypatch):
    def replace(*stands):
        monkeypatch.setattr(compiling, "compilers", lambda: iter(stands))

    return replace


def test_it_is_compiled_once_for_each_gpu(use):
    stand = Stand()
    use(stand)
    first, other = binary("87"), binary("75")
    assert first != other
    assert (binary("87"), binary("75")) == (first, other)
    assert stand.asked == ["87", "75"]


def test_another_compiler_or_source_compiles_anew(use, monkeypatch):
    stands = [Stand(), Stand("stand-in-12.8", (12, 8))]
    for stand in stands:
        use(stand)
        assert binary("87").startswith(stand.name.encode())
    monkeypatch.setattr(compiling, "source", lambda: b"another")
    assert binary("87").endswith(b" 7")
    assert stands[1].asked == ["87", "87"]


@pytest.mark.parametrize("damage", [b"", b"x", None], ids=["empty", "short", "a bit"])
def test_what_is_damaged_in_the_cache_is_compiled_anew(use, damage):
    stand = Stand()
    use(stand)
    good = binary("87")
    (file,) = user_cache("kernels").iterdir()
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if damage is None else damage)
    assert binary("87") == good
    assert stand.asked == ["87", "87"]
    assert file.read_bytes() == data


def test_without_a_cache_it_is_compiled_each_time(use, monkeypatch):
    stand = Stand()
    use(stand)
    monkeypatch.setattr(compiling, "user_cache", lambda *_: None)
    assert binary("87") == binary("87")
    assert stand.asked == ["87", "87"]


def test_a_full_disk_costs_the_cache_only(use, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    use(Stand())
    monkeypatch.setattr(compiling, "write_whole", full)
    assert binary("87")


def test_the_next_compiler_is_asked_where_one_fails(use):
    broken, good = Stand("nvcc-12.6.85", fails="cannot find g++"), Stand()
    use(broken, good)
    assert binary("87").startswith(b"stand-in")


def test_all_failures_are_told_at_once(use):
    use(Stand("one", fails="cannot find g++"), Stand("two", fails="unknown architecture"))
    with pytest.raises(
        BackendError, match=r"sm_87(.|\n)*g\+\+(.|\n)*unknown architecture(.|\n)*try:"
    ):
        binary("87")


def test_no_compiler_says_how_to_get_one(use):
    use()
    with pytest.raises(
        DependencyError, match=r"none was found(.|\n)*apt install(.|\n)*pip install"
    ):
        binary("87")


def test_a_compiler_that_is_too_new_for_the_driver_is_left_alone(use):
    new, old = Stand("nvcc-13.0.88", (13, 0)), Stand()
    use(new, old)
    assert binary("87", driver=(12, 6)).startswith(b"stand-in-12.6")
    use(new)
    with pytest.raises(DependencyError, match=r"nvcc-13\.0\.88(.|\n)*CUDA 12 or before"):
        binary("87", driver=(12, 6))
    assert new.asked == []
    assert binary("87", driver=(13, 1))


@pytest.mark.parametrize("sm", ["", "sm_87", "8.7", "../x"])
def test_what_is_no_architecture_is_a_mistake_of_the_caller(use, sm):
    use(Stand())
    with pytest.raises(ValueError, match="no architecture"):
        binary(sm)


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_the_toolkit_that_cuda_home_names_comes_first(tmp_path, monkeypatch):
    said = "echo 'Cuda compilation tools, release {0}, V{0}.85'"
    script(tmp_path / "home" / "bin" / "nvcc", said.format("12.6"))
    script(tmp_path / "path" / "nvcc", said.format("11.4"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    assert find_nvcc() == Nvcc(tmp_path / "path" / "nvcc", "11.4.85")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    found = find_nvcc()
    assert found == Nvcc(tmp_path / "home" / "bin" / "nvcc", "12.6.85")
    assert (found.version, found.name) == ((12, 6), "nvcc-12.6.85")


@pytest.mark.parametrize(
    ("text", "said"),
    [("echo broken >&2; exit 1", "broken"), ("exit 3", "exit status 3"), ("exit 0", "did not")],
)
def test_an_nvcc_that_fails_is_an_error_with_what_it_said(tmp_path, text, said):
    script(tmp_path / "nvcc", text)
    with pytest.raises(BackendError, match=said):
        Nvcc(tmp_path / "nvcc", "12.6.85").compile(b"", "87")
