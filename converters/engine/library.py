"""The TensorRT that is to build: one of those that are installed. Only the child imports it."""

from __future__ import annotations

from collections.abc import Sequence

from edgevision.errors import DependencyError
from edgevision.trt.library import Library, installed_libraries, is_installed

__all__ = ["expected_library", "load_library"]

_TITLES = {"tensorrt": "TensorRT 10.3 or later", "tensorrt-rtx": "TensorRT-RTX"}
_HOW = {
    "tensorrt": "on a Jetson it comes with JetPack 6.1 or later (apt install python3-libnvinfer; a virtual environment "
    "needs --system-site-packages)",
    "tensorrt-rtx": "pip install 'edgevision[rtx]'",
}


def expected_library(names: Sequence[str]) -> str:
    """The one that `load_library` is going to find, told without importing any.

    Args:
        names: The best first; that one where none is installed.
    """
    return next((name for name in names if is_installed(name)), names[0])


def load_library(names: Sequence[str]) -> Library:
    """The first of these that is installed.

    Args:
        names: Of ``tensorrt`` and ``tensorrt-rtx``, the best first.

    Raises:
        DependencyError: None is, or it is too old.
    """
    received = ""
    try:
        found = {library.name: library for library in installed_libraries()}
    except DependencyError as error:
        found, received = {}, error.received
    for name in names:
        if name in found:
            return found[name]
    raise DependencyError(
        "building this engine needs " + " or ".join(_TITLES[name] for name in names),
        received=received or "only " + ", ".join(found),
        hint="; ".join(_HOW[name] for name in names),
    )
