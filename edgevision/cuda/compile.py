"""Compiles the pre-processing kernel for a GPU, on the device itself, once: the result stays in the user's cache.

By nvcc where it is, else by NVRTC. What lies in the cache is named after the source, the architecture and the
compiler, so that another version of any of them is compiled anew.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Protocol

from edgevision.cuda.nvrtc import find_nvrtc
from edgevision.errors import BackendError, DependencyError
from edgevision.user_cache import user_cache
from edgevision.whole_file import write_whole

__all__ = ["Compiler", "Nvcc", "binary", "compilers", "find_nvcc", "source"]

_HINT = (
    "on Jetson: sudo apt install cuda-nvcc-12-6 (JetPack 6) or cuda-nvcc-13-0 (JetPack 7); elsewhere:"
    " pip install nvidia-cuda-nvrtc-cu12 (CUDA 12) or nvidia-cuda-nvrtc (CUDA 13)"
)
_TIMEOUT_S = 120
_DIGEST_BYTES = hashlib.sha256().digest_size


class Compiler(Protocol):
    """Something that makes a cubin of CUDA C++."""

    @property
    def name(self) -> str:
        """With its version; goes into a file's name."""
        ...

    @property
    def version(self) -> tuple[int, int]:
        """Of CUDA, ``(major, minor)``."""
        ...

    def compile(self, source: bytes, sm: str) -> bytes:
        """The cubin for an architecture, such as ``87``.

        Raises:
            BackendError: This compiler cannot make it.
        """
        ...


@dataclass(frozen=True)
class Nvcc:
    """The toolkit's compiler.

    Attributes:
        path: Of the command.
        release: Its version in full, such as ``12.6.85``.
    """

    path: Path
    release: str

    @property
    def name(self) -> str:
        return f"nvcc-{self.release}"

    @property
    def version(self) -> tuple[int, int]:
        major, minor = self.release.split(".")[:2]
        return int(major), int(minor)

    def compile(self, source: bytes, sm: str) -> bytes:
        with tempfile.TemporaryDirectory(prefix="edgevision-") as name:
            text, cubin = Path(name, "preprocess.cu"), Path(name, "preprocess.cubin")
            text.write_bytes(source)
            command = [str(self.path), "-cubin", f"-arch=sm_{sm}", "-o", str(cubin), str(text)]
            failed = _run(command)[1]
            if failed or not cubin.is_file():
                raise BackendError(
                    f"{self.name} did not compile the kernel for sm_{sm}", received=failed[-500:]
                )
            return cubin.read_bytes()


def binary(sm: str, driver: tuple[int, int] | None = None) -> bytes:
    """The kernel as a cubin, from the cache, or compiled now, which takes a second or two.

    Args:
        sm: The GPU's architecture, such as ``87``.
        driver: CUDA version of the driver; it loads nothing that a later major version compiled.

    Raises:
        DependencyError: There is no compiler for it on this machine.
        BackendError: Those there are did not compile it.
    """
    if not sm.isdecimal():
        raise ValueError(f"no architecture: {sm!r}")
    text, too_new, refused = source(), list[Compiler](), list[BackendError]()
    for compiler in compilers():
        if driver is not None and compiler.version[0] > driver[0]:
            too_new.append(compiler)
            continue
        place = _place(text, sm, compiler)
        found = _load(place)
        if found is not None:
            return found
        try:
            made = compiler.compile(text, sm)
        except BackendError as error:
            refused.append(error)
            continue
        _store(place, made)
        return made
    if refused:
        raise _refusal(sm, refused) from refused[-1]
    raise _nothing(too_new, driver)


def source() -> bytes:
    """The kernel's source, as it is installed."""
    return resources.files("edgevision.cuda").joinpath("preprocess.cu").read_bytes()


def compilers() -> Iterator[Compiler]:
    """Those on this machine, the preferred first; looked for one by one, as they are asked for."""
    nvcc = find_nvcc()
    if nvcc is not None:
        yield nvcc
    yield from find_nvrtc()


def find_nvcc() -> Nvcc | None:
    """The toolkit's compiler: in ``$CUDA_HOME``, on the path, or where the toolkit is by default."""
    home = os.environ.get("CUDA_HOME")
    places = [Path(home, "bin", "nvcc")] if home else []
    on_path = shutil.which("nvcc")
    places += [Path(on_path)] if on_path else []
    places.append(Path("/usr/local/cuda/bin/nvcc"))
    for path in places:
        # "Cuda compilation tools, release 12.6, V12.6.85"
        said = re.search(r"\bV(\d+\.\d+\.\d+)\b", _run([str(path), "--version"])[0])
        if said is not None:
            return Nvcc(path, said[1])
    return None


def _refusal(sm: str, refused: list[BackendError]) -> BackendError:
    return BackendError(
        f"the pre-processing kernel cannot be compiled for sm_{sm}",
        received="; ".join(f"{error.problem}: {error.received}" for error in refused),
        expected="a compiler that knows this GPU",
        hint=_HINT,
    )


def _nothing(too_new: list[Compiler], driver: tuple[int, int] | None) -> DependencyError:
    names = ", ".join(compiler.name for compiler in too_new)
    return DependencyError(
        "the pre-processing kernel needs a CUDA compiler",
        received=f"too new for the driver: {names}" if names else "none was found",
        expected="nvcc or NVRTC" + (f" of CUDA {driver[0]} or before" if driver else ""),
        hint=_HINT,
    )


def _run(command: list[str]) -> tuple[str, str]:
    """What a command printed; and what went wrong, empty if nothing did."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    out, err = (text.decode(errors="replace").strip() for text in (done.stdout, done.stderr))
    failed = (err or out or f"exit status {done.returncode}") if done.returncode else ""
    return out, failed


def _place(text: bytes, sm: str, compiler: Compiler) -> Path | None:
    folder = user_cache("kernels")
    if folder is None:
        return None
    digest = hashlib.sha256(text).hexdigest()[:16]
    return folder / f"preprocess-{digest}-sm_{sm}-{compiler.name}"


def _load(place: Path | None) -> bytes | None:
    """The cubin, if it is there and as it was written: before it is its SHA-256."""
    if place is None:
        return None
    with suppress(OSError):
        data = place.read_bytes()
        digest, cubin = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if cubin and hashlib.sha256(cubin).digest() == digest:
            return cubin
    return None


def _store(place: Path | None, cubin: bytes) -> None:
    # A full disk costs the compilation next time, not this run.
    with suppress(OSError):
        if place is not None:
            write_whole(place, hashlib.sha256(cubin).digest() + cubin)
