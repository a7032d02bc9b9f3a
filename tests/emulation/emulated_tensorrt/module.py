"""The module that ``import tensorrt`` finds: classes and enumerations of the version it plays."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from emulated_tensorrt.runtime import Runtime

__all__ = ["SMALL", "install"]

_ENUMS = ("DataType", "TensorIOMode", "TensorLocation")
#: Members that the product uses; all there are for a version that is not listed.
SMALL = {
    "DataType": ("FLOAT", "HALF", "INT8", "INT32", "BOOL", "UINT8", "FP8", "BF16", "INT64", "INT4"),
    "TensorIOMode": ("NONE", "INPUT", "OUTPUT"),
    "TensorLocation": ("DEVICE", "HOST"),
    "ILogger.Severity": ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"),
}


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

    class OwnRuntime(Runtime):
        _module = module
        _has_plugins = name != "tensorrt"  # TensorRT-RTX brings none

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        assert isinstance(logger, module.ILogger)
        assert namespace == ""
        OwnRuntime._has_plugins = True
        return True

    module.Runtime = OwnRuntime
    if name == "tensorrt":
        module.init_libnvinfer_plugins = init_libnvinfer_plugins
    sys.modules[name] = module
    return module


class _Value:
    """A member of an enumeration as pybind makes them: equal to itself only, and to no number."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value


def _enum(name: str, listing: Path | None) -> type:
    values = _listed(name, listing) if listing else dict(zip(SMALL[name], range(99), strict=False))
    return type(name, (), {key: _Value(key, value) for key, value in values.items()})


def _listed(name: str, listing: Path) -> dict[str, int]:
    text = listing.read_text(encoding="utf-8")
    found = re.search(rf"^class {re.escape(name)}\(.*?\):\n((?: .*\n)*)", text, re.MULTILINE)
    assert found is not None, f"{listing.name} has no {name}"
    return {k: int(v) for k, v in re.findall(r"^ +([A-Z0-9_]+) = (\d+)$", found[1], re.MULTILINE)}
