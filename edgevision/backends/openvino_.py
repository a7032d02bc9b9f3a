"""OpenVINO on the CPU: the precision it computes in is always asked for, and read back.

Left alone, OpenVINO runs an fp32 graph in bf16 wherever the processor can. Here it is fp32 unless bf16 was
asked for, or proven for the bundle. Properties: https://docs.openvino.ai/2024/api/c_cpp_api/group__ov__runtime__cpp__prop__api.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Variant
from edgevision.backends._openvino_model import (
    FLOATS,
    Port,
    compile_variant,
    executed,
    one_line,
    ports_by_name,
    shared_tensor,
    tensor_of,
    wanted_precision,
)
from edgevision.backends._slot import FORMATS, InputBuffers, closed
from edgevision.device import cpu_count
from edgevision.errors import BackendError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.onnx_header import read_header
from edgevision.spec import InputSpec, Shape, TensorSpec
from edgevision.tensors import concrete_shape

__all__ = ["OpenVinoBackend", "plugin"]


class OpenVinoBackend:
    """Opens variants with OpenVINO on the CPU.

    Computes in float32 unless ``compute`` is ``bf16`` or ``fp16`` and the processor has it. An int8 graph stays
    int8, and what is float in it float32.
    """

    def open(self, variant: Variant, options: BackendOptions) -> OpenVinoSession:
        return OpenVinoSession(variant, options)

    def check(self, variant: Variant, options: BackendOptions) -> str:
        """As `edgevision.backends.Checks.check`."""
        wanted = wanted_precision(variant, options.compute)
        return "int8" if variant.precision == "int8" else wanted


plugin = OpenVinoBackend


class OpenVinoSession:
    """One compiled model; each slot has a request of its own.

    With the hint ``latency`` one inference uses all threads; with ``throughput`` there are as many streams as
    threads, and each runs one inference.
    """

    def __init__(self, variant: Variant, options: BackendOptions) -> None:
        wanted = wanted_precision(variant, options.compute)
        wide = options.hint == "throughput"
        threads = options.threads or cpu_count()
        config = {
            "INFERENCE_PRECISION_HINT": FLOATS[wanted][0],
            "PERFORMANCE_HINT": "THROUGHPUT" if wide else "LATENCY",
            "NUM_STREAMS": threads if wide else 1,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, the threads of two models (or processes) would share a core beside an idle one.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = compile_variant(variant, config)
        self._compiled: Any = compiled
        self._slots: WeakSet[OpenVinoSlot] = WeakSet()
        self._spec = variant.spec.input
        header = read_header(variant.file)
        inputs = ports_by_name(compiled.inputs, header.inputs)
        outputs = ports_by_name(compiled.outputs, header.outputs)
        lost = [t.name for t in header.outputs if t.name not in outputs]
        if lost:
            raise BackendError(f"OpenVINO lost the output {lost[0]!r} of {variant.file.name}")
        self._ports = inputs, outputs
        self.inputs = MappingProxyType(
            {t.name: tensor_of(t, inputs.get(t.name)) for t in header.inputs}
        )
        self.outputs = MappingProxyType(
            {t.name: tensor_of(t, outputs[t.name]) for t in header.outputs}
        )
        # One slot more than streams: the next frame waits loaded while all of them compute.
        self.slots = int(compiled.get_property("NUM_STREAMS")) + 1 if wide else 1
        self.formats = FORMATS
        self.executed = executed(compiled, variant, wanted)

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
            request.set_tensor(port, shared_tensor(array))
        self._arrays: dict[str, NDArray[Any]] = {}
        self._open: dict[str, Port] = {}
        for name, tensor in outputs.items():
            if name in inputs:  # handed through: OpenVINO sees one tensor, the input
                self._arrays[name] = self._inputs.arrays[name]
                continue
            array = self._arrays[name] = np.zeros(concrete_shape(tensor, None), tensor.dtype)
            if array.shape == tensor.shape:
                request.set_tensor(ports[1][name], shared_tensor(array))
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
                raise BackendError(f"OpenVINO failed: {one_line(error)}") from error
            raise
        self._running = True

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:
        if self._running and not self._ended(timeout_s):
            raise BackendError(f"the inference did not end within {timeout_s} s")
        self._inputs.waiting()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise BackendError(f"OpenVINO failed: {one_line(failure)}") from failure
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
