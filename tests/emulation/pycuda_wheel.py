"""Builds the real pycuda from its source distribution, without a GPU or a CUDA toolkit, and installs it here.

    python tests/emulation/pycuda_wheel.py

CUDA's headers come from NVIDIA's wheels on PyPI; the driver that pycuda is linked to is the emulated one. The wheel is
kept in the user's cache folder, since building it takes a minute or two.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import driver

__all__ = ["install"]

PYCUDA = "pycuda==2026.1"
HEADERS = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-profiler-api==13.0.85"]
BUILD_NEEDS = ["setuptools>=77", "wheel", "numpy"]

# pycuda's set-up reads this file from the home folder; cuRAND has no part in what is tested.
DEFAULTS = """\
CUDA_ROOT = None
CUDA_INC_DIR = [{headers!r}]
CUDADRV_LIB_DIR = [{libraries!r}]
CUDA_ENABLE_CURAND = False
"""


def _pip(*arguments: str, environment: dict[str, str] | None = None) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    subprocess.run(command, check=True, env={**os.environ, **(environment or {})})


def cache() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    facts = [PYCUDA, *HEADERS, sys.version, metadata.version("numpy").partition(".")[0]]
    return base / "edgevision-tests" / hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _build(folder: Path, headers: Path) -> Path:
    """The wheel, in `folder`; written whole, so an interrupted build leaves none."""
    with tempfile.TemporaryDirectory(prefix="pycuda-") as scratch:
        home = Path(scratch)
        library = driver.build(home)
        (library.parent / "libcuda.so").symlink_to(
            library.name
        )  # the name that the linker looks for
        settings = DEFAULTS.format(headers=str(headers), libraries=str(library.parent))
        (home / ".aksetup-defaults.py").write_text(settings)
        _pip(
            *("wheel", "--no-build-isolation", "--no-deps", "--no-binary", "pycuda"),
            *("--wheel-dir", str(home / "wheel"), PYCUDA),
            # pip's own cache would give back a pycuda that was built with other settings.
            "--no-cache-dir",
            # Half the time of the default; which of the two counts depends on the version of setuptools.
            environment={"HOME": str(home), "CFLAGS": "-g0 -O1", "CXXFLAGS": "-g0 -O1"},
        )
        built = next((home / "wheel").glob("pycuda-*.whl"))
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{built.name}.part"
        partial.write_bytes(built.read_bytes())
        return partial.replace(folder / built.name)


def install() -> None:
    _pip("install", *BUILD_NEEDS, *HEADERS)
    headers = driver.headers()
    if headers is None:
        raise SystemExit("the header wheels hold no cuda.h")
    folder = cache()
    wheel = next(folder.glob("pycuda-*.whl"), None) or _build(folder, headers)
    _pip("install", str(wheel))


if __name__ == "__main__":
    install()
