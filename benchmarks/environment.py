"""What a record must say about the machine and its state, read from files; nothing is ever changed.

A fact that this machine does not tell is None, never an error: a container hides sensors, a PC has
no L4T.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from edgevision import __version__, device

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
_CONTAINER = re.compile(r"docker|kubepods|containerd|libpod|lxc")


def read_environment(root: Path = _ROOT) -> dict[str, Any]:
    """What stays the same for the time of a run, JSON-ready.

    Args:
        root: Where the file system begins; tests put a folder of their own here. The processor, its
            cores and the kernel are always those of this machine.
    """
    features = device.cpu_features()
    return {
        "os": {
            "name": _os_name(root),
            "kernel": platform.release(),
            "arch": platform.machine(),
            "container": _container(root),
            "virtual_machine": "hypervisor" in features if features else None,
        },
        "cpu": {
            "name": device.cpu_name(),
            "features": sorted(features & set(_FEATURES.split())),
            "cores_usable": device.cpu_count(),
            "cores": os.cpu_count(),
            "governor": _per_core(root, "scaling_governor"),
            "min_mhz": _mhz(_per_core(root, "scaling_min_freq")),
            "max_mhz": _mhz(_per_core(root, "scaling_max_freq")),
            "boost": _boost(root),
        },
        "memory_mb": device.memory_mb(),
        "board": _read(root / "proc/device-tree/model"),
        "jetson": _jetson(root),
        "nvidia_driver": _read(root / "sys/module/nvidia/version"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": {"edgevision": __version__} | {name: _version(name) for name in _LIBRARIES},
    }


def read_state(root: Path = _ROOT) -> dict[str, Any]:
    """What changes during a run, so it is read before and after it.

    ``throttled`` counts thermal throttling events since the machine was started, over all cores.
    """
    return {
        "load_average": _load(root),
        "clock_mhz": _mhz(_per_core(root, "scaling_cur_freq")),
        "temperature_c": _temperatures(root),
        "throttled": _throttled(root),
        "memory_available_mb": _available(root),
    }


def _read(path: Path) -> str | None:
    """A small file's text without what surrounds it; device trees end theirs with a NUL."""
    try:
        return path.read_text(errors="replace").strip("\0 \n\t") or None
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _read(path)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def _os_name(root: Path) -> str | None:
    found = re.search(
        r'^PRETTY_NAME="?([^"\n]*)', _read(root / "etc/os-release") or "", re.MULTILINE
    )
    return found[1] if found else None


def _container(root: Path) -> bool | None:
    """Whether this is a container, by its marker file or the first process's cgroup."""
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    groups = _read(root / "proc/1/cgroup")
    return None if groups is None else _CONTAINER.search(groups) is not None


def _cores(root: Path) -> list[Path]:
    folder = root / "sys/devices/system/cpu"
    return sorted(
        folder.glob("cpu[0-9]*"),
        key=lambda path: int(path.name[3:]) if path.name[3:].isdigit() else 0,
    )


def _per_core(root: Path, name: str) -> list[str] | None:
    """A cpufreq file's text for each core (kernel.org, admin-guide/pm/cpufreq), or None."""
    found = [_read(core / "cpufreq" / name) for core in _cores(root)]
    texts = [text for text in found if text is not None]
    return texts or None


def _mhz(texts: Iterable[str] | None) -> list[int] | None:
    """Kilohertz as cpufreq writes them → MHz."""
    return [int(text) // 1000 for text in texts if text.isdigit()] if texts is not None else None


def _boost(root: Path) -> bool | None:
    """Whether cores may run above their nominal clock."""
    folder = root / "sys/devices/system/cpu"
    boost, no_turbo = _number(folder / "cpufreq/boost"), _number(folder / "intel_pstate/no_turbo")
    if boost is None and no_turbo is None:
        return None
    return boost == 1 if boost is not None else no_turbo == 0


def _load(root: Path) -> list[float] | None:
    """Load average over 1, 5 and 15 minutes."""
    try:
        return [float(value) for value in (_read(root / "proc/loadavg") or "").split()[:3]] or None
    except ValueError:
        return None


def _temperatures(root: Path) -> dict[str, float] | None:
    """Thermal zones in degrees Celsius by type; a zone that is switched off does not answer."""
    found = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        value, kind = _number(zone / "temp"), _read(zone / "type") or zone.name
        if value is not None:
            found[kind if kind not in found else f"{kind} {zone.name}"] = value / 1000
    return found or None


def _throttled(root: Path) -> int | None:
    counts = [_number(core / "thermal_throttle/core_throttle_count") for core in _cores(root)]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _available(root: Path) -> int | None:
    found = re.search(
        r"^MemAvailable:\s*(\d+) kB", _read(root / "proc/meminfo") or "", re.MULTILINE
    )
    return int(found[1]) // 1024 if found else None


def _jetson(root: Path) -> dict[str, Any] | None:
    """L4T, JetPack and power mode; None on anything but a Jetson.

    ``/etc/nv_tegra_release`` begins with ``# R36 (release), REVISION: 4.0, …``. nvpmodel keeps the
    mode in its status file as ``pmode:0002`` and the modes' names in its configuration.
    """
    release = _read(root / "etc/nv_tegra_release")
    if release is None:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", release)
    return {
        "l4t": f"{found[1]}.{found[2]}" if found else None,
        "jetpack": _jetpack(root),
        "power_mode": _power_mode(root),
    }


def _jetpack(root: Path) -> str | None:
    """The version of the package ``nvidia-jetpack``, where it is installed."""
    status = _read(root / "var/lib/dpkg/status") or ""
    found = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: (\S+)", status, re.MULTILINE)
    return found[1] if found else None


def _power_mode(root: Path) -> str | None:
    found = re.search(r"pmode:(\d+)", _read(root / "var/lib/nvpmodel/status") or "")
    if found is None:
        return None
    mode = int(found[1])
    names = _read(root / "etc/nvpmodel.conf") or ""
    name = re.search(rf"<\s*POWER_MODEL\s+ID={mode}\s+NAME=(\S+)", names)
    return f"{mode} {name[1]}" if name else str(mode)


def _version(library: str) -> str | None:
    """Version of an installed library, without importing it."""
    for name in _LIBRARIES[library]:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    module = sys.modules.get(_MODULES.get(library, ""))
    version = getattr(module, "__version__", None)
    return None if version is None else str(version)
