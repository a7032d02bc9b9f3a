"""``ICudaEngine``: names, types and shapes of a model's tensors."""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import Any

import onnx

from emulated_tensorrt.arithmetic import TYPES, session_of, shape_inputs
from emulated_tensorrt.context import Context
from emulated_tensorrt.cuda import Memory, in_context
from emulated_tensorrt.ledger import Counted, violation

__all__ = ["Engine"]

#: What an engine takes for its weights, and an execution context for its activations, bytes.
_SCRATCH = 1 << 20


class Engine(Counted):
    """As TensorRT's."""

    _kind = "engine"

    def __init__(
        self, runtime: Any, module: ModuleType, model: bytes, profiles: dict[str, Any]
    ) -> None:
        self._runtime, self._module = runtime, module
        self._profiles = profiles
        self._model = onnx.load_from_string(model)
        self._operators = {node.op_type for node in self._model.graph.node}
        self._shape_inputs = shape_inputs(self._model)
        self._session = session_of(model)
        self._inputs = {a.name: a for a in self._session.get_inputs()}
        self._outputs = {a.name: a for a in self._session.get_outputs()}
        self._weights = Memory(_SCRATCH)
        self._contexts: weakref.WeakSet[Context] = weakref.WeakSet()
        self._born()

    def __del__(self) -> None:
        if len(getattr(self, "_contexts", ())):
            violation("an engine was freed before its execution contexts")
        in_context("an engine was freed")
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
        location = self._module.TensorLocation
        return location.HOST if self.is_shape_inference_io(name) else location.DEVICE

    def is_shape_inference_io(self, name: str) -> bool:
        return name in self._shape_inputs

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._module.DataType, TYPES[self._argument(name).type][0])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(d if isinstance(d, int) else -1 for d in self._argument(name).shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        return [tuple(shape) for shape in self._profiles[name]]

    def create_execution_context(self) -> Any:
        in_context("create_execution_context")
        scratch = Memory(_SCRATCH)
        if not scratch.address:
            return self._runtime._full()
        context = Context(self, scratch)
        self._contexts.add(context)
        return context

    def _argument(self, name: str) -> Any:
        return self._inputs.get(name) or self._outputs[name]
