"""Reads an ONNX model for its costs: every tensor's shape at given input sizes. The one file here that needs onnx.

Shapes go through the graph node by node, with ONNX's own inference. What computes shapes (Shape, Gather,
Concat of numbers) is run on the way, so that models exported with open sizes come out in numbers too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper, inliner, numpy_helper, parser, shape_inference
from onnx.external_data_helper import load_external_data_for_tensor
from onnx.reference import ReferenceEvaluator

from edgevision.benchmarks.estimate.network import Network, Node, Tensor
from edgevision.errors import EdgevisionError, ModelError
from edgevision.text import printable

__all__ = ["onnx_file", "read_network"]

#: Constants up to this size may be shapes, and are computed with.
_SMALL = 4096
_ONNX = ("", "ai.onnx")
_RANDOM = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}
_TYPE_NAMES = {"float": "float32", "double": "float64"}


def read_network(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Network:
    """Reads a model and works out all shapes that can be known.

    Args:
        path: The ONNX file; weights in files of their own need not be there, but small ones may be shapes.
        shapes: Input → its whole shape.

    Raises:
        ModelError: It is not ONNX, or it does not take these shapes.
    """
    try:
        return _Reading(_loaded(path), shapes, path.parent).network(path)
    except EdgevisionError:
        raise
    except Exception as error:  # protobuf's, onnx's and Python's own, of what a file may hold
        raise ModelError(
            f"{path} is not a usable ONNX file",
            received=_one_line(error),
            expected="an ONNX model, whole",
        ) from error


def _loaded(path: Path) -> Any:
    """The model without external weights, its functions put where they are called."""
    model = onnx.load(str(path), load_external_data=False)
    return inliner.inline_local_functions(model) if model.functions else model


def onnx_file(text: str) -> bytes:
    """An ONNX file from ONNX's text form (https://onnx.ai/onnx/repo-docs/Syntax.html)."""
    data: bytes = parser.parse_model(text).SerializeToString()
    return data


class _Reading:
    """One pass through a graph, with what is known so far.

    Attributes:
        types: Tensor → its type, with the shape as far as it is known.
        values: Small constants by name.
        constants: Names of all constants.
    """

    def __init__(self, model: Any, shapes: Mapping[str, tuple[int, ...]], folder: Path) -> None:
        self.model, self.graph, self.folder = model, model.graph, folder
        self.opsets = {entry.domain or "": entry.version for entry in model.opset_import}
        self.declared = {info.name: info.type for info in self.graph.value_info}
        self.declared |= {info.name: info.type for info in self.graph.output}
        self.types: dict[str, Any] = {}
        self.values: dict[str, NDArray[Any]] = {}
        self.constants: set[str] = set()
        for weight in (*self.graph.initializer, *(s.values for s in self.graph.sparse_initializer)):
            self._constant(weight)
        self.inputs = tuple(i.name for i in self.graph.input if i.name not in self.constants)
        for info in self.graph.input:
            if info.name in shapes:
                kind = info.type.tensor_type.elem_type
                self.types[info.name] = helper.make_tensor_type_proto(kind, shapes[info.name])
        # What the file declares was worked out for its own sizes: of use only where they are these.
        self.same_sizes = all(
            _numbers(info.type) == shapes.get(info.name)
            for info in self.graph.input
            if info.name in self.inputs
        )

    def network(self, path: Path) -> Network:
        nodes = []
        for number, node in enumerate(self.graph.node):
            try:
                self._visit(node)
            except shape_inference.InferenceError as error:
                raise self._misfit(path, node, error) from error
            made_before = all(name in self.constants for name in node.output if name)
            # Weights stay the integers they are kept as: an engine multiplies those.
            if not made_before or node.op_type == "DequantizeLinear":
                nodes.append(self._node(node, number))
        outputs = tuple(info.name for info in self.graph.output)
        names = {n for node in nodes for n in (*node.inputs, *node.outputs)} | {*outputs}
        return Network(
            nodes=tuple(nodes),
            tensors={name: self._tensor(name) for name in sorted((names | {*self.inputs}) - {""})},
            inputs=self.inputs,
            outputs=outputs,
        )

    def _visit(self, node: Any) -> None:
        """Works out a node's outputs: their types and, if its inputs are constants, their values."""
        inferred = self._inferred(node)
        for name in node.output:
            kind = inferred.get(name)
            if _numbers(kind) is None and self.same_sizes and name in self.declared:
                kind = self.declared[name]
            if kind is not None:
                self.types[name] = kind
        self._fold(node)

    def _inferred(self, node: Any) -> Mapping[str, Any]:
        if node.domain not in _ONNX:
            return {}
        try:
            schema = defs.get_schema(node.op_type, self.opsets.get("", 1), "")
        except defs.SchemaError:
            return {}
        if not schema.has_type_and_shape_inference_function:
            first = self.types.get(node.input[0]) if node.input else None
            return (
                {} if first is None else {node.output[0]: first}
            )  # GroupNormalization and its like
        types = {name: self.types[name] for name in node.input if name in self.types}
        if any(name and name not in types for name in node.input):
            return {}
        values = {n: numpy_helper.from_array(self.values[n]) for n in types if n in self.values}
        found: Mapping[str, Any] = shape_inference.infer_node_outputs(
            schema, node, types, values, None, list(self.model.opset_import), self.model.ir_version
        )
        return found

    def _fold(self, node: Any) -> None:
        """Runs a node if nothing in it depends on the model's input, or only on that one's shape."""
        if node.op_type in ("Shape", "Size") and (shape := self._shape(node.input[0])) is not None:
            self._value(node.output[0], _shape_value(node, shape))
            return
        if node.op_type in _RANDOM or node.domain not in _ONNX or _has_graph(node):
            return
        if any(name and name not in self.constants for name in node.input):
            return
        self.constants |= {name for name in node.output if name}
        sizes = [prod(s) if (s := self._shape(name)) is not None else 0 for name in node.output]
        known = all(name in self.values for name in node.input if name)
        if known and max(sizes, default=0) <= _SMALL and not _would_be_large(node, self.values):
            self._evaluate(node)

    def _evaluate(self, node: Any) -> None:
        given = {name: self.values[name] for name in node.input if name}
        single = helper.make_graph(
            [node],
            "one",
            [helper.make_tensor_value_info(n, _kind(v), v.shape) for n, v in given.items()],
            [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        model = helper.make_model(single, opset_imports=list(self.model.opset_import))
        try:
            results = ReferenceEvaluator(model).run(None, given)
        except (
            Exception
        ):  # what the reference cannot run has a shape at least, and often not even that
            return
        for name, value in zip((n for n in node.output if n), results, strict=True):
            if isinstance(value, np.ndarray | np.generic):
                self._value(name, np.asarray(value))

    def _value(self, name: str, value: NDArray[Any]) -> None:
        self.constants.add(name)
        self.types[name] = helper.make_tensor_type_proto(_kind(value), value.shape)
        if value.size <= _SMALL:
            self.values[name] = value

    def _constant(self, weight: Any) -> None:
        dims = tuple(weight.dims)
        self.constants.add(weight.name)
        self.types[weight.name] = helper.make_tensor_type_proto(weight.data_type, dims)
        if prod(dims) > _SMALL:
            return
        if weight.data_location != TensorProto.EXTERNAL:
            self.values[weight.name] = numpy_helper.to_array(weight)
            return
        with suppress(Exception):  # its file is missing, too short, or outside of the folder
            load_external_data_for_tensor(weight, str(self.folder))
            self.values[weight.name] = numpy_helper.to_array(weight)

    def _node(self, node: Any, number: int) -> Node:
        domain = "" if node.domain in _ONNX else f"{node.domain}."
        attributes = {
            a.name: _plain(helper.get_attribute_value(a))
            for a in node.attribute
            if a.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
        }
        name = node.name or next((o for o in node.output if o), "") or f"{node.op_type}_{number}"
        return Node(domain + node.op_type, name, tuple(node.input), tuple(node.output), attributes)

    def _tensor(self, name: str) -> Tensor:
        kind = self.types.get(name)
        return Tensor(name, _dtype(kind), self._shape(name), name in self.constants)

    def _shape(self, name: str) -> tuple[int, ...] | None:
        return _numbers(self.types.get(name))

    def _misfit(self, path: Path, node: Any, error: Exception) -> ModelError:
        given = (f"{name} {_text(self._shape(name))}" for name in self.inputs)
        return ModelError(
            f"{path.name} does not take these sizes: {node.op_type} "
            f"{printable(node.name, 60)!r} refuses its inputs",
            received=f"{'; '.join(given)}. {_one_line(error)}",
            hint="another --size, --batch or --shape; 'edgevision inspect' shows what it declares",
        )


def _shape_value(node: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """What Shape (opset 15: a part of it) or Size gives."""
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64)
    limits = {a.name: a.i for a in node.attribute}
    return np.array(shape[limits.get("start", 0) : limits.get("end", len(shape))], np.int64)


def _would_be_large(node: Any, values: Mapping[str, NDArray[Any]]) -> bool:
    """Operators whose few numbers stand for many: not run to find out."""
    if node.op_type in ("ConstantOfShape", "Expand", "Tile") and node.input:
        asked = values[node.input[-1]].astype(np.float64)
        return float(np.prod(np.maximum(asked, 1))) > _SMALL
    if node.op_type == "Range":
        start, limit, delta = (float(values[name]) for name in node.input)
        return not delta or (limit - start) / delta > _SMALL
    return False


def _has_graph(node: Any) -> bool:
    kinds = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return any(attribute.type in kinds for attribute in node.attribute)


def _numbers(kind: Any) -> tuple[int, ...] | None:
    """The shape in a type, if it is known in full."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if all(dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims):
        return tuple(dim.dim_value for dim in dims)
    return None


def _dtype(kind: Any) -> str:
    if kind is None or not kind.HasField("tensor_type"):
        return "unknown"
    name: str = TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()
    return _TYPE_NAMES.get(name, name)


def _kind(value: NDArray[Any]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(part) for part in value]
    return value


def _text(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "×".join(map(str, shape))


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()), 240)
