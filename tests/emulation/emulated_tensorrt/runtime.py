"""``Runtime``: plans become engines. A plan is a line of notes, and the ONNX file."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from emulated_tensorrt.cuda import in_context
from emulated_tensorrt.engine import Engine
from emulated_tensorrt.ledger import Counted, live, violation

__all__ = ["Runtime", "serialized"]

_MAGIC = b"emulated TensorRT plan\n"
#: Operators that the real parser makes plugins of.
_PLUGINS = {"RoiAlign": "ROIAlign_TRT"}


def serialized(
    model: bytes, *, version: str, profiles: dict[str, Sequence[Sequence[int]]] | None = None
) -> bytes:
    """The plan that `Runtime` deserializes."""
    header = {"version": version, "profiles": profiles or {}}
    return _MAGIC + json.dumps(header).encode() + b"\n" + model


class Runtime(Counted):
    """As TensorRT's."""

    _kind = "runtime"
    _module: ModuleType
    _has_plugins = False
    #: TensorRT's own reference, which keeps nothing alive: the first logger, until all runtimes are gone.
    _logger: Any = None

    def __init__(self, logger: Any) -> None:
        assert isinstance(logger, self._module.ILogger)
        self._kept = logger  # as the real one keeps its own, and no other
        if live["runtime"] == 0:
            type(self)._logger = weakref.ref(logger)
        self._born()

    def __del__(self) -> None:
        self._dead()

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        in_context("deserialize_cuda_engine")
        data = bytes(serialized_engine)
        if not data.startswith(_MAGIC):
            return self._complain(
                "[runtime.cpp::parsePlan::314] Error Code 1: Serialization (Serialization assertion "
                "plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.)"
            )
        header, _, model = data[len(_MAGIC) :].partition(b"\n")
        told = json.loads(header)
        if told["version"] != self._module.__version__:
            return self._complain(
                "[runtime.cpp::deserializeCudaEngine::8] Error Code 1: Serialization (The engine plan file is "
                f"not compatible with this version of TensorRT, expecting library version "
                f"{self._module.__version__} got {told['version']})"
            )
        engine = Engine(self, self._module, model, told["profiles"])
        plugin = next((_PLUGINS[name] for name in engine._operators if name in _PLUGINS), None)
        if plugin is not None and not self._has_plugins:
            return self._complain(
                f"[pluginV2Runner.cpp::load::303] Error Code 1: Serialization (Cannot find plugin: {plugin})"
            )
        return engine if engine._weights.address else self._full()

    def _full(self) -> None:
        self._complain(
            "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
        )

    def _complain(self, text: str) -> None:
        logger = self._logger()
        if logger is None:
            violation("TensorRT wrote to a logger that is gone")
            return
        logger.log(self._module.ILogger.Severity.ERROR, text)
