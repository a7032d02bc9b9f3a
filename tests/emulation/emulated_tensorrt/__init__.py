"""An emulated ``tensorrt``: engines are ONNX files, run by onnxruntime at the bound addresses on the emulated stream.

It offers what the product uses and nothing else; a test compares every name with the listings of the real modules,
and the values of its enumerations are the listed ones of the version it plays. It is stricter than TensorRT in what
a caller may get wrong: an engine freed before its contexts, a logger before its last user, addresses that are missing
or not aligned, two runs of one context at a time, a graph replayed after its context is gone. Each is noted in
`ledger.violations`.
"""

from __future__ import annotations

from emulated_tensorrt.module import install
from emulated_tensorrt.runtime import serialized

__all__ = ["install", "serialized"]
