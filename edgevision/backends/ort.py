"""onnxruntime: the backend that always works. Inputs and outputs are bound once to buffers that stay."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Executed, Variant
from edgevision.backends._ort_message import plain_message
from edgevision.backends._slot import FORMATS, InputBuffers, closed
from edgevision.device import cpu_count
from edgevision.errors import BackendError, DependencyError, UsageError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.spec import InputSpec, Shape, TensorSpec

try:
    import onnxruntime as ort
except ImportError as error:  # pragma: no cover - exercised by a test in a bare environment
    raise DependencyError(
        "backend 'ort' needs onnxruntime",
        received=str(error),
        hint="pip install 'edgevision[run]'",
    ) from error

__all__ = ["OrtBackend", "plugin"]

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# What an INT8 graph leaves in float was left there on purpose. This one quantizes it all the same, to
# the nearest int8 with one scale for all channels, and where the scales are float16 (int8-trt) it
# multiplies two of them in float16: to 0, and the biases are lost.
_DISTURBING = ["WeightBiasQuantization"]
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class OrtBackend:
    """Opens variants with onnxruntime, on the CPU unless ``extra={"providers": "cuda"}`` says otherwise."""

    def open(self, variant: Variant, options: BackendOptions) -> OrtSession:
        self.check(variant, options)
        return OrtSession(variant, options)

    def check(self, variant: Variant, options: BackendOptions) -> str:
        """As `edgevision.backends.Checks.check`."""
        _providers(options)
        if options.compute not in (None, variant.precision):
            raise UsageError(
                f"backend 'ort' executes a graph as it is written: {variant.id} in "
                f"{variant.precision}, not in {options.compute}",
                hint="leave --compute out, choose a variant of that precision, or --backend openvino",
            )
        return variant.precision


plugin = OrtBackend


class OrtSession:
    """One onnxruntime session; its slots share it.

    With the hint ``latency`` one inference uses all threads; with ``throughput`` each inference runs in
    one thread of a pool.
    """

    def __init__(self, variant: Variant, options: BackendOptions) -> None:
        threads = options.threads or cpu_count()
        self._wide = options.hint == "throughput"
        # One slot more than threads: the next frame waits loaded while all threads compute.
        self.slots = threads + 1 if self._wide else 1
        self.formats = FORMATS
        self._pool = ThreadPoolExecutor(threads, "edgevision-ort") if self._wide else None
        providers = _providers(options)
        try:
            session = ort.InferenceSession(
                str(variant.file),
                _session_options(1 if self._wide else threads),
                providers=providers,
                disabled_optimizers=_DISTURBING if variant.precision == "int8" else None,
            )
        except Exception as error:
            raise BackendError(
                f"onnxruntime cannot load {variant.file.name}: {plain_message(error)}",
                hint="'edgevision inspect' shows what the file holds",
            ) from error
        self._session: ort.InferenceSession | None = session
        self._slots: WeakSet[OrtSlot] = WeakSet()
        self._spec = variant.spec.input
        self.inputs = MappingProxyType({a.name: _tensor(a) for a in session.get_inputs()})
        self.outputs = MappingProxyType({a.name: _tensor(a) for a in session.get_outputs()})
        used = session.get_providers()[0]
        if used != providers[0]:
            raise BackendError(
                "onnxruntime did not use the provider that was asked for",
                received=used,
                expected=providers[0],
                hint="install the onnxruntime build that has it",
            )
        device = next(name for name, provider in _PROVIDERS.items() if provider == used)
        read_back = session.get_session_options().intra_op_num_threads
        used_threads = threads if self._wide else read_back
        self.executed = Executed(
            "onnxruntime", ort.__version__, variant.precision, device, used_threads
        )

    def slot(self, shapes: Mapping[str, Shape] | None = None) -> OrtSlot:
        if self._session is None:
            raise closed()
        slot = OrtSlot(
            self._session, self._spec, self.inputs, self.outputs, shapes or {}, self._pool
        )
        self._slots.add(slot)
        return slot

    def attach(self) -> AbstractContextManager[None]:
        return nullcontext()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        for slot in list(self._slots):
            slot.release()
        self._session = None


class OrtSlot:
    """Buffers of one inference, bound once.

    Outputs whose shape the model leaves open are bound after the first run, when their size is known; one
    whose size then changes with the data is handed out as onnxruntime allocates it.
    """

    device_ns: tuple[int, int, int] | None = None

    def __init__(
        self,
        session: ort.InferenceSession,
        spec: InputSpec,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
        shapes: Mapping[str, Shape],
        pool: ThreadPoolExecutor | None,
    ) -> None:
        self._session = session
        self._inputs = InputBuffers(spec, inputs, shapes)
        # An output that is an input is handed through: bound, it would stay as it is (onnxruntime 1.31.1).
        through = {name: self._inputs.arrays[name] for name in outputs if name in inputs}
        self._specs = {name: tensor for name, tensor in outputs.items() if name not in through}
        self.rows = self._inputs.rows
        self._binding = session.io_binding()
        for name, array in self._inputs.arrays.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        self._arrays: dict[str, NDArray[Any]] = through
        self._open: list[str] = []  # outputs that onnxruntime allocates for now
        self._learn = True
        for name, tensor in self._specs.items():
            self._bind(name, _numbers(tensor.shape))
        self._results = MappingProxyType(self._arrays)
        self._pool = pool
        self._running: Future[None] | None = None

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
            if self._pool is None:
                self._run()
            else:
                self._running = self._pool.submit(self._run)
        except BaseException as error:
            self._inputs.waiting()  # nothing is under way: a wait() would hand out older outputs
            if isinstance(error, RuntimeError):  # of the pool: there is no thread for it
                raise BackendError(f"the inference cannot be started: {error}") from error
            raise

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:
        running = self._running
        if running is None:
            self._inputs.waiting()
            return self._results
        if not _done(running, timeout_s):
            raise BackendError(f"the inference did not end within {timeout_s} s")
        self._running = None
        self._inputs.waiting()
        running.result()
        return self._results

    def release(self) -> None:
        """Lets go of the engine; the outputs of the last run can still be had."""
        self._inputs.close()
        self._session = self._binding = None

    def _bind(self, name: str, shape: tuple[int, ...] | None) -> None:
        if shape is None:
            self._binding.bind_output(name, "cpu")
            self._open.append(name)
            return
        array = self._arrays[name] = np.zeros(shape, self._specs[name].dtype)
        self._binding.bind_output(name, "cpu", 0, array.dtype, shape, array.ctypes.data)

    def _run(self) -> None:
        for name in self._open:  # else onnxruntime takes what it allocated last time as given
            self._binding.bind_output(name, "cpu")
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            if not self._unbind_learnt(error):
                raise BackendError(f"onnxruntime failed: {plain_message(error)}") from error
            self._run()
            return
        if self._open:
            self._take_open()

    def _take_open(self) -> None:
        """Collects the outputs that onnxruntime allocated, and binds them if their size may be relied on."""
        values = dict(zip(self._specs, self._binding.get_outputs(), strict=True))
        fresh = {name: values[name].numpy() for name in self._open}
        self._arrays.update(fresh)
        if self._learn:
            self._open = []
            for name, value in fresh.items():
                self._bind(name, value.shape)
                np.copyto(self._arrays[name], value)

    def _unbind_learnt(self, error: Exception) -> bool:
        """After a run failed because an output's size changed: leave such outputs to onnxruntime."""
        loose = [name for name, tensor in self._specs.items() if _numbers(tensor.shape) is None]
        if not self._learn or not loose or "shape" not in str(error).lower():
            return False
        self._learn = False
        for name in loose:
            self._bind(name, None)
        return True


def _done(running: Future[None], timeout_s: float | None) -> bool:
    return not wait_for([running], timeout_s).not_done


def _session_options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # By default idle workers spin for a while after each run, on the cores that the next frame's
    # decoding needs: sleeping ones made a stream faster (docs/performance.md) and the device cooler.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors reach the caller as exceptions, not as lines on stderr
    return options


def _providers(options: BackendOptions) -> list[str]:
    name = str((options.extra or {}).get("providers", "cpu"))
    provider = _PROVIDERS.get(name)
    if provider is None or provider not in ort.get_available_providers():
        raise BackendError(
            f"onnxruntime has no provider {name!r} here",
            expected="one of: "
            + ", ".join(k for k, p in _PROVIDERS.items() if p in ort.get_available_providers()),
            hint="providers for GPUs come with the package onnxruntime-gpu",
        )
    return [provider] if name == "cpu" else [provider, _PROVIDERS["cpu"]]


def _tensor(argument: Any) -> TensorSpec:
    dtype = _DTYPES.get(argument.type)
    if dtype is None:
        raise BackendError(
            f"{argument.name!r} has a type that is no tensor of numbers",
            received=argument.type,
            expected=", ".join(_DTYPES),
        )
    shape = tuple(d if isinstance(d, int) and d > 0 else str(d) for d in argument.shape)
    return TensorSpec(argument.name, dtype, shape)


def _numbers(shape: Shape) -> tuple[int, ...] | None:
    return (
        tuple(d for d in shape if isinstance(d, int))
        if all(isinstance(d, int) for d in shape)
        else None
    )
