"""What an engine computes: its ONNX file in onnxruntime, on tensors at given addresses."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["TYPES", "computed", "inferred", "session_of", "shape_inputs", "write"]

#: onnxruntime's name of a type → TensorRT's, and numpy's.
TYPES = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int8)": ("INT8", np.int8),
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(int32)": ("INT32", np.int32),
    "tensor(int64)": ("INT64", np.int64),
    "tensor(bool)": ("BOOL", np.bool_),
}
_DATA_DEPENDENT = {"NonMaxSuppression", "NonZero", "Unique"}
#: Which input of an operator is a shape, not data.
_SHAPES = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}


def session_of(model: bytes) -> Any:
    """As the backend ``ort`` sets it up, so that both compute the same."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("EMULATED_TENSORRT_THREADS", "2"))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    return ort.InferenceSession(
        model,
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=["WeightBiasQuantization"],
    )


def computed(session: Any, inputs: Iterable[tuple[str, int, tuple[int, ...]]]) -> dict[str, Any]:
    """The outputs by name; inputs are names, addresses and shapes."""
    types = {argument.name: TYPES[argument.type][1] for argument in session.get_inputs()}
    feeds = {name: _read(address, shape, types[name]) for name, address, shape in inputs}
    names = [argument.name for argument in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def write(address: int, value: Any) -> None:
    """Copies a value to an address."""
    plain = np.ascontiguousarray(value)
    ctypes.memmove(address, plain.ctypes.data, plain.nbytes)


def inferred(
    model: Any, session: Any, shapes: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the outputs, -1 where a size depends on the data."""
    types = {a.name: TYPES[a.type][1] for a in session.get_inputs()}
    names = [a.name for a in session.get_outputs()]
    tried = session.run(names, {n: np.zeros(shape, types[n]) for n, shape in shapes.items()})
    found = {name: value.shape for name, value in zip(names, tried, strict=True)}
    if not _DATA_DEPENDENT & {node.op_type for node in model.graph.node}:
        return found
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else -1
            for dim in value.type.tensor_type.shape.dim
        )
        for value in model.graph.output
    }


def shape_inputs(model: Any) -> set[str]:
    """Inputs of the graph that an operator takes as a shape: TensorRT wants them on the host."""
    taken = {
        node.input[_SHAPES[node.op_type]]
        for node in model.graph.node
        if node.op_type in _SHAPES and len(node.input) > _SHAPES[node.op_type]
    }
    return taken & {value.name for value in model.graph.input}


def _read(address: int, shape: tuple[int, ...], dtype: Any) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(raw, dtype).reshape(shape).copy()
