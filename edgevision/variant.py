"""One ONNX file of a bundle, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgevision.spec import ModelSpec

__all__ = ["Variant"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One ONNX file of a bundle, and how to run it.

    Attributes:
        id: ``fp32``, ``int8-x86``, …
        precision: ``fp32``, ``int8``, …
        file: The ONNX file.
        spec: Its task, labels, input spec and output spec.
        sha256: Hash of the file, hexadecimal; empty for a file that is in no bundle.
        size_bytes: Size of the file.
        opset: ai.onnx opset, 0 if unknown.
        targets: What it was written for, such as ``x86``; empty means anything.
        verified: What was proven about it: ``{"backend", "compute", "verdict", …}`` a line.
    """

    id: str
    precision: str
    file: Path
    spec: ModelSpec
    sha256: str = ""
    size_bytes: int = 0
    opset: int = 0
    targets: tuple[str, ...] = ()
    verified: tuple[Mapping[str, Any], ...] = ()
