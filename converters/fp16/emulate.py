"""A float16 graph computed as a GPU would: in float32, every float16 tensor rounded on its way.

onnxruntime's CPU provider has few float16 kernels. It computes the rest in float32, and takes out the
casts between them, explicit ones too: 60000 + 60000 in "float16" is 120000 there, where a GPU gets
infinity. What holds for such a run says nothing of float16. With the pair of casts to float16 and back
behind each node, which it keeps, the rounding and the overflow are there; sums inside a node are
float32, as tensor cores accumulate them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.fp16.names import Names
from edgevision.converters.graph.index import captured, elem_types

__all__ = ["emulated"]

# They move values and round nothing.
_MOVING = frozenset(
    {
        *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat"),
        *(
            "Gather",
            "DepthToSpace",
            "SpaceToDepth",
            "MaxPool",
            "Relu",
            "Identity",
            "Expand",
            "Tile",
        ),
    }
)


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph in float32 with rounding; inputs and outputs keep their names and types.

    Args:
        model: A graph with float16 tensors, as `to_half` writes it; not changed.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    types = {n: t for n, t in elem_types(model).items() if t == TensorProto.FLOAT16}
    fresh = Names(model.graph).fresh
    wide = {name: fresh(f"{name}/float") for name in types}
    nodes = [
        _to(v.name, wide[v.name], TensorProto.FLOAT) for v in model.graph.input if v.name in wide
    ]
    for node in model.graph.node:
        nodes += _rounded(node, wide, fresh)
    for tensor in model.graph.initializer:
        if tensor.name in wide:
            array = numpy_helper.to_array(tensor).astype("float32")
            result.graph.initializer.append(numpy_helper.from_array(array, wide[tensor.name]))
    del result.graph.node[:], result.graph.value_info[:]
    result.graph.node.extend(nodes)
    return result


def _rounded(
    node: onnx.NodeProto, wide: Mapping[str, str], fresh: Callable[[str], str]
) -> list[onnx.NodeProto]:
    """The node on float32 tensors, and what rounds its outputs."""
    copy = onnx.NodeProto.FromString(node.SerializeToString())
    half = [name for name in node.output if name in wide]
    if captured(node) or node.op_type == "Cast":
        # Bodies read float16 as it is; a Cast to it rounds by itself.
        return [copy, *(_to(name, wide[name], TensorProto.FLOAT) for name in half)]
    for position, name in enumerate(node.input):
        copy.input[position] = wide.get(name, name)
    behind = []
    for position, name in enumerate(node.output):
        if name not in wide:
            continue
        exact = wide[name] if node.op_type in _MOVING else fresh(f"{name}/exact")
        copy.output[position] = exact
        behind.append(_to(exact, name, TensorProto.FLOAT16))
        if exact != wide[name]:
            behind.append(_to(name, wide[name], TensorProto.FLOAT))
    return [copy, *behind]


def _to(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}/cast", to=kind)
