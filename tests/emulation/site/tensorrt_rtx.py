"""What ``import tensorrt_rtx`` finds in programs on the emulated driver, where EMULATED_TENSORRT is such as "rtx 1.7.1"."""

from __future__ import annotations

import os
from pathlib import Path

import emulated_tensorrt

_kind, _, _version = os.environ.get("EMULATED_TENSORRT", "").partition(" ")
if _kind != "rtx":
    raise ImportError("No module named 'tensorrt_rtx'")
emulated_tensorrt.install(
    _version, Path(os.environ["EMULATED_TENSORRT_LISTING"]), name="tensorrt_rtx"
)
