"""What is asked of libraries, each in a child process: their native code may crash, hang or print.

Nothing here is imported by the doctor's own process but the table `QUESTIONS`.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from edgevision.cuda.compile import compilers
from edgevision.cuda.driver import call, code_text, driver_library, probe
from edgevision.errors import BackendError

__all__ = ["QUESTIONS", "build_facts"]


def _python() -> dict[str, Any]:
    """This Python: version, virtual environment, and which distributions it sees."""
    settings = Path(sys.prefix) / "pyvenv.cfg"
    text = settings.read_text(errors="replace") if settings.exists() else ""
    found = re.search(r"include-system-site-packages\s*=\s*(\w+)", text)
    installed = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
    return {
        "version": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "venv": sys.prefix != sys.base_prefix,
        "system_site_packages": found[1].lower() == "true" if found else None,
        "distributions": {name: v for name, v in installed.items() if _WATCHED.match(name)},
    }


_WATCHED = re.compile(r"numpy$|opencv|onnx|openvino$|tensorrt|pycuda$")


def _cuda() -> dict[str, Any]:
    """The CUDA driver and its GPUs; ``error`` is the driver's status where it cannot be used."""
    try:
        driver_library()
    except BackendError as error:
        raise ModuleNotFoundError(error.received) from error
    facts: dict[str, Any] = {
        "library": _loaded("libcuda.so"),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    version, count = ctypes.c_int(), ctypes.c_int()
    status = (
        call("cuInit", 0)
        or call("cuDriverGetVersion", ctypes.byref(version))
        or call("cuDeviceGetCount", ctypes.byref(count))
    )
    if status:
        return facts | {"error": status, "error_text": code_text(status)}
    devices = [_gpu(ordinal) for ordinal in range(count.value)]
    return facts | {"error": 0, "driver_version": version.value, "devices": devices}


def _gpu(ordinal: int) -> dict[str, Any]:
    gpu, device, size = probe(ordinal), ctypes.c_int(), ctypes.c_size_t()
    call("cuDeviceGet", ctypes.byref(device), ordinal)
    call("cuDeviceTotalMem_v2", ctypes.byref(size), device)
    return {
        "name": gpu.name,
        "compute_capability": gpu.cc,
        "multiprocessors": gpu.multiprocessors,
        "memory_mb": size.value // 2**20,
        "integrated": gpu.integrated,
    }


def _loaded(library: str) -> str | None:
    """From where the loader took a library (Linux)."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    return next((line[line.index("/") :] for line in lines if f"/{library}" in line), None)


def _compilers() -> dict[str, Any]:
    """What can compile the pre-processing kernel, in the order in which it is tried."""
    found = [{"name": c.name, "version": "{}.{}".format(*c.version)} for c in compilers()]
    return {"compilers": found}


def _module(name: str) -> Callable[[], dict[str, Any]]:
    def ask() -> dict[str, Any]:
        module = import_module(name)
        return {"version": str(module.__version__), "file": str(module.__file__)}

    return ask


def _tensorrt_rtx() -> dict[str, Any]:
    try:
        return _module("tensorrt_rtx")()
    except ModuleNotFoundError:
        return _module("tensorrt_rtx_bindings")()  # the wheels bring only this name


def _pycuda() -> dict[str, Any]:
    import_module("pycuda.driver")  # the native part; it makes no context
    module = import_module("pycuda")
    return {"version": str(module.VERSION_TEXT), "file": str(module.__file__)}


def _onnxruntime() -> dict[str, Any]:
    return _module("onnxruntime")() | {
        "providers": list(import_module("onnxruntime").get_available_providers())
    }


def _openvino() -> dict[str, Any]:
    openvino = import_module("openvino")
    return _module("openvino")() | {"devices": list(openvino.Core().available_devices)}


def _opencv() -> dict[str, Any]:
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    return _module("cv2")() | build_facts(import_module("cv2").getBuildInformation())


def build_facts(text: str) -> dict[str, bool]:
    """What OpenCV's build information says of video and CUDA."""

    def has(name: str) -> bool:
        return re.search(rf"^\s*{name}:\s*YES", text, re.MULTILINE) is not None

    return {
        "gstreamer": has("GStreamer"),
        "ffmpeg": has("FFMPEG"),
        "v4l2": has("v4l/v4l2"),
        "cuda": has("NVIDIA CUDA"),
    }


#: What → who answers.
QUESTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "python": _python,
    "cuda": _cuda,
    "compilers": _compilers,
    "tensorrt": _module("tensorrt"),
    "tensorrt_rtx": _tensorrt_rtx,
    "pycuda": _pycuda,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "opencv": _opencv,
}
