"""An emulated ``tensorrt``: engines are ONNX files, run by onnxruntime at the bound addresses on the emulated stream.

It offers what the product uses and nothing else; a test compares every name with the listings of the real modules,
and the values of its enumerations are the listed ones of the version it plays. It is stricter than TensorRT in what
a caller may get wrong: an engine freed before its contexts, addresses that are missing or not aligned, two runs of
one context at a time, a graph replayed after its context is gone. Each is noted in `violations`.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import re
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

__all__ = ["install", "serialized"]

_MAGIC = b"emulated TensorRT plan\n"
_ALIGNMENT = 256
#: What an execution context takes for its activations, and an engine for its weights, bytes.
_SCRATCH = 1 << 20
_TYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(bool)": ("BOOL", np.bool_),
}
_DATA_DEPENDENT = {"NonMaxSuppression", "NonZero", "Unique"}
_ENUMS = ("DataType", "TensorIOMode", "TensorLocation")

violations: list[str] = []
#: Objects that are alive, by kind.
live = {"runtime": 0, "engine": 0, "context": 0}
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
#: Runs that were given to streams, by number; graphs may start them again.
_runs: dict[int, Any] = {}


def serialized(
    model: bytes, *, version: str, profiles: dict[str, Sequence[Sequence[int]]] | None = None
) -> bytes:
    """The plan that this module deserializes."""
    header = {"version": version, "profiles": profiles or {}}
    return _MAGIC + json.dumps(header).encode() + b"\n" + model


def install(version: str, listing: Path | None = None, name: str = "tensorrt") -> ModuleType:
    """Puts the module where ``import`` finds it.

    Args:
        version: What it says of itself.
        listing: Of the names and values of that version.
        name: ``tensorrt`` or ``tensorrt_rtx``.
    """
    module = ModuleType(name, "An emulated TensorRT.")
    module.__version__ = version
    for enum in _ENUMS:
        setattr(module, enum, _enum(enum, listing))
    severity = _enum("ILogger.Severity", listing)
    module.ILogger = type("ILogger", (), {"Severity": severity, "__init__": lambda self: None})
    module.IOutputAllocator = type("IOutputAllocator", (), {"__init__": lambda self: None})

    class Runtime(_Runtime):
        _module = module

    module.Runtime = Runtime
    sys.modules[name] = module
    return module


class _Value:
    """A member of an enumeration as pybind makes them: equal to itself only, and to no number."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value


_SMALL = {
    "DataType": ("FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64", "INT4"),
    "TensorIOMode": ("NONE", "INPUT", "OUTPUT"),
    "TensorLocation": ("DEVICE", "HOST"),
    "ILogger.Severity": ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"),
}


def _enum(name: str, listing: Path | None) -> type:
    values = _listed(name, listing) if listing else dict(zip(_SMALL[name], range(99), strict=False))
    return type(name, (), {key: _Value(key, value) for key, value in values.items()})


def _listed(name: str, listing: Path) -> dict[str, int]:
    text = listing.read_text(encoding="utf-8")
    found = re.search(rf"^class {re.escape(name)}\(.*?\):\n((?: .*\n)*)", text, re.MULTILINE)
    assert found is not None, f"{listing.name} has no {name}"
    return {k: int(v) for k, v in re.findall(r"^ +([A-Z0-9_]+) = (\d+)$", found[1], re.MULTILINE)}


def _driver(name: str, *arguments: Any) -> int:
    return int(getattr(ctypes.CDLL("libcuda.so.1"), name)(*arguments))


def _violation(text: str) -> None:
    violations.append(text)


def _failed() -> bool:
    """Whether an error sticks to the current context: a GPU ends what it is doing then."""
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    return _driver("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total)) != 0


def _in_context(what: str) -> None:
    current = ctypes.c_void_p()
    _driver("cuCtxGetCurrent", ctypes.byref(current))
    if not current:
        _violation(f"{what} without a current CUDA context")


class _Memory:
    """Device memory as TensorRT takes it for itself; 0 if there is none left."""

    def __init__(self, size: int) -> None:
        address = ctypes.c_uint64()
        code = _driver("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self.address = address.value if code == 0 else 0

    def free(self) -> None:
        if self.address:
            _driver("cuMemFree_v2", ctypes.c_uint64(self.address))
        self.address = 0


class _Activity:
    """What a run on a stream's thread may touch of its context, so that it never is the one to free that."""

    running = freed = False


class _Live:
    _kind = ""

    def _born(self) -> None:
        live[self._kind] += 1

    def _dead(self) -> None:
        live[self._kind] -= 1


class _Runtime(_Live):
    _kind = "runtime"
    _module: ModuleType

    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, self._module.ILogger)
        self._logger = logger
        self._born()

    def __del__(self) -> None:
        self._dead()

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        _in_context("deserialize_cuda_engine")
        data = bytes(serialized_engine)
        if not data.startswith(_MAGIC):
            self._complain(
                "[runtime.cpp::parsePlan::314] Error Code 1: Serialization (Serialization assertion "
                "plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.)"
            )
            return None
        header, _, model = data[len(_MAGIC) :].partition(b"\n")
        told = json.loads(header)
        if told["version"] != self._module.__version__:
            self._complain(
                "[runtime.cpp::deserializeCudaEngine::8] Error Code 1: Serialization (The engine plan file is "
                f"not compatible with this version of TensorRT, expecting library version "
                f"{self._module.__version__} got {told['version']})"
            )
            return None
        return _Engine(self, model, told["profiles"])

    def _complain(self, text: str) -> None:
        self._logger.log(self._module.ILogger.Severity.ERROR, text)


class _Engine(_Live):
    _kind = "engine"

    def __init__(self, runtime: _Runtime, model: bytes, profiles: dict[str, Any]) -> None:
        self._runtime, self._module = runtime, runtime._module
        self._profiles = profiles
        self._model = onnx.load_from_string(model)
        self._session = _session(model)
        self._inputs = {a.name: a for a in self._session.get_inputs()}
        self._outputs = {a.name: a for a in self._session.get_outputs()}
        self._weights = _Memory(_SCRATCH)
        self._contexts: weakref.WeakSet[_Context] = weakref.WeakSet()
        self._born()

    def __del__(self) -> None:
        if len(getattr(self, "_contexts", ())):
            _violation("an engine was freed before its execution contexts")
        _in_context("an engine was freed")
        self._weights.free()
        self._dead()

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._module.TensorIOMode
        return mode.INPUT if name in self._inputs else mode.OUTPUT

    def get_tensor_location(self, name: str) -> Any:
        return self._module.TensorLocation.DEVICE

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._module.DataType, _TYPES[self._argument(name).type][0])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else -1 for d in self._argument(name).shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        return [tuple(shape) for shape in self._profiles[name]]

    def create_execution_context(self) -> Any:
        _in_context("create_execution_context")
        scratch = _Memory(_SCRATCH)
        if not scratch.address:
            self._runtime._complain(
                "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
            )
            return None
        context = _Context(self, scratch)
        self._contexts.add(context)
        return context

    def _argument(self, name: str) -> Any:
        return self._inputs.get(name) or self._outputs[name]


class _Context(_Live):
    _kind = "context"

    def __init__(self, engine: _Engine, scratch: _Memory) -> None:
        # The engine is not kept alive, as pybind would: who frees it first is told.
        self._engine = weakref.ref(engine)
        self._runtime, self._session = engine._runtime, engine._session
        self._scratch = scratch
        self._shapes = {
            name: tuple(argument.shape)
            for name, argument in engine._inputs.items()
            if all(isinstance(dim, int) for dim in argument.shape)
        }
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}
        self._output_shapes: dict[str, tuple[int, ...]] = {}
        self._runs: dict[Any, int] = {}
        self._activity = _Activity()
        self._born()

    def __del__(self) -> None:
        _in_context("an execution context was freed")
        if self._activity.running and not _failed():
            _violation("an execution context was freed while it ran")
        self._activity.freed = True
        for number in self._runs.values():
            _runs[number] = (self._activity, None, (), ())
        self._scratch.free()
        self._dead()

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        engine = self._alive()
        declared = engine.get_tensor_shape(name)
        shape = tuple(shape)
        fits = len(shape) == len(declared) and all(
            want in (-1, have) for want, have in zip(declared, shape, strict=True)
        )
        if fits and name in engine._profiles:
            least, _, most = engine.get_tensor_profile_shape(name, 0)
            fits = all(a <= dim <= b for a, dim, b in zip(least, shape, most, strict=True))
        if not fits:
            self._runtime._complain(
                f"IExecutionContext::setInputShape: Error Code 3: API Usage Error (Parameter check failed, "
                f"condition: engineDims of {name})"
            )
            return False
        self._shapes[name] = shape
        self._output_shapes.clear()
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        if not self._output_shapes:
            self._output_shapes = _inferred(self._alive()._model, self._session, self._shapes)
        return self._output_shapes[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        if memory % _ALIGNMENT:
            _violation(f"the address of {name} is not aligned to {_ALIGNMENT}")
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        assert isinstance(output_allocator, self._runtime._module.IOutputAllocator)
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._alive()
        _in_context("execute_async_v3")
        if set(self._shapes) != set(engine._inputs):
            self._runtime._complain(
                "Error Code 3: API Usage Error (not all input shapes are specified)"
            )
            return False
        inputs = tuple((n, self._addresses.get(n, 0), s) for n, s in self._shapes.items())
        outputs = tuple(
            (n, self._addresses.get(n, 0), self.get_tensor_shape(n))
            for n in engine._outputs
            if n not in self._allocators
        )
        missing = [n for n, address, _ in (*inputs, *outputs) if not address]
        if missing:
            self._runtime._complain(
                f"Error Code 3: API Usage Error (address of {missing[0]} is not set)"
            )
            return False
        if self._allocators:
            return self._run_now(stream_handle, inputs, outputs)
        key = (inputs, outputs)
        if key not in self._runs:
            number = self._runs[key] = len(_runs) + 1
            _runs[number] = (self._activity, self._session, inputs, outputs)
        code = _driver(
            "cuLaunchHostFunc",
            ctypes.c_void_p(stream_handle),
            _run_on_stream,
            ctypes.c_void_p(self._runs[key]),
        )
        if code:
            self._runtime._complain(
                f"[executor.cpp::run::1] Error Code 1: Cuda Driver (error {code})"
            )
        return code == 0

    def _run_now(self, stream_handle: int, inputs: Any, outputs: Any) -> bool:
        """TensorRT waits for the sizes of such outputs, too."""
        if _driver("cuStreamSynchronize", ctypes.c_void_p(stream_handle)):
            return False
        found = _computed(self._session, inputs)
        for name, address, _ in outputs:
            _write(address, found[name])
        for name, allocator in self._allocators.items():
            value = found[name]
            address = allocator.reallocate_output_async(
                name, 0, value.nbytes, _ALIGNMENT, stream_handle
            )
            if not address:
                self._runtime._complain(
                    f"[executor.cpp::run::2] Error Code 2: OutOfMemory (no memory for {name})"
                )
                return False
            allocator.notify_shape(name, value.shape)
            _write(address, value)
        return True

    def _alive(self) -> _Engine:
        engine = self._engine()
        assert engine is not None, "the engine is gone"
        return engine


@_HOST_FUNCTION
def _run_on_stream(number: int) -> None:
    activity, session, inputs, outputs = _runs[number]
    if activity.freed:
        _violation("a run was started after its execution context was freed")
        return
    if activity.running:
        _violation("an execution context ran twice at a time")
    activity.running = True
    try:
        found = _computed(session, inputs)
        for name, address, shape in outputs:
            if found[name].shape != shape:
                _violation(f"{name} has the shape {found[name].shape}, not {shape}")
            _write(address, found[name])
    except Exception as error:  # it has no way through the driver
        _violation(f"a run failed: {error}")
    finally:
        activity.running = False


def _computed(session: Any, inputs: Any) -> dict[str, Any]:
    types = {argument.name: _TYPES[argument.type][1] for argument in session.get_inputs()}
    feeds = {name: _read(address, shape, types[name]) for name, address, shape in inputs}
    names = [argument.name for argument in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _read(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(raw, dtype).reshape(shape).copy()


def _write(address: int, value: Any) -> None:
    plain = np.ascontiguousarray(value)
    ctypes.memmove(address, plain.ctypes.data, plain.nbytes)


def _session(model: bytes) -> Any:
    """As the backend ``ort`` sets it up, so that both compute the same."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("EMULATED_TENSORRT_THREADS", "2"))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )


def _inferred(
    model: Any, session: Any, shapes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs, -1 where a size depends on the data."""
    types = {a.name: _TYPES[a.type][1] for a in session.get_inputs()}
    names = [a.name for a in session.get_outputs()]
    tried = session.run(names, {n: np.zeros(shape, types[n]) for n, shape in shapes.items()})
    found = {name: value.shape for name, value in zip(names, tried, strict=True)}
    if not _DATA_DEPENDENT & {node.op_type for node in model.graph.node}:
        return found
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else -1
            for dim in value.type.tensor_type.shape.dim
        )
        for value in model.graph.output
    }


def _report() -> None:
    # After a lost GPU nobody waited for what was under way, and a thread in Python when Python ends aborts.
    while any(activity.running for activity, *_ in _runs.values()):
        time.sleep(0.001)
    path = os.environ.get("EMULATED_TENSORRT_REPORT")
    if path:
        Path(path).write_text(json.dumps({"violations": violations, "live": live}))


atexit.register(_report)
