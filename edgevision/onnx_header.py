"""Reads what an ONNX file says about itself, without onnx or an engine: metadata, inputs, outputs, ops, weights.

An ONNX file is one protobuf message. Only its outer fields and the small ones inside the graph are looked
at; weights are skipped by their length, so a file of any size takes milliseconds. Field numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto, the wire format is
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from edgevision.errors import ModelError
from edgevision.spec import TensorSpec

__all__ = ["OnnxHeader", "read_header"]

#: TensorProto.DataType → numpy's name and bits an element.
_TYPES = {
    1: ("float32", 32), 2: ("uint8", 8), 3: ("int8", 8), 4: ("uint16", 16), 5: ("int16", 16),
    6: ("int32", 32), 7: ("int64", 64), 8: ("string", 0), 9: ("bool", 8), 10: ("float16", 16),
    11: ("float64", 64), 12: ("uint32", 32), 13: ("uint64", 64), 16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8), 19: ("float8e5m2", 8), 21: ("uint4", 4), 22: ("int4", 4),
}  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK, _SIGN = 2**64 - 1, 2**63
# Dims are what a file says: a product that no machine could hold is shown as this many elements.
_LARGEST_TENSOR = 2**60

_Value = int | memoryview


@dataclass(slots=True)
class OnnxHeader:
    """What was read.

    Attributes:
        ir_version: Of the format.
        producer: Name and version of the tool that wrote the file.
        opsets: Domain → version; ``""`` is ai.onnx.
        metadata: The file's ``metadata_props``, texts as they stand: foreign, not to be trusted.
        inputs: Without those that are initializers.
        outputs: In the file's order.
        ops: Op type → how many nodes.
        weights: Data type → ``(tensors, bytes)``.
    """

    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    ops: Counter[str] = field(default_factory=Counter)
    weights: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_header(path: Path) -> OnnxHeader:
    """Reads the header of an ONNX file.

    Raises:
        ModelError: There is no such file, it is empty, cut short, or something else than ONNX.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise ValueError("it is empty")
            # Not closed here: an error's traceback still refers to views of it. It goes with the last one.
            header = _model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError, KeyError) as error:
        raise _refusal(path, error) from error
    if not header.outputs:
        raise _refusal(path, ValueError("it holds no graph with outputs"))
    return header


def _refusal(path: Path, error: Exception) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(f"there is no file {path}", hint="check the path")
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ModelError(
        f"{path} is not a usable ONNX file",
        received=str(reason),
        expected="an ONNX model, whole",
        hint="export or download it again",
    )


def _model(data: memoryview) -> OnnxHeader:
    header, producer = OnnxHeader(), ["", ""]
    for number, value in _fields(data):
        if number == 1:
            header.ir_version = _int(value)
        elif number in (2, 3):
            producer[number - 2] = _text(value)
        elif number == 7:
            _graph(_view(value), header)
        elif number == 8:
            parts = dict(_fields(_view(value)))
            header.opsets[_text(parts.get(1, memoryview(b"")))] = _int(parts.get(2, 0))
        elif number == 14:
            parts = dict(_fields(_view(value)))
            header.metadata[_text(parts[1])] = _text(parts.get(2, memoryview(b"")))
    header.producer = " ".join(producer).strip()
    return header


def _graph(data: memoryview, header: OnnxHeader) -> None:
    initializers: set[str] = set()
    inputs: list[TensorSpec] = []
    for number, value in _fields(data):
        if number == 1:
            header.ops[next((_text(v) for n, v in _fields(_view(value)) if n == 4), "?")] += 1
        elif number == 5:
            name, dtype, size = _initializer(_view(value))
            initializers.add(name)
            count, total = header.weights.get(dtype, (0, 0))
            header.weights[dtype] = (count + 1, total + size)
        elif number == 11:
            inputs.append(_value_info(_view(value)))
        elif number == 12:
            header.outputs.append(_value_info(_view(value)))
    header.inputs += [tensor for tensor in inputs if tensor.name not in initializers]


def _initializer(data: memoryview) -> tuple[str, str, int]:
    name, kind, dims = "", 0, []
    for number, value in _fields(data):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 2:
            kind = _int(value)
        elif number == 8:
            name = _text(value)
    dtype, bits = _TYPES.get(kind, (f"type {kind}", 0))
    count = prod(dims) if all(0 <= dim < 2**31 for dim in dims) and len(dims) < 16 else 0
    return name, dtype, min(count, _LARGEST_TENSOR) * bits // 8


def _value_info(data: memoryview) -> TensorSpec:
    parts = dict(_fields(data))
    kind = dict(_fields(_view(parts[2]))) if 2 in parts else {}
    tensor = dict(_fields(_view(kind[1]))) if 1 in kind else {}
    dtype = _TYPES.get(_int(tensor.get(1, 0)), (f"type {tensor.get(1, 0)}", 0))[0]
    dims = (
        [dict(_fields(_view(v))) for n, v in _fields(_view(tensor[2])) if n == 1]
        if 2 in tensor
        else []
    )
    shape = tuple(
        _int(dim[1]) if _int(dim.get(1, 0)) > 0 else _text(dim.get(2, memoryview(b"?"))) or "?"
        for dim in dims
    )
    return TensorSpec(_text(parts.get(1, memoryview(b""))), dtype, shape)


def _fields(data: memoryview) -> Iterator[tuple[int, _Value]]:
    """Field number and value of each field of a message: a number, or the bytes of a string, message or list."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("it is no protobuf message")
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire)
        if wire == _BYTES:
            size, at = _varint(data, at)
        if size is None:
            raise ValueError("it is no protobuf message")
        if at + size > end:
            raise ValueError("it is cut short, or no protobuf message")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        if at >= len(data):
            raise ValueError("it is cut short, or no protobuf message")
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise ValueError("it is no protobuf message")


def _packed(data: memoryview) -> list[int]:
    numbers, at = [], 0
    while at < len(data):
        number, at = _varint(data, at)
        numbers.append(number)
    return numbers


def _int(value: _Value) -> int:
    """A number as the int64 that it stands for: negative ones have their highest bit set."""
    if isinstance(value, int):
        return (value & _MASK) - ((value & _SIGN) << 1)
    raise ValueError("it is no ONNX model")


def _view(value: _Value) -> memoryview:
    if isinstance(value, memoryview):
        return value
    raise ValueError("it is no ONNX model")


def _text(value: _Value) -> str:
    return bytes(_view(value)).decode(errors="replace")
