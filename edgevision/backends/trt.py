"""TensorRT, or TensorRT-RTX: engines that `edgevision build` made, with pre-processing on the GPU.

A frame goes up as it comes from the camera, one kernel makes the input tensor of it, TensorRT runs, and one copy
brings all outputs back, each slot in a stream of its own. After the second run all of it but the copies is one CUDA
graph. Options in ``extra``: ``engine_dir``, ``trust_engines``, ``memory`` (``copied`` or ``mapped``), ``graphs``
(False), ``preprocess`` (``cpu``).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

from numpy.typing import NDArray

from edgevision.backends import BackendOptions, Executed, Variant
from edgevision.backends._slot import CallOrder, closed
from edgevision.cuda.context import PrimaryContext, primary_context
from edgevision.cuda.driver import Gpu, probe
from edgevision.cuda.failures import forget_frames
from edgevision.cuda.job import FORMATS, supports
from edgevision.cuda.kernel import Kernel
from edgevision.cuda.library import pycuda_driver
from edgevision.engines import Engine
from edgevision.errors import BackendError, EdgevisionError, UsageError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.spec import InputSpec, Shape, TensorSpec
from edgevision.tensors import concrete_shape, image_input
from edgevision.trt.engine import Loaded, chosen_engine, load_engine
from edgevision.trt.lane import Lane, Settings, free_lane, make_lane
from edgevision.trt.library import Library, installed_libraries
from edgevision.trt.mapped import faster_mapped

__all__ = ["TrtBackend", "plugin"]

#: With the hint ``throughput``: one frame is copied in, one computed, one copied back and decoded.
_SLOTS = 3


class TrtBackend:
    """Opens variants that an engine was built from, on the first GPU."""

    def open(self, variant: Variant, options: BackendOptions) -> TrtSession:
        """As `edgevision.backends.Backend.open`.

        What is missing is told in the order in which it has to be mended: driver, TensorRT, pycuda, engine.
        """
        gpu, library, engine = _found(variant, options)
        context = primary_context()
        trust = bool((options.extra or {}).get("trust_engines", False))
        with context.attached():
            loaded = None
            try:
                loaded = load_engine(library, engine, variant, trust=trust)
                return TrtSession(context, gpu, loaded, variant, options)
            except BaseException as error:
                forget_frames(error)  # what was made so far goes while the context is this thread's
                if loaded is not None:
                    context.free([loaded.close], [])
                raise

    def check(self, variant: Variant, options: BackendOptions) -> str:
        """As `edgevision.backends.Checks.check`; it makes no context on the GPU and loads no engine."""
        _found(variant, options)
        return variant.precision


plugin = TrtBackend


def _found(variant: Variant, options: BackendOptions) -> tuple[Gpu, Library, Engine]:
    """What a variant would run on and from."""
    if options.compute not in (None, variant.precision):
        raise UsageError(
            f"backend 'trt' executes a graph as it is written: {variant.id} in "
            f"{variant.precision}, not in {options.compute}",
            hint="leave --compute out, or choose a variant of that precision",
        )
    gpu = probe()
    libraries = installed_libraries()
    pycuda_driver()
    folder = (options.extra or {}).get("engine_dir")
    library, engine = chosen_engine(
        libraries, gpu, variant, None if folder is None else Path(folder)
    )
    return gpu, library, engine


class TrtSession:
    """One engine on the GPU; each slot has a stream and an execution context of its own.

    It may be closed while other threads use its slots: it waits for the call that each is in.
    """

    def __init__(
        self,
        context: PrimaryContext,
        gpu: Gpu,
        loaded: Loaded,
        variant: Variant,
        options: BackendOptions,
    ) -> None:
        extra = options.extra or {}
        self._context, self._loaded = context, loaded
        wide = options.hint == "throughput"
        self.slots = _SLOTS if wide else 1
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType(dict(loaded.inputs))
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType(dict(loaded.outputs))
        spec = variant.spec.input
        # A finalizer may run in the midst of any line, also of those that hold the lock.
        self._lock = threading.RLock()
        self._closed = False
        self._slots: WeakSet[TrtSlot] = WeakSet()
        self._lanes: set[Lane] = set()
        kernel, note = _kernel(gpu, spec, extra.get("preprocess") == "cpu")
        self._settings = Settings(
            spec, kernel, extra.get("memory") == "mapped", wide, bool(extra.get("graphs", True))
        )
        self.formats: Collection[str] = ("bgr",) if kernel is None else FORMATS
        self._executed = Executed(
            loaded.library.name, loaded.library.version, variant.precision, gpu.name, 1, note
        )
        self._free = weakref.finalize(self, _free_session, context, loaded, kernel, self._lanes)
        self._free.atexit = False  # the context closes what is open then, in the right order
        context.opened(self)
        # Which memory is faster is measured where both make sense, and the shapes are known.
        self._measure = gpu.integrated and gpu.can_map and "memory" not in extra
        if not loaded.profiles:
            self._choose_memory(_numbered(loaded, {}))

    @property
    def executed(self) -> Executed:
        """With why runs are given to the GPU call by call, where they are."""
        notes = dict.fromkeys(lane.replay.note for lane in tuple(self._lanes))
        return replace(self._executed, note=_joined(self._executed.note, *notes))

    def slot(self, shapes: Mapping[str, Shape] | None = None) -> TrtSlot:
        tensors = _numbered(self._loaded, shapes or {})
        image_input(self._settings.spec, self.inputs)
        with self._lock:
            if self._closed:
                raise closed()
            with self._context.attached():
                self._choose_memory(tensors)
                lane = make_lane(self._context, self._loaded, tensors, self._settings)
            self._lanes.add(lane)
            slot = TrtSlot(self, lane)
            self._slots.add(slot)
        return slot

    def _choose_memory(self, tensors: Mapping[str, TensorSpec]) -> None:
        if self._measure:
            self._measure = False
            mapped, note = faster_mapped(self._context, self._loaded, tensors, self._settings)
            self._settings = replace(self._settings, mapped=mapped)
            self._executed = replace(self._executed, note=_joined(self._executed.note, note))

    def attach(self) -> AbstractContextManager[None]:
        """Does nothing: each call enters the GPU's context for itself, since no thread may end inside."""
        return nullcontext()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            slots = tuple(self._slots)
        for slot in slots:
            slot.release()
        self._context.closed(self)
        self._free()


class TrtSlot:
    """One stream and its buffers. The outputs are views of page-locked memory.

    Attributes:
        device_ns: What copying in, computing and copying back took on the GPU in the last run, nanoseconds.
    """

    def __init__(self, session: TrtSession, lane: Lane) -> None:
        self._session = session  # whose engine and kernel are in use here
        self._context = session._context
        self._order = CallOrder()
        self._lane: Lane | None = lane
        self.rows = lane.inputs.rows
        self.device_ns: tuple[int, int, int] | None = None
        self._lock = threading.RLock()  # against the thread that closes the session
        self._results = MappingProxyType(lane.outputs.arrays)
        self._ended = True
        self._failure: BackendError | None = None
        self._free = weakref.finalize(self, _free_slot, session._context, lane, session._lanes)
        self._free.atexit = False

    def load(
        self,
        image: Image,
        *,
        row: int = 0,
        region: Affine | None = None,
        input: str | None = None,
        format: str = "bgr",
    ) -> Transform:
        with self._lock:
            self._order.idle("load")
            inputs = self._here().inputs
            with self._context.attached():
                return inputs.load(image, row, region, input, format)

    def put(self, input: str, value: NDArray[Any]) -> None:
        with self._lock:
            self._order.idle("put")
            inputs = self._here().inputs
            with self._context.attached():
                inputs.put(input, value)

    def submit(self, rows: int | None = None) -> None:
        with self._lock:
            self._order.submitting()
            try:
                with self._context.attached():
                    self._here().submit(self.rows if rows is None else rows)
            except BaseException:
                self._order.waiting()  # nothing is under way: a wait() would hand out older outputs
                raise
            self._ended = False

    def wait(self, timeout_s: float | None = None) -> Mapping[str, NDArray[Any]]:
        with self._lock:
            if not self._ended and not self._end(timeout_s):
                raise BackendError(f"the inference did not end within {timeout_s} s")
            self._order.waiting()
            failure, self._failure = self._failure, None
            if failure is not None:
                raise failure
            return self._results

    def release(self) -> None:
        """Waits for the run that is under way, and frees the GPU's side; its outputs can still be had."""
        with self._lock:
            if self._lane is None:
                return
            if not self._ended:
                self._end(None)
            self._order.close()
            self._lane = None
            self._free()

    def _end(self, timeout_s: float | None) -> bool:
        """Waits for the run and keeps what came of it: outputs or a failure; False if it still runs."""
        lane = self._here()
        try:
            with self._context.attached():
                if not lane.ended(timeout_s):
                    return False
                self.device_ns = lane.durations_ns()
        except BackendError as error:
            self._failure = error
        self._ended = True
        return True

    def _here(self) -> Lane:
        if self._lane is None:
            raise closed()
        return self._lane


def _kernel(gpu: Gpu, spec: InputSpec, unwanted: bool) -> tuple[Kernel | None, str]:
    """The pre-processing kernel; or None, and why the processor does its work."""
    reason = "as asked for" if unwanted else supports(spec)
    if reason is None:
        try:
            return Kernel(gpu), ""
        except EdgevisionError as error:
            reason = error.problem
    return None, f"pre-processing on the CPU: {reason}"


def _numbered(loaded: Loaded, shapes: Mapping[str, Shape]) -> dict[str, TensorSpec]:
    """The inputs with shapes of numbers.

    Raises:
        BackendError: The engine does not take one of them.
    """
    found = {}
    for name, tensor in loaded.inputs.items():
        shape = concrete_shape(tensor, shapes.get(name))
        if name in loaded.profiles:
            least, _, most = loaded.profiles[name]
            given = shapes.get(name, tensor.shape)
            # What nobody gave is 1, or the least that the engine takes.
            shape = tuple(
                dim if isinstance(told, int) else max(dim, low)
                for dim, told, low in zip(shape, given, least, strict=True)
            )
            if not all(a <= dim <= b for a, dim, b in zip(least, shape, most, strict=True)):
                raise BackendError(
                    f"the engine was not built for that shape of {name!r}",
                    received="×".join(map(str, shape)),
                    expected=f"from {'×'.join(map(str, least))} to {'×'.join(map(str, most))}",
                    hint="build an engine for it: edgevision build --shape; --backend ort takes any",
                )
        found[name] = replace(tensor, shape=shape)
    return found


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _free_slot(context: PrimaryContext, lane: Lane, lanes: set[Lane]) -> None:
    if free_lane(context, lane):  # else the session's end frees it, before its engine
        lanes.discard(lane)


def _free_session(
    context: PrimaryContext, loaded: Loaded, kernel: Kernel | None, lanes: set[Lane]
) -> None:
    # Slots that are garbage together with their session are freed in any order: what is left of them goes first.
    for lane in tuple(lanes):
        _free_slot(context, lane, lanes)
    context.free([loaded.close], [kernel.close] if kernel is not None else [])
