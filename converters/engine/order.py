"""What is asked of the engine builder, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgevision.engine_key import EngineKey
from edgevision.engines import Engine

__all__ = ["Asked", "BuildOrder", "Built", "Range", "Request"]

#: Least, best and most dims of one input.
Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What the user asks for.

    Attributes:
        bundle: A bundle's folder, or one ONNX file that says how it is run.
        variant: Its id; None chooses what is made for TensorRT.
        target: ``rtx``, ``rtx-sm89``, a card's name; None is the GPU at hand.
        engine_dir: Where to put the engine, in place of the bundle's own folder.
        shapes: Ranges of inputs with open dims, by name, in place of what follows from the spec.
        batch: Most rows of an input whose batch is open.
        workspace_mib: Scratch memory that kernels may use; None is the library's own limit.
        seconds: Time that a build may take.
        timing_cache: Whether measured kernel times are kept for the next build.
        force: Replace an engine with the same key.
    """

    bundle: Path
    variant: str | None = None
    target: str | None = None
    engine_dir: Path | None = None
    shapes: Mapping[str, Range] = field(default_factory=dict)
    batch: int = 1
    workspace_mib: int | None = None
    seconds: float = 3600.0
    timing_cache: bool = True
    force: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What the ONNX file asks to be built: read back from the builder's network, and from the engine where one runs.

    Attributes:
        inputs: Name → numpy's name of the element type.
        outputs: Likewise.
        layers: Element type → how many Conv, ConvTranspose, Gemm and MatMul give it.
        int8_layers: How many of them read both sides straight from DequantizeLinear.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    layers: Mapping[str, int]
    int8_layers: int


@dataclass(frozen=True, slots=True)
class Request:
    """What the child is told; it travels by pickle.

    Attributes:
        model: The ONNX file, absolute.
        libraries: ``tensorrt``, ``tensorrt-rtx``: what may build, the first that is installed.
        cc: Compute capability to build for; None is that of the GPU at hand.
        ranges: Input → its range, for inputs with open dims.
        operators: Standard operators in the file, each with the node that is first to use it.
        workspace_mib: See `BuildOrder`.
        timing_cache: Folder of the timing caches; None does without.
        variant_sha256: For the engine's key.
        profile: Likewise.
        taken: Keys of the engines that are there already, and are not to be built again.
    """

    model: Path
    libraries: tuple[str, ...]
    cc: str | None
    ranges: Mapping[str, Range]
    operators: Mapping[str, str]
    workspace_mib: int | None
    timing_cache: Path | None
    variant_sha256: str
    profile: str
    taken: tuple[EngineKey, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """What was built.

    Attributes:
        engine: Where it lies, and its key.
        facts: What the builder said: times, layers, inputs and outputs.
    """

    engine: Engine
    facts: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return {"engine": str(self.engine.path), **self.engine.to_dict()}
