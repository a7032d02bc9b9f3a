"""Programs on the emulated GPU: the driver, the real pycuda, the kernel's g++ build and the emulated TensorRT."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import driver

from edgevision.cuda.compile import compilers

__all__ = ["Ended", "Gpu", "build_kernels", "listing"]

HERE = Path(__file__).parent
# What an engine's notes, and a compiled kernel, need of the environment.
_NVCC = HERE / "stand_in"


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes:
        outcome: As the driver saw it.
        tensorrt: What the emulated TensorRT noted; empty if it was never imported.
    """

    outcome: driver.Outcome
    tensorrt: Mapping[str, Any]

    @property
    def out(self) -> str:
        return self.outcome.stdout

    @property
    def err(self) -> str:
        return self.outcome.stderr

    @property
    def told(self) -> Any:
        """The last line on stdout, as JSON."""
        return json.loads(self.out.splitlines()[-1])

    def clean(self) -> None:
        """Nothing is left, and nobody did what the driver or TensorRT forbids."""
        assert self.outcome.report, f"it left no report:\n{self.out}\n{self.err}"
        # The primary context is the driver's to take back.
        left = {kind: count for kind, count in self.outcome.live.items() if kind != "contexts"}
        assert left == {}, self.err
        assert self.outcome.report["primary_context_references"] <= 1
        assert "cuCtxDetach" not in self.outcome.report["calls"], (
            "not allowed for a primary context"
        )
        assert self.outcome.violations == [], self.err
        assert self.outcome.report["pending_operations"] == 0
        if self.tensorrt:
            assert self.tensorrt["violations"] == []
            assert set(self.tensorrt["live"].values()) == {0}
        assert "PyCUDA" not in self.err, self.err


class Gpu:
    """Starts programs; each is a process of its own.

    Args:
        emulated: The driver.
        kernels: The g++ build of the kernels.
        folder: For the programs' caches and notes.
    """

    def __init__(self, emulated: driver.Driver, kernels: Path, folder: Path) -> None:
        self.emulated, self.kernels, self.folder = emulated, kernels, folder

    def environment(self, tensorrt: str = "10.3.0") -> dict[str, str]:
        """What a program is told beside what the driver is told."""
        paths = [HERE / "site", HERE, *filter(None, [os.environ.get("PYTHONPATH")])]
        told = {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "EMULATED_TENSORRT": tensorrt,
            "EMULATED_TENSORRT_LISTING": str(listing(tensorrt) or ""),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        if next(iter(compilers()), None) is None:
            told["CUDA_HOME"] = str(_NVCC)
        return told

    def run(
        self,
        code: str,
        *arguments: object,
        settings: driver.Settings | None = None,
        tensorrt: str = "10.3.0",
        timeout_s: float = 300,
        **environment: str,
    ) -> Ended:
        """Runs Python code, with `sys.argv[1:]`; ``settings`` are the driver's."""
        return self.start(
            [sys.executable, "-c", code, *map(str, arguments)],
            settings,
            tensorrt,
            timeout_s,
            environment,
        )

    def command(
        self,
        *arguments: object,
        settings: driver.Settings | None = None,
        tensorrt: str = "10.3.0",
        **environment: str,
    ) -> Ended:
        """Runs the command line of edgevision."""
        code = "import sys; from edgevision.cli import main; main(sys.argv[1:])"
        return self.run(code, *arguments, settings=settings, tensorrt=tensorrt, **environment)

    def start(
        self,
        command: list[str],
        settings: driver.Settings | None,
        tensorrt: str,
        timeout_s: float,
        environment: Mapping[str, str],
    ) -> Ended:
        report = self.folder / f"tensorrt-{os.getpid()}-{len(list(self.folder.iterdir()))}.json"
        outcome = self.emulated.run(
            command,
            replace(settings or driver.Settings(), kernels=self.kernels),
            timeout_s=timeout_s,
            environment={
                **self.environment(tensorrt),
                "EMULATED_TENSORRT_REPORT": str(report),
                **environment,
            },
        )
        found = json.loads(report.read_text()) if report.exists() else {}
        report.unlink(missing_ok=True)
        return Ended(outcome, found)


def listing(version: str) -> Path | None:
    """Names and values of a version of TensorRT; None for one that is not listed."""
    name = ".".join(version.removeprefix("rtx ").split(".")[:3])
    name = f"rtx-{name}" if version.startswith("rtx ") else name
    path = HERE.parent / "tensorrt_api" / f"{name}.txt"
    return path if path.exists() else None


def build_kernels(folder: Path) -> Path | None:
    """The product's kernel built with g++; None where there is no g++."""
    spec = importlib.util.spec_from_file_location("kernel_shim", HERE / "shim" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    return shim.build(folder / "kernels.so") if shim.compiler() is not None else None
