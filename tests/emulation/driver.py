"""The emulated CUDA driver: built from C with cc, and programs started on it.

A program runs on it unchanged: the library is preloaded, and its name, libcuda.so.1, then satisfies pycuda, ctypes and
whatever else asks for that name. What it proves and what it cannot is written in README.md beside this file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Driver", "Outcome", "Settings", "build", "headers", "unavailable"]

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "libcuda"
FLAGS = [
    *("-std=gnu11", "-O2", "-g", "-fPIC", "-fvisibility=hidden", "-shared", "-pthread"),
    *("-Wall", "-Wextra", "-Wl,-soname,libcuda.so.1"),
]


@dataclass(frozen=True)
class Settings:
    """What one process on the emulated driver is told; the defaults are the driver's own.

    Attributes:
        device: Such as "name=emulated Orin;cc=8.7;integrated=1;memory_mb=8192;driver=12060".
        faults: "cuMemAlloc_v2:2@5" (code 2 from the fifth call on), "...@5x1" (the fifth only), or an operation's
            name ("kernel:700@3"); several are separated by commas.
        delay_us: Microseconds before each operation of a stream: "500", or "copy=200,kernel=1000".
        kernels: The library with the g++ build of the kernels.
    """

    device: str | None = None
    faults: str | None = None
    delay_us: str | None = None
    kernels: Path | None = None

    def environment(self) -> dict[str, str]:
        named = {
            "EMULATED_CUDA_DEVICE": self.device,
            "EMULATED_CUDA_FAULTS": self.faults,
            "EMULATED_CUDA_DELAY_US": self.delay_us,
            "EMULATED_CUDA_KERNELS": self.kernels,
        }
        return {name: str(value) for name, value in named.items() if value is not None}


@dataclass(frozen=True)
class Outcome:
    """How a program ended, and the driver's report; an aborted one leaves none."""

    returncode: int
    stdout: str
    stderr: str
    report: Mapping[str, Any] = field(repr=False)

    @property
    def violations(self) -> list[str]:
        """Each as "kind: call", for a test to compare."""
        return sorted(f"{each['kind']}: {each['call']}" for each in self.report["violations"])

    @property
    def live(self) -> dict[str, int]:
        """What was not given back: allocations and handles by kind, and what the context stacks still hold."""
        left = {kind: tally["live"] for kind, tally in self.report["memory"].items()}
        left |= {kind: n for kind, n in self.report["live_handles"].items() if kind != "functions"}
        left["pushed contexts"] = self.report["context_stack_depth"]
        return {name: count for name, count in left.items() if count}


class Driver:
    """The built library; starts programs on it, each in its own process."""

    def __init__(self, library: Path) -> None:
        self.library = library

    def environment(self, settings: Settings | None = None) -> dict[str, str]:
        """This process's environment with the driver preloaded, and the modules beside this file importable."""
        before = os.environ.get
        return {
            **os.environ,
            "LD_PRELOAD": ":".join(filter(None, [str(self.library), before("LD_PRELOAD")])),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), before("PYTHONPATH")])),
            **(settings or Settings()).environment(),
        }

    def run(
        self,
        command: str | Sequence[str | Path],
        settings: Settings | None = None,
        *,
        timeout_s: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Runs Python code (a string) or a command (a sequence), and reads the report it left."""
        arguments = [sys.executable, "-c", command] if isinstance(command, str) else list(command)
        with tempfile.TemporaryDirectory(prefix="emulated-cuda-") as folder:
            report = Path(folder) / "report.json"
            done = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env={
                    **self.environment(settings),
                    "EMULATED_CUDA_REPORT": str(report),
                    **(environment or {}),
                },
            )
            written = json.loads(report.read_text()) if report.exists() else {}
        return Outcome(done.returncode, done.stdout, done.stderr, written)


def headers() -> Path | None:
    """The folder with cuda.h: of the wheel nvidia-cuda-runtime, else of a CUDA toolkit; None: there is none."""
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "include"
    toolkit = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "include"
    return next((folder for folder in (wheel, toolkit) if (folder / "cuda.h").is_file()), None)


def unavailable() -> str | None:
    """Why the driver cannot be built here; None: it can."""
    if not sys.platform.startswith("linux"):
        return "the emulated CUDA driver needs Linux"
    if shutil.which("cc") is None:
        return "the emulated CUDA driver needs a C compiler called cc"
    if headers() is None:
        return "no cuda.h: run tests/emulation/pycuda_wheel.py"
    return None


def _digest(sources: Sequence[Path]) -> str:
    state = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sources:
        state.update(path.read_bytes())
    return state.hexdigest()[:16]


def build(folder: Path) -> Path:
    """libcuda.so.1 in a folder below `folder`, built only if the sources have changed.

    Raises:
        RuntimeError: There is no compiler or no cuda.h here, or the build failed.
    """
    reason = unavailable()
    if reason is not None:
        raise RuntimeError(reason)
    sources = sorted(SOURCES.glob("*.[ch]"))
    library = folder / _digest(sources) / "libcuda.so.1"
    if library.exists():
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        built = Path(scratch) / library.name
        files = [path for path in sources if path.suffix == ".c"]
        command = ["cc", *FLAGS, f"-I{headers()}", "-o", built, *files, "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"the emulated CUDA driver did not compile:\n{done.stderr}")
        built.replace(library)  # whole, for whoever builds it at the same time
    return library
