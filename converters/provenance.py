"""What the numbers of a conversion depend on besides its input: versions of the tools, and the processor."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import cv2

from edgevision import __version__
from edgevision.device import cpu_features

__all__ = ["kernel_features", "tool_versions"]

_PACKAGES = ("numpy", "onnx", "onnxruntime")
#: Flags of the processor that change what int8 and fp32 kernels compute.
_FEATURES = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
)


def tool_versions(engines: Sequence[str] = ()) -> dict[str, str]:
    """Name → version of what computes; OpenCV's own, since it comes in several packages.

    Args:
        engines: More packages to name.
    """
    installed = {package: metadata.version(package) for package in (*_PACKAGES, *engines)}
    return {"edgevision": __version__, "opencv": cv2.__version__, **installed}


def kernel_features() -> list[str]:
    """Those flags that this processor has."""
    return [flag for flag in _FEATURES if flag in cpu_features()]
