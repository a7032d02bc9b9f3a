"""Re-read a graph and say how much of it really computes in float16."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import onnx
from onnx import TensorProto, helper

from edgevision.converters.graph.execute import open_session
from edgevision.converters.graph.index import elem_types
from edgevision.converters.int8.schemes import LAYER_OPS
from edgevision.errors import ModelError

__all__ = ["read_back_half"]


def read_back_half(model: onnx.ModelProto, *, layers: Collection[str] = ()) -> dict[str, Any]:
    """Check a written graph and count what is float16 in it.

    Args:
        model: A graph as written, or as loaded from its file.
        layers: Names of the layers that must be float16.

    Returns:
        ``layers`` (that read and give float16) and ``float_layers``, ``nodes`` and
        ``float_nodes`` (by what they give, casts left out), ``casts`` (between the two),
        ``weights`` (float16 constants), ``inputs`` and ``outputs`` {name → type}.

    Raises:
        ModelError: The graph is not valid, onnxruntime does not load it, no layer computes in
            float16, or one of ``layers`` does not.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _broken(" ".join(str(error).split())[:300], "a valid graph") from error
    open_session(model)
    types = elem_types(model)
    found = [n for n in model.graph.node if n.op_type in LAYER_OPS and _is_half(n, types)]
    missing = set(layers) - {node.name for node in found}
    if missing or not found:
        raise _broken(f"float32 in layer {min(missing, default='')!r}", "layers in float16")
    return {
        "layers": len(found),
        "float_layers": sum(n.op_type in LAYER_OPS for n in model.graph.node) - len(found),
        "nodes": _giving(model, types, TensorProto.FLOAT16),
        "float_nodes": _giving(model, types, TensorProto.FLOAT),
        "casts": sum(_is_border(node, types) for node in model.graph.node),
        "weights": sum(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer),
        "inputs": {v.name: _type_name(v) for v in model.graph.input},
        "outputs": {v.name: _type_name(v) for v in model.graph.output},
    }


def _is_half(node: onnx.NodeProto, types: dict[str, int]) -> bool:
    names = [*node.input[:2], node.output[0]]
    return all(types.get(name) == TensorProto.FLOAT16 for name in names)


def _giving(model: onnx.ModelProto, types: dict[str, int], kind: int) -> int:
    return sum(
        any(types.get(name) == kind for name in node.output)
        for node in model.graph.node
        if not _is_border(node, types)
    )


def _is_border(node: onnx.NodeProto, types: dict[str, int]) -> bool:
    ends = {types.get(node.input[0]), types.get(node.output[0])} if node.input else set()
    return node.op_type == "Cast" and ends == {TensorProto.FLOAT, TensorProto.FLOAT16}


def _type_name(value: onnx.ValueInfoProto) -> str:
    return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))


def _broken(received: str, expected: str) -> ModelError:
    return ModelError(
        "the float16 graph is not what was planned",
        received=received,
        expected=expected,
        hint="this is a fault in edgevision: please report it with the model",
    )
