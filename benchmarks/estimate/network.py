"""A network as the estimate sees it: nodes, and tensors of known shape; no weights, no engine, no onnx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

__all__ = ["BITS", "Network", "Node", "Tensor"]

#: Bits of an element by type; what is not in here (strings, sequences) has no size.
BITS = {
    "float32": 32, "float64": 64, "float16": 16, "bfloat16": 16, "bool": 8,
    "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
    "int64": 64, "uint64": 64, "int4": 4, "uint4": 4, "float4e2m1": 4,
    "float8e4m3fn": 8, "float8e4m3fnuz": 8, "float8e5m2": 8, "float8e5m2fnuz": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor between nodes.

    Attributes:
        name: As in the model.
        dtype: A key of `BITS`, or what the file calls it.
        shape: Numbers only; None if it cannot be told before the model runs.
        constant: The same in every inference: weights, and what is made of them.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    constant: bool = False

    @property
    def elements(self) -> int | None:
        return None if self.shape is None else prod(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator.

    Attributes:
        op: Its type; with the domain before it (``com.microsoft.FusedConv``) if it is not ONNX's own.
        name: Never empty.
        inputs: Names of tensors; an empty one is an optional input that is left out.
        outputs: Likewise.
        attributes: Numbers, texts and lists of them.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Network:
    """A whole model with all shapes that can be known.

    Attributes:
        nodes: In an order in which they can be run; what is constant is not among them, but for DequantizeLinear.
        tensors: By name.
        inputs: Names of what is fed.
        outputs: Names of what is handed out.
    """

    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A tensor's shape; None if it is not known, or there is no such tensor."""
        tensor = self.tensors.get(name)
        return tensor.shape if tensor is not None else None
