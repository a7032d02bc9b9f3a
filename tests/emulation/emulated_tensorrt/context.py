"""``IExecutionContext``: shapes, addresses, and runs in a stream's order."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any

from emulated_tensorrt.arithmetic import computed, inferred, write
from emulated_tensorrt.cuda import Memory, call, failed, in_context
from emulated_tensorrt.ledger import Counted, violation
from emulated_tensorrt.runs import Activity, forget, give, noted

__all__ = ["Context"]

_ALIGNMENT = 256


class Context(Counted):
    """As TensorRT's."""

    _kind = "context"

    def __init__(self, engine: Any, scratch: Memory) -> None:
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
        self._activity = Activity()
        self._born()

    def __del__(self) -> None:
        in_context("an execution context was freed")
        if self._activity.running and not failed():
            violation("an execution context was freed while it ran")
        self._activity.freed = True
        for number in self._runs.values():
            forget(number)
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
            self._output_shapes = inferred(self._alive()._model, self._session, self._shapes)
        return self._output_shapes[name]

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert isinstance(memory, int)
        if memory % _ALIGNMENT:
            violation(f"the address of {name} is not aligned to {_ALIGNMENT}")
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        assert isinstance(output_allocator, self._runtime._module.IOutputAllocator)
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine = self._alive()
        in_context("execute_async_v3")
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
            self._runs[key] = noted(self._activity, self._session, inputs, outputs)
        code = give(self._runs[key], stream_handle)
        if code:
            self._runtime._complain(
                f"[executor.cpp::run::1] Error Code 1: Cuda Driver (error {code})"
            )
        return code == 0

    def _run_now(self, stream_handle: int, inputs: Any, outputs: Any) -> bool:
        """TensorRT waits for the sizes of such outputs, too."""
        if call("cuStreamSynchronize", ctypes.c_void_p(stream_handle)):
            return False
        found = computed(self._session, inputs)
        for name, address, _ in outputs:
            write(address, found[name])
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
            write(address, value)
        return True

    def _alive(self) -> Any:
        engine = self._engine()
        assert engine is not None, "the engine is gone"
        return engine
