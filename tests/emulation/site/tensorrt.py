"""What ``import tensorrt`` finds in programs on the emulated driver: the version that EMULATED_TENSORRT names."""

from __future__ import annotations

import os
from pathlib import Path

import emulated_tensorrt

_version = os.environ.get("EMULATED_TENSORRT", "10.3.0")
if _version == "none" or _version.startswith("rtx "):
    raise ImportError("No module named 'tensorrt'")
_listing = os.environ.get("EMULATED_TENSORRT_LISTING")
emulated_tensorrt.install(_version, Path(_listing) if _listing else None)
