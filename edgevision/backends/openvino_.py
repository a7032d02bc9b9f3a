"""OpenVINO on the CPU: the precision it computes in is always asked for, and read back.

Left alone, OpenVINO runs an fp32 graph in bf16 wherever the processor can. Here it is fp32 unless bf16 was
asked for, or proven for the bundle. Properties: https://docs.openvino.ai/2024/api/c_cpp_api/group__ov__runtime__cpp__prop__api.html
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Executed, Variant
from edgevision.backends._model_cache import cache_folder, seal
from edgevision.backends._slot import FORMATS, InputBuffers, closed
from edgevision.device import cpu_count
from edgevision.errors import BackendError, DependencyError, UsageError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.onnx_header import read_header
from edgevision.spec import InputSpec, Shape, TensorSpec
from edgevision.tensors import concrete_shape

# Importing openvino sends a usage event to its makers and writes a client's id to ~/intel, unless its telemetry
# cannot be imported: then it takes the stub it brings (openvino/tools/ovc/telemetry_utils.py). A program that
# imported openvino before has decided that for itself.
_telemetry = sys.modules.get("openvino_telemetry")
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
try:
    import openvino as ov
except ImportError as error:
    raise DependencyError(
        "backend 'openvino' needs openvino",
        received=str(error),
        hint="pip install 'edgevision[openvino]'",
    ) from error
finally:
    del sys.modules["openvino_telemetry"]
    if _telemetry is not None:
        sys.modules["openvino_telemetry"] = _telemetry

__all__ = ["OpenVinoBackend", "plugin"]

#: The oldest that the tests were run with.
_OLDEST = (2024, 6)
_CPU = "CPU"
#: What ``--compute`` may say of a float graph → OpenVINO's name, and the capability a processor needs for it.
_FLOATS = {"fp32": ("f32", "FP32"), "bf16": ("bf16", "BF16"), "fp16": ("f16", "FP16")}
_NAMES = {hint: name for name, (hint, _) in _FLOATS.items()}
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


class OpenVinoBackend:
    """Opens variants with OpenVINO on the CPU.

    Computes in float32 unless ``compute`` is ``bf16`` or ``fp16`` and the processor has it. An int8 graph stays
    int8, and what is float in it float32.
    """

    def open(self, variant: Variant, options: BackendOptions) -> OpenVinoSession:
        return OpenVinoSession(variant, options)

    def check(self, variant: Variant, options: BackendOptions) -> str:
        """As `edgevision.backends.Checks.check`."""
        wanted = _wanted_precision(variant, options.compute, _capabilities(_core()))
        return "int8" if variant.precision == "int8" else wanted


plugin = OpenVinoBackend


class OpenVinoSession:
    """One compiled model; each slot has a request of its own.

    With the hint ``latency`` one inference uses all threads; with ``throughput`` there are as many streams as
    threads, and each runs one inference.
    """

    def __init__(self, variant: Variant, options: BackendOptions) -> None:
        core = _core()
        wanted = _wanted_precision(variant, options.compute, _capabilities(core))
        wide = options.hint == "throughput"
        threads = options.threads or cpu_count()
        config = {
            "INFERENCE_PRECISION_HINT": _FLOATS[wanted][0],
            "PERFORMANCE_HINT": "THROUGHPUT" if wide else "LATENCY",
            "NUM_STREAMS": threads if wide else 1,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, the threads of two models (or processes) would share a core beside an idle one.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = _compile(core, variant, config)
        self._compiled: Any = compiled
        self._slots: WeakSet[OpenVinoSlot] = WeakSet()
        self._spec = variant.spec.input
        header = read_header(variant.file)
        inputs = _ports(compiled.inputs, header.inputs)
        outputs = _ports(compiled.outputs, header.outputs)
        lost = [t.name for t in header.outputs if t.name not in outputs]
        if lost:
            raise BackendError(f"OpenVINO lost the output {lost[0]!r} of {variant.file.name}")
        self._ports = inputs, outputs
        self.inputs = MappingProxyType(
            {t.name: _tensor(t, inputs.get(t.name)) for t in header.inputs}
        )
        self.outputs = MappingProxyType(
            {t.name: _tensor(t, outputs[t.name]) for t in header.outputs}
        )
        # One slot more than streams: the next frame waits loaded while all of them compute.
        self.slots = int(compiled.get_property("NUM_STREAMS")) + 1 if wide else 1
        self.formats = FORMATS
        self.executed = _executed(compiled, variant, wanted)

    def slot(self, shapes: Mapping[str, Shape] | None = None) -> OpenVinoSlot:
        if self._compiled is None:
            raise closed()
        slot = OpenVinoSlot(
            self._compiled.create_infer_request(),
            self._ports,
            self._spec,
            self.inputs,
            self.outputs,
            shapes or {},
        )
        self._slots.add(slot)
        return slot

    def attach(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        for slot in list(self._slots):
            slot.release()
        self._ports = {}, {}
        self._compiled = None  # OpenVINO frees it with the last request


class OpenVinoSlot:
    """A request whose tensors are this slot's numpy arrays, set once.

    An output whose shape the model leaves open is a view of OpenVINO's own tensor, taken after each run.
    """

    device_ns: tuple[int, int, int] | None = None

    def __init__(
        self,
        request: Any,
        ports: tuple[Mapping[str, Port], Mapping[str, Port]],
        spec: InputSpec,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        shapes: Mapping[str, Shape],
    ) -> None:
        # First, for attributes are freed in this order: a request waits for its run, which uses the arrays.
        self._request = request
        self._inputs = InputBuffers(spec, inputs, shapes)
        self.rows = self._inputs.rows
        for name, port in ports[0].items():
            array = self._inputs.arrays[name]
            request.set_tensor(port, ov.Tensor(array, shared_memory=True))
        self._arrays: dict[str, NDArray[Any]] = {}
        self._open: dict[str, Port] = {}
        for name, tensor in outputs.items():
            if name in inputs:  # handed through: OpenVINO sees one tensor, the input
                self._arrays[name] = self._inputs.arrays[name]
                continue
            array = self._arrays[name] = np.zeros(concrete_shape(tensor, None), tensor.dtype)
            if array.shape == tensor.shape:
                request.set_tensor(ports[1][name], ov.Tensor(array, shared_memory=True))
            else:
                self._open[name] = ports[1][name]
        self._results = MappingProxyType(self._arrays)
        self._running = False
        self._failure: RuntimeError | None = None

    def load(
        self,
        image: Image,
        *,
        row: int = 0,
        region: Affine | None = None,
        input: str | None = None,
        format: str = "bgr",
    ) -> Transform:
        return self._inputs.load(image, row=row, region=region, input=input, format=format)

    def put(self, input: str, value: NDArray[Any]) -> None:
        self._inputs.put(input, value)

    def submit(self, rows: int | None = None) -> None:  # noqa: ARG002 - a fixed shape runs all its rows
        self._inputs.submitting()
        try:
            self._request.start_async()
        except BaseException as error:
            self._inputs.waiting()  # nothing is under way: a wait() would hand out older outputs
            if isinstance(error, RuntimeError):
                raise BackendError(f"OpenVINO failed: {_one_line(error)}") from error
            raise
        self._running = True

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:
        if self._running and not self._ended(timeout_s):
            raise BackendError(f"the inference did not end within {timeout_s} s")
        self._inputs.waiting()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise BackendError(f"OpenVINO failed: {_one_line(failure)}") from failure
        return self._results

    def release(self) -> None:
        """Waits for the run that is under way, and lets go of the engine; its outputs can still be had."""
        if self._running:
            self._ended(None)
        self._inputs.close()
        self._open.clear()
        self._request = None

    def _ended(self, timeout_s: float | None) -> bool:
        """Waits for the run and takes what came of it: outputs or a failure; False if it still runs."""
        try:
            if timeout_s is None:
                self._request.wait()
            elif not self._request.wait_for(math.ceil(timeout_s * 1000)):
                return False
            for name, port in self._open.items():
                self._arrays[name] = self._request.get_tensor(port).data
        except RuntimeError as error:
            self._failure = error
        self._running = False
        return True


@cache
def _core() -> Any:
    """The one of this process, kept for ever.

    Each core's CPU plug-in sets the stack that signal handlers run on (for AMX), and puts back the one before
    when it is freed. Of two that are freed in the order they were made, the memory of one stays set: the next
    signal then ends the process (openvino 2026.4.1).
    """
    return ov.Core()


def _capabilities(core: Any) -> Sequence[str]:
    return list(core.get_property(_CPU, "OPTIMIZATION_CAPABILITIES"))


def _wanted_precision(variant: Variant, compute: str | None, capabilities: Sequence[str]) -> str:
    """The float precision to ask for.

    Raises:
        UsageError: The graph is not written for it.
        BackendError: This processor does not compute in it.
    """
    if variant.precision == "int8" and compute in (None, "int8"):
        return "fp32"
    wanted = compute or "fp32"
    if variant.precision == "int8" or wanted not in _FLOATS:
        raise UsageError(
            f"backend 'openvino' cannot execute {variant.id} in {wanted}",
            expected="int8" if variant.precision == "int8" else ", ".join(_FLOATS),
            hint="int8 is written in the graph: choose a variant of that precision"
            if wanted == "int8"
            else "choose another variant, or leave --compute out",
        )
    if _FLOATS[wanted][1] not in capabilities:
        raise BackendError(
            f"this processor does not compute in {wanted}",
            received=f"OpenVINO lists {', '.join(capabilities)}",
            hint="leave --compute out",
        )
    return wanted


def _compile(core: Any, variant: Variant, config: Mapping[str, Any]) -> Any:
    folder = cache_folder("openvino", _VERSION, variant, config)
    if folder is not None:
        kept = {**config, "CACHE_DIR": str(folder)}
        try:
            compiled = core.compile_model(str(variant.file), _CPU, kept)
            if not compiled.get_property("LOADED_FROM_CACHE"):
                seal(folder)
            return compiled
        except RuntimeError:
            pass  # the model, or what became of the cache: without the cache it shows
    try:
        return core.compile_model(str(variant.file), _CPU, dict(config))
    except RuntimeError as error:
        raise BackendError(
            f"OpenVINO cannot load {variant.file.name}: {_one_line(error)}",
            hint="--backend ort runs it, if onnxruntime knows its operators",
        ) from error


def _executed(compiled: Any, variant: Variant, wanted: str) -> Executed:
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


def _ports(ports: Sequence[Port], tensors: Sequence[TensorSpec]) -> dict[str, Port]:
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


def _tensor(written: TensorSpec, port: Port | None) -> TensorSpec:
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


def _one_line(error: Exception) -> str:
    """What an exception of OpenVINO says, without the places in its source."""
    lines = (line.strip(" -") for line in _NOISE.sub("", str(error)).splitlines())
    return " ".join(filter(None, lines))[:300] or type(error).__name__
