"""NVRTC, the CUDA compiler that is one shared library, through ctypes.

https://docs.nvidia.com/cuda/nvrtc/: it comes with the toolkit, with JetPack's runtime and as a wheel.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgevision.errors import BackendError

__all__ = ["Nvrtc", "find_nvrtc"]

#: The newest first: those that know an architecture are a later version's. 11.2 is the name of all from 11.2 on.
_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so")
#: Where NVIDIA's wheels put it in site-packages.
_WHEELS = ("nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib")


@dataclass(frozen=True)
class Nvrtc:
    """One NVRTC.

    Attributes:
        library: As loaded.
        version: Of CUDA, ``(major, minor)``.
    """

    library: ctypes.CDLL
    version: tuple[int, int]

    @property
    def name(self) -> str:
        """Such as ``nvrtc-12.9``."""
        return f"nvrtc-{self.version[0]}.{self.version[1]}"

    def compile(self, source: bytes, sm: str) -> bytes:
        """Compiles a source of one file to a cubin.

        Args:
            source: CUDA C++, no includes.
            sm: The architecture, such as ``87``.

        Raises:
            BackendError: It does not compile, or this NVRTC does not know the architecture.
        """
        program = ctypes.c_void_p()
        self._call("CreateProgram", ctypes.byref(program), source, b"preprocess.cu", 0, None, None)
        try:
            options = (ctypes.c_char_p * 1)(f"--gpu-architecture=sm_{sm}".encode())
            status = self.library.nvrtcCompileProgram(program, 1, options)
            if status:
                log = self._read("ProgramLog", program).rstrip(b"\0\n").decode(errors="replace")
                raise BackendError(
                    f"{self.name} did not compile the kernel for sm_{sm}",
                    received=log[-500:] or self._text(status),
                )
            return self._read("CUBIN", program)
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._call(f"Get{what}Size", program, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        self._call(f"Get{what}", program, data)
        return data.raw

    def _call(self, function: str, *arguments: object) -> None:
        status = getattr(self.library, f"nvrtc{function}")(*arguments)
        if status:
            raise BackendError(
                f"{self.name} failed in nvrtc{function}", received=self._text(status)
            )

    def _text(self, status: int) -> str:
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return str(self.library.nvrtcGetErrorString(status).decode(errors="replace"))


def find_nvrtc() -> Iterator[Nvrtc]:
    """Those on this machine: on the library path, in the toolkit, in site-packages."""
    found: set[tuple[int, int]] = set()
    for name in [*_NAMES, *map(str, _files())]:
        try:
            library = ctypes.CDLL(name)
            major, minor = ctypes.c_int(), ctypes.c_int()
            if library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)):
                continue
        except (OSError, AttributeError):  # not there, or no NVRTC
            continue
        version = (major.value, minor.value)
        if version not in found:
            found.add(version)
            yield Nvrtc(library, version)


def _files() -> Iterator[Path]:
    home = Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")
    folders = [home / "lib64", *(Path(p) / wheel for p in sys.path if p for wheel in _WHEELS)]
    for folder in folders:
        for name in _NAMES:
            if (folder / name).is_file():
                yield folder / name
