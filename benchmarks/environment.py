"""What a record must say about the machine and its state, read from files; nothing is ever changed.

A fact that this machine does not tell is None, never an error: a container hides sensors, a PC has
no L4T.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from edgevision import __version__, device, jetson
from edgevision.system_files import (
    cores,
    in_container,
    meminfo,
    number,
    os_name,
    per_core,
    read,
    temperatures,
)

__all__ = ["read_environment", "read_state"]

_ROOT = Path("/")
#: Flags of the processor that decide how fast, and with int8 how exactly, an engine computes.
_FEATURES = (
    "avx avx2 fma f16c avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 "
    "amx_tile amx_int8 amx_bf16 asimd asimdhp fphp asimddp i8mm bf16 sve sve2"
)
#: Library → its distributions; several for one that comes in several builds.
_LIBRARIES = {
    "numpy": ("numpy",),
    "opencv": (
        "opencv-python",
        "opencv-python-headless",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "onnx": ("onnx",),
    "openvino": ("openvino",),
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "tensorrt_rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings"),
    "pycuda": ("pycuda",),
}
#: Modules that may be there without a distribution, as JetPack's are: asked only if imported.
_MODULES = {"opencv": "cv2", "tensorrt": "tensorrt"}


def read_environment(root: Path = _ROOT) -> dict[str, Any]:
    """What stays the same for the time of a run, JSON-ready.

    Args:
        root: Where the file system begins; tests put a folder of their own here. The processor, its
            cores and the kernel are always those of this machine.
    """
    features = device.cpu_features()
    return {
        "os": {
            "name": os_name(root),
            "kernel": platform.release(),
            "arch": platform.machine(),
            "container": in_container(root),
            "virtual_machine": "hypervisor" in features if features else None,
        },
        "cpu": {
            "name": device.cpu_name(),
            "features": sorted(features & set(_FEATURES.split())),
            "cores_usable": device.cpu_count(),
            "cores": os.cpu_count(),
            "governor": per_core(root, "scaling_governor"),
            "min_mhz": _mhz(per_core(root, "scaling_min_freq")),
            "max_mhz": _mhz(per_core(root, "scaling_max_freq")),
            "boost": _boost(root),
        },
        "memory_mb": _megabytes(device.memory_mb()),
        "board": read(root / "proc/device-tree/model"),
        "jetson": _jetson(root),
        "nvidia_driver": read(root / "sys/module/nvidia/version"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {"edgevision": __version__} | {name: _version(name) for name in _LIBRARIES},
    }


def read_state(root: Path = _ROOT) -> dict[str, Any]:
    """What changes during a run, so it is read before and after it.

    ``throttled`` counts thermal throttling events since the machine was started, over all cores.
    """
    return {
        "load_average": _load(root),
        "clock_mhz": _mhz(per_core(root, "scaling_cur_freq")),
        "temperature_c": temperatures(root),
        "throttled": _throttled(root),
        "memory_available_mb": _megabytes(meminfo(root).get("MemAvailable")),
    }


def _megabytes(mebibytes: int | None) -> int | None:
    """MB of 10^6 bytes, as in all of a record."""
    return None if mebibytes is None else round(mebibytes * 2**20 / 1e6)


def _mhz(texts: Iterable[str] | None) -> list[int] | None:
    """Kilohertz as cpufreq writes them → MHz."""
    return [int(text) // 1000 for text in texts if text.isdigit()] if texts is not None else None


def _boost(root: Path) -> bool | None:
    """Whether cores may run above their nominal clock."""
    folder = root / "sys/devices/system/cpu"
    boost, no_turbo = number(folder / "cpufreq/boost"), number(folder / "intel_pstate/no_turbo")
    if boost is None and no_turbo is None:
        return None
    return boost == 1 if boost is not None else no_turbo == 0


def _load(root: Path) -> list[float] | None:
    """Load average over 1, 5 and 15 minutes."""
    try:
        return [float(value) for value in (read(root / "proc/loadavg") or "").split()[:3]] or None
    except ValueError:
        return None


def _throttled(root: Path) -> int | None:
    counts = [number(core / "thermal_throttle/core_throttle_count") for core in cores(root)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _jetson(root: Path) -> dict[str, Any] | None:
    """L4T, JetPack and power mode; None on anything but a Jetson."""
    if jetson.release_text(root) is None:
        return None
    mode = jetson.power_mode(root)
    return {
        "l4t": jetson.l4t(root),
        "jetpack": jetson.jetpack_package(root),
        "power_mode": mode and " ".join(str(part) for part in mode if part is not None),
    }


def _version(library: str) -> str | None:
    """Version of an installed library, without importing it."""
    for name in _LIBRARIES[library]:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    module = sys.modules.get(_MODULES.get(library, ""))
    version = getattr(module, "__version__", None)
    return None if version is None else str(version)
