"""All that one slot of the backend ``trt`` has on the GPU: a stream, an execution context, buffers and graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from edgevision.cuda.context import PrimaryContext
from edgevision.cuda.driver import call
from edgevision.cuda.failures import checked, explaining, forget_frames, lost
from edgevision.cuda.graph import Replay
from edgevision.cuda.kernel import Kernel
from edgevision.cuda.library import pycuda_driver
from edgevision.cuda.timing import Marks
from edgevision.spec import InputSpec, TensorSpec
from edgevision.trt.engine import Loaded
from edgevision.trt.inputs import Inputs
from edgevision.trt.library import Log
from edgevision.trt.outputs import Outputs

__all__ = ["Lane", "Settings", "free_lane", "make_lane"]

# CUstream_flags: a stream that does not wait for the default one, which other libraries may be using.
_NON_BLOCKING = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """How the slots of a session work.

    Attributes:
        spec: How pictures become tensors.
        kernel: Does that on the GPU; None leaves it to the processor.
        mapped: Whether the GPU uses the host's memory in place.
        blocking: Whether a wait sleeps, else it spins.
        graphs: Whether runs are captured and replayed.
    """

    spec: InputSpec
    kernel: Kernel | None
    mapped: bool
    blocking: bool
    graphs: bool


def make_lane(
    context: PrimaryContext, loaded: Loaded, tensors: Mapping[str, TensorSpec], settings: Settings
) -> Lane:
    """A new lane, in the attached context.

    Args:
        context: The GPU's.
        loaded: The engine.
        tensors: Its inputs with shapes of numbers.
        settings: How to work.

    Raises:
        BackendError: The GPU has no memory left, or TensorRT refuses something; nothing is left then.
    """
    lane = Lane(loaded.log)
    try:
        with explaining("a slot was made"):
            lane.make(loaded, tensors, settings)
    except BaseException as error:
        forget_frames(error)
        free_lane(context, lane)
        raise
    return lane


def free_lane(context: PrimaryContext, lane: Lane) -> bool:
    """Frees all of a lane, if `PrimaryContext.free` can; may be called twice."""
    return context.free([lane.free_work], [lane.free_memory])


class Lane:
    """One run at a time: inputs in, TensorRT, outputs back, in the order of one stream.

    Everything here is called with the GPU's context attached.

    Made by `make_lane`.

    Attributes:
        inputs: The input buffers.
        outputs: The output buffers.
        replay: Counts captures and replays.
    """

    inputs: Inputs
    outputs: Outputs
    replay: Replay

    def __init__(self, log: Log) -> None:
        self._log = log
        self._undo: list[Callable[[], object]] = []
        self._forget: Callable[[], object] = bool
        self._stream: Any = None
        self._context: Any = None
        self._places: tuple[int, ...] = ()

    def make(self, loaded: Loaded, tensors: Mapping[str, TensorSpec], settings: Settings) -> None:
        """Allocates all that is needed before the first frame. After an error it has to be freed."""
        self._stream = pycuda_driver().Stream(_NON_BLOCKING)
        self._marks = Marks(self._stream, blocking=settings.blocking)
        self._undo.append(self._marks.close)
        self.inputs = Inputs(settings.spec, tensors, settings.kernel, mapped=settings.mapped)
        self._undo.append(self.inputs.close)
        self.inputs.prepare()
        self._context = loaded.engine.create_execution_context()
        self._take(self._context is not None, "an execution context")
        for name, tensor in tensors.items():
            self._take(self._context.set_input_shape(name, tensor.shape), f"the shape of {name}")
        self.outputs = Outputs(
            loaded.library, self._context, loaded.outputs, mapped=settings.mapped
        )
        self._undo.append(self.outputs.close)
        self.outputs.bind(self._context, self._take)
        self.replay = Replay(self._stream, note=self._no_graphs(settings))
        self._forget = self.replay.forget

    def submit(self, rows: int) -> None:
        """Gives a run on the first rows to the stream.

        Raises:
            BackendError: Something failed; nothing is under way then.
        """
        try:
            with explaining("a frame was given to the GPU"):
                self._submit(rows)
        except BaseException:
            # Waits for what was given before the failure, which may be the GPU's. Not for the whole context: that
            # stalls other cameras, and is forbidden while one of them captures.
            if not lost():
                handle = ctypes.c_void_p(int(self._stream.handle))
                checked(call("cuStreamSynchronize", handle), "a frame was given to the GPU")
            raise

    def ended(self, timeout_s: float | None) -> bool:
        """Waits for the run; False if it has not ended in that time.

        Raises:
            BackendError: It failed.
        """
        with explaining("the GPU worked on a frame"):
            if not self._marks.wait(timeout_s):
                return False
            self.outputs.collect(self._stream)
        return True

    def durations_ns(self) -> tuple[int, int, int]:
        """What copying in, computing and copying back took on the device, once a run has ended."""
        return self._marks.durations_ns()

    def free_work(self) -> None:
        """Waits for what is under way, and frees the graphs and the execution context."""
        if self._stream is not None and not lost():
            with suppress(Exception), explaining("a slot was freed"):  # notes a GPU that is lost
                self._stream.synchronize()
        self._forget()
        self._context = None

    def free_memory(self) -> None:
        """Frees buffers, events and the stream, after `free_work`; may be called twice."""
        while self._undo:
            with suppress(Exception):
                self._undo.pop()()
        self._stream = None

    def _submit(self, rows: int) -> None:
        self._bind()
        self._marks.record(0)
        self.inputs.upload(self._stream)
        self._marks.record(1)
        self.replay.run(rows, lambda: self._compute(rows))
        self._marks.record(2)
        self.outputs.download(self._stream)
        self._marks.record(3)

    def _bind(self) -> None:
        """Tells TensorRT where inputs are; graphs hold addresses, so those that have changed end them."""
        if self.inputs.places() == self._places:
            return
        self.replay.forget()
        self._places = self.inputs.places()
        for name, address in self.inputs.addresses().items():
            self._take(self._context.set_tensor_address(name, address), f"the address of {name}")

    def _compute(self, rows: int) -> None:
        self.inputs.launch(self._stream, rows)
        self._take(self._context.execute_async_v3(self._stream.handle), "a run")

    def _take(self, accepted: bool, what: str) -> None:
        """Raises what TensorRT says of a refusal."""
        if not accepted:
            raise self._log.refusal(what)

    def _no_graphs(self, settings: Settings) -> str:
        if not settings.graphs:
            return "no CUDA graph: turned off"
        if not self.outputs.settled:
            return "no CUDA graph: the size of an output depends on the data"
        return ""
