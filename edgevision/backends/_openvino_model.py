"""A variant compiled by OpenVINO: importing it, which precision is asked for and which one runs, ports and types."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import Executed, Variant
from edgevision.backends._model_cache import cache_folder, seal
from edgevision.errors import BackendError, DependencyError, UsageError
from edgevision.spec import TensorSpec

# Importing openvino imports its converter of models too, which takes a third of the time, sends a usage event to its
# makers and writes a client's id to ~/intel. It does without where that is not installed (openvino/__init__.py), so it
# is told so, until somebody asks for it.
_CONVERTER = "openvino.tools.ovc"
_ours = "openvino" not in sys.modules
if _ours:
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
try:
    import openvino as ov
except ImportError as error:
    raise DependencyError(
        "backend 'openvino' needs openvino",
        received=str(error),
        hint="pip install 'edgevision[openvino]'",
    ) from error
finally:
    if _ours:
        del sys.modules[_CONVERTER]


def _convert_model(name: str) -> Any:
    """``openvino.convert_model``, when it is used for the first time."""
    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    ov.convert_model = importlib.import_module(_CONVERTER).convert_model
    return ov.convert_model


if _ours:
    ov.__getattr__ = _convert_model

__all__ = [
    "FLOATS",
    "Port",
    "capabilities",
    "compile_variant",
    "core",
    "executed",
    "one_line",
    "ports_by_name",
    "shared_tensor",
    "tensor_of",
    "wanted_precision",
]

#: The oldest that the tests were run with.
_OLDEST = (2024, 6)
_CPU = "CPU"
#: What ``--compute`` may say of a float graph → OpenVINO's name, and the capability a processor needs for it.
FLOATS = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
_NAMES = {hint: name for name, (hint, _) in FLOATS.items()}
#: Layers of a compiled model that multiply, where int8 is worth having.
_PRODUCTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
#: In its exceptions: places in its source, and headings of what follows.
_NOISE = re.compile(
    r"(Caught exception: )?Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:"
    r"|FrontEnd API failed with \w+:|Summary:"
)

Port = Any  # openvino.ConstOutput


def _require(version: str) -> str:
    """The version without its build, if it is new enough."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < _OLDEST:
        raise DependencyError(
            "backend 'openvino' needs a newer openvino",
            received=version,
            expected="{}.{} or later".format(*_OLDEST),
            hint="pip install --upgrade 'edgevision[openvino]'",
        )
    return version.split("-")[0]


_VERSION = _require(str(getattr(ov, "__version__", "0")))


@cache
def core() -> Any:
    """The one of this process, kept for ever.

    Each core's CPU plug-in sets the stack that signal handlers run on (for AMX), and puts back the one before
    when it is freed. Of two that are freed in the order they were made, the memory of one stays set: the next
    signal then ends the process (openvino 2026.4.1).
    """
    return ov.Core()


def capabilities() -> Sequence[str]:
    """What this processor computes in, as OpenVINO names it."""
    return list(core().get_property(_CPU, "OPTIMIZATION_CAPABILITIES"))


def wanted_precision(variant: Variant, compute: str | None) -> str:
    """The float precision to ask for.

    Raises:
        UsageError: The graph is not written for it.
        BackendError: This processor does not compute in it.
    """
    if variant.precision == "int8" and compute in (None, "int8"):
        return "fp32"
    wanted = compute or "fp32"
    if variant.precision == "int8" or wanted not in FLOATS:
        raise UsageError(
            f"backend 'openvino' cannot execute {variant.id} in {wanted}",
            expected="int8" if variant.precision == "int8" else ", ".join(FLOATS),
            hint="int8 is written in the graph: choose a variant of that precision"
            if wanted == "int8"
            else "choose another variant, or leave --compute out",
        )
    found = capabilities()
    if FLOATS[wanted][1] not in found:
        raise BackendError(
            f"this processor does not compute in {wanted}",
            received=f"OpenVINO lists {', '.join(found)}",
            hint="leave --compute out",
        )
    return wanted


def compile_variant(variant: Variant, config: Mapping[str, Any]) -> Any:
    """OpenVINO's compiled model, from its cache where one is kept.

    Raises:
        BackendError: It does not take the model.
    """
    folder = cache_folder("openvino", _VERSION, variant, config)
    if folder is not None:
        kept = {**config, "CACHE_DIR": str(folder)}
        try:
            compiled = core().compile_model(str(variant.file), _CPU, kept)
            if not compiled.get_property("LOADED_FROM_CACHE"):
                seal(folder)
            return compiled
        except RuntimeError:
            pass  # the model, or what became of the cache: without the cache it shows
    try:
        return core().compile_model(str(variant.file), _CPU, dict(config))
    except RuntimeError as error:
        raise BackendError(
            f"OpenVINO cannot load {variant.file.name}: {one_line(error)}",
            hint="--backend ort runs it, if onnxruntime knows its operators",
        ) from error


def executed(compiled: Any, variant: Variant, wanted: str) -> Executed:
    """What the compiled model says of itself.

    Raises:
        BackendError: It computes in another precision than it was asked to.
    """
    told = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    compute = _NAMES.get(told, told)
    if compute != wanted:
        raise BackendError(
            "OpenVINO did not use the precision that was asked for",
            received=compute,
            expected=wanted,
        )
    if variant.precision == "int8" and _multiplies_int8(compiled):
        compute = "int8"
    return Executed(
        "openvino",
        _VERSION,
        compute,
        ",".join(compiled.get_property("EXECUTION_DEVICES")).lower(),
        int(compiled.get_property("INFERENCE_NUM_THREADS")),
    )


def _multiplies_int8(compiled: Any) -> bool:
    """Whether any product of the compiled graph takes 8-bit values; its layers carry that as text."""
    infos = (layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops())
    return any(
        info["layerType"].astype(str) in _PRODUCTS
        and info["runtimePrecision"].astype(str) in ("u8", "i8")
        for info in infos
    )


def shared_tensor(array: NDArray[Any]) -> Any:
    """OpenVINO's tensor on an array's memory; the array has to outlive it."""
    return ov.Tensor(array, shared_memory=True)


def ports_by_name(ports: Sequence[Port], tensors: Sequence[TensorSpec]) -> dict[str, Port]:
    """By the file's name of each tensor. One port may have several names, so positions decide first.

    An input without use has none in some versions.
    """
    found = {}
    for position, tensor in enumerate(tensors):
        nearest = [*ports[position : position + 1], *ports]
        port = next((p for p in nearest if tensor.name in p.names), None)
        if port is not None:
            found[tensor.name] = port
    return found


def tensor_of(written: TensorSpec, port: Port | None) -> TensorSpec:
    """OpenVINO's type and shape; dimensions it leaves open keep the name they have in the file."""
    if port is None:
        return written
    names = dict(enumerate(written.shape))
    shape = tuple(
        dim.get_length() if dim.is_static else _symbol(names.get(axis), axis)
        for axis, dim in enumerate(port.partial_shape)
    )
    return TensorSpec(written.name, np.dtype(port.element_type.to_dtype()).name, shape)


def _symbol(written: int | str | None, axis: int) -> str:
    return written if isinstance(written, str) else f"dim{axis}"


def one_line(error: Exception) -> str:
    """What an exception of OpenVINO says, without the places in its source."""
    lines = (line.strip(" -") for line in _NOISE.sub("", str(error)).splitlines())
    return " ".join(filter(None, lines))[:300] or type(error).__name__
