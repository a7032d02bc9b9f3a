"""Builds .cu files with g++ into one shared library, in which each kernel NAME has a function ``NAME__launch``.

``void NAME__launch(unsigned gx, gy, gz, bx, by, bz, void **params)``: the grid, the block and, as for
cuLaunchKernel, pointers to the arguments' values. It returns when all threads have run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import edgevision

__all__ = ["PREPROCESS", "build", "compiler", "kernels"]

#: The product's kernel.
PREPROCESS = Path(edgevision.__file__).parent / "cuda" / "preprocess.cu"
SHIM = Path(__file__).with_name("cuda_shim.h")

_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(\w+)\s*\(')
#: Floats are rounded as on the device: no fused multiply-add, nothing reordered.
_FLAGS = ["-std=c++17", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-Wall", "-Werror"]


def compiler() -> str | None:
    """A C++ compiler of GCC's kind, None where there is none."""
    return shutil.which("g++") or shutil.which("c++")


def kernels(source: str) -> list[str]:
    """The names of the kernels in a .cu file."""
    return _KERNEL.findall(source)


def build(
    library: Path, sources: Sequence[Path] = (PREPROCESS,), flags: Sequence[str] = ()
) -> Path:
    """Compiles the sources behind the shim.

    Args:
        library: The file to write; its folder exists.
        sources: The .cu files; their kernels have different names.
        flags: More options for g++.

    Returns:
        ``library``.

    Raises:
        subprocess.CalledProcessError: g++ refused it; what it said is in ``stderr``.
    """
    found = compiler()
    if found is None:
        raise FileNotFoundError("there is no g++")
    with tempfile.TemporaryDirectory() as folder:
        units = []
        for number, path in enumerate(sources):
            unit = Path(folder, f"{number}.cc")
            names = kernels(path.read_text("utf-8"))
            launchers = [f"EMULATED_KERNEL({name})" for name in names]
            lines = [f'#include "{SHIM}"', f'#include "{path.resolve()}"', *launchers, ""]
            unit.write_text("\n".join(lines))
            units.append(str(unit))
        subprocess.run(
            [found, *_FLAGS, *flags, *units, "-o", str(library)],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
    return library
