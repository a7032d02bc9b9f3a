"""A stand-in for a compiled kernel where there is no compiler for GPUs: a cubin's header and its kernels' names.

The emulated driver checks of a cubin what this holds, and runs the g++ build of the kernel either way. With nvcc or
NVRTC at hand, the real cubin is loaded just as well.
"""

from __future__ import annotations

import re
import shlex
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["install_nvcc", "stand_in"]

_KERNEL = re.compile(rb'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_MACHINE_CUDA, _EXECUTABLE, _ABI_VERSION = 190, 2, 8
_SECTION_HEADER_BYTES = 64


def stand_in(kernels: Sequence[str], sm: int) -> bytes:
    """A 64-bit ELF file for CUDA's machine and the architecture (87), with the names where symbols' names lie."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in kernels)
    ident = b"\x7fELF" + bytes([2, 1, 1, 0x41, _ABI_VERSION]) + bytes(7)
    sections_at = _HEADER.size + len(names)
    flags = sm << 8 | 4
    header = _HEADER.pack(
        *(ident, _EXECUTABLE, _MACHINE_CUDA, 1, 0, 0, sections_at, flags),
        *(_HEADER.size, 0, 0, _SECTION_HEADER_BYTES, 1, 0),
    )
    return header + names + bytes(_SECTION_HEADER_BYTES)


def install_nvcc(folder: Path, release: str = "13.0, V13.0.88") -> Path:
    """Writes a command called nvcc, for a search path, that makes stand-ins; returns it."""
    command = folder / "nvcc"
    python, this = shlex.quote(sys.executable), shlex.quote(str(Path(__file__).resolve()))
    command.write_text(f'#!/bin/sh\nexec {python} {this} {shlex.quote(release)} "$@"\n')
    command.chmod(0o755)
    return command


def _nvcc(release: str, arguments: Sequence[str]) -> None:
    if "--version" in arguments:
        print(f"nvcc: a stand-in for tests\nCuda compilation tools, release {release}")
        return
    sm = next(each for each in arguments if each.startswith("-arch=sm_")).removeprefix("-arch=sm_")
    source = Path(arguments[-1]).read_bytes()
    names = [name.decode() for name in _KERNEL.findall(source)]
    Path(arguments[arguments.index("-o") + 1]).write_bytes(stand_in(names, int(sm)))


if __name__ == "__main__":
    _nvcc(sys.argv[1], sys.argv[2:])
