"""Finding an engine that fits this device, and loading it: nothing of it is run before its key is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgevision.cuda.driver import Gpu
from edgevision.cuda.failures import explaining
from edgevision.engine_key import DeviceFacts, device_text, machine_facts
from edgevision.engines import Engine, build_command, engines_folder, find_engine, read_engine
from edgevision.errors import BackendError
from edgevision.jetson import l4t
from edgevision.onnx_header import read_header
from edgevision.spec import TensorSpec
from edgevision.text import printable
from edgevision.trt.library import Library, Log, log_of, tensor_specs
from edgevision.variant import Variant

__all__ = ["Loaded", "Profile", "chosen_engine", "facts_here", "load_engine"]

#: Least, best and most of each dimension.
Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(slots=True)
class Loaded:
    """A deserialized engine; `close` frees it after all that was made from it.

    Attributes:
        library: What loaded it.
        log: Where TensorRT complains.
        runtime: TensorRT's runtime.
        engine: TensorRT's engine.
        inputs: By name, with the variant's symbols for open dimensions.
        outputs: Likewise.
        profiles: Shapes that an input with open dimensions takes.
    """

    library: Library
    log: Log
    runtime: Any
    engine: Any
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    profiles: Mapping[str, Profile]

    def close(self) -> None:
        """Frees the engine, then its runtime; may be called twice."""
        self.engine = None
        self.runtime = None


def chosen_engine(
    libraries: Sequence[Library], gpu: Gpu, variant: Variant, engine_dir: Path | None
) -> tuple[Library, Engine]:
    """The engine of a variant that fits this device, and the library it was built by.

    Raises:
        BackendError: There is none; with the command that builds it.
    """
    problems = []
    for library in libraries:
        facts = facts_here(library.name, library.version, gpu)
        try:
            return library, find_engine(variant.file.parent, variant, facts, engine_dir)
        except BackendError as error:
            problems.append(error)
    raise problems[0]


def facts_here(library: str, version: str, gpu: Gpu) -> DeviceFacts:
    """What an engine's key is compared with on this machine, and made of where the engine is built for its GPU.

    Args:
        library: ``tensorrt`` or ``tensorrt-rtx``.
        version: Of that library, as it says it.
        gpu: The one at hand.
    """
    release, device = l4t(Path("/")) or "", device_text(gpu.name, gpu.multiprocessors)
    return machine_facts(library, version, gpu.cc, l4t=release, device=device)


def load_engine(
    library: Library, engine: Engine, variant: Variant, *, trust: bool = False
) -> Loaded:
    """Deserializes an engine, in the current context.

    Raises:
        BackendError: It is damaged, not from here, or TensorRT refuses it.
    """
    rebuild = _rebuild(engine, variant)
    plan = read_engine(engine, rebuild, trust=trust)
    log = log_of(library.module)
    with explaining("the engine was loaded"):
        # As when it was built: the parser makes plugins of some operators.
        if library.name == "tensorrt":
            library.module.init_libnvinfer_plugins(log.logger, "")
        runtime = log.made("a runtime", lambda: library.module.Runtime(log.logger))
        native = runtime.deserialize_cuda_engine(plan)
    if native is None:
        name = printable(engine.path.name)
        raise log.refusal(f"the engine {name}", rebuild)
    inputs, outputs = tensor_specs(library, native)
    _all_on_device(library, native, [*inputs, *outputs])
    header = read_header(variant.file)
    written = {t.name: t for t in (*header.inputs, *header.outputs)}
    _same_tensors(engine, variant, {t.name for t in header.inputs}, {t.name for t in inputs})
    return Loaded(
        library,
        log,
        runtime,
        native,
        {t.name: _named(t, written) for t in inputs},
        {t.name: _named(t, written) for t in outputs},
        {t.name: _profile(native, t.name) for t in inputs if "?" in t.shape},
    )


def _all_on_device(library: Library, native: Any, tensors: Sequence[TensorSpec]) -> None:
    """Shapes that a graph takes or gives as tensors lie on the host, where no slot has buffers."""
    host = library.module.TensorLocation.HOST
    for tensor in tensors:
        name = tensor.name
        if native.get_tensor_location(name) == host or native.is_shape_inference_io(name):
            raise BackendError(
                f"backend 'trt' cannot run this model: {printable(tensor.name)!r} is a shape, not data",
                hint="--backend ort runs it",
            )


def _same_tensors(engine: Engine, variant: Variant, written: set[str], found: set[str]) -> None:
    """TensorRT drops an input that is of no use; one that the file does not have means another model."""
    if not found <= written:
        raise BackendError(
            f"the engine {printable(engine.path.name)} is not of {variant.file.name}",
            received="inputs " + printable(", ".join(sorted(found))),
            expected=printable(", ".join(sorted(written))),
            hint=_rebuild(engine, variant),
        )


def _rebuild(engine: Engine, variant: Variant) -> str:
    folder, bundle = engine.path.parent, variant.file.parent
    elsewhere = None if folder == engines_folder(bundle) else folder
    return f"build it again: {build_command(bundle, variant, elsewhere)} --force"


def _named(tensor: TensorSpec, written: Mapping[str, TensorSpec]) -> TensorSpec:
    """Open dimensions with the symbols of the ONNX file."""
    there = written[tensor.name].shape if tensor.name in written else ()
    symbols = {axis: dim for axis, dim in enumerate(there) if isinstance(dim, str)}
    shape = tuple(
        symbols.get(axis, f"dim{axis}") if dim == "?" else dim
        for axis, dim in enumerate(tensor.shape)
    )
    return replace(tensor, shape=shape)


def _profile(engine: Any, name: str) -> Profile:
    least, best, most = (tuple(d) for d in engine.get_tensor_profile_shape(name, 0))
    return least, best, most
