"""Which inputs and outputs of a node may be float16, as the ONNX operator schemas have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import TensorProto

from edgevision.converters.graph.index import attribute

__all__ = ["Slots", "half_slots", "reads_either"]

_HALF = "tensor(float16)"


@dataclass(frozen=True)
class Slots:
    """The places of one node that become float16 together.

    Attributes:
        inputs: Positions of its float32 inputs that must be float16 then; others stay float32.
        outputs: Positions of the outputs that are float16 then.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def reads_either(node: onnx.NodeProto) -> bool:
    """Whether a node reads float16 as well as float32 and its outputs do not depend on which."""
    return node.domain in ("", "ai.onnx") and node.op_type in ("Shape", "Size", "Cast")


def half_slots(node: onnx.NodeProto, types: Mapping[str, int], opset: int) -> Slots | None:
    """Where float16 would go in this node, or None where its float32 outputs cannot be float16.

    1. The type of an output must follow from an input: RandomNormal, ConstantOfShape and others
       take it from an attribute. Of these only Cast is handled, by changing the attribute.
    2. Inputs that share no type with an output stay as they are: Resize's scales and region of
       interest, GridSample's grid, BatchNormalization's statistics.
    3. A QuantizeLinear gives integers; it reads float16 from opset 19 on.
    4. Nodes with a body (If, Loop, Scan), of other domains, or with a tensor of unknown type are
       left alone.

    Args:
        node: Any node.
        types: Tensor name → ``TensorProto`` element type.
        opset: Of the ``ai.onnx`` domain.
    """
    if not _plain(node, types) or not onnx.defs.has(node.op_type, opset, ""):
        return None
    if node.op_type == "Cast":
        to_float = attribute(node, "to") == TensorProto.FLOAT
        return Slots((), (0,)) if to_float and types[node.input[0]] != TensorProto.FLOAT else None
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    variables = {c.type_param_str for c in schema.type_constraints if _HALF in c.allowed_type_strs}
    read = _floats(node.input, schema.inputs, types)
    made = _floats(node.output, schema.outputs, types)
    wanted = set(made.values())
    if node.op_type == "QuantizeLinear":
        wanted = {read.get(0, "")}
    if not wanted or not wanted <= variables or not wanted <= set(read.values()):
        return None
    inputs = tuple(position for position, variable in read.items() if variable in wanted)
    return Slots(inputs, tuple(made))


def _plain(node: onnx.NodeProto, types: Mapping[str, int]) -> bool:
    """Case 4."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if any(item.HasField("g") or item.graphs for item in node.attribute):
        return False
    return all(types.get(name) for name in [*node.input, *node.output] if name)


def _floats(
    names: Sequence[str], formal: Sequence[Any], types: Mapping[str, int]
) -> dict[int, str]:
    """Position of each float32 tensor → the type that the schema gives it, a variable such as T."""
    return {
        position: str(formal[min(position, len(formal) - 1)].type_str)
        for position, name in enumerate(names)
        if name and types.get(name) == TensorProto.FLOAT
    }
