"""The last passes: names for all nodes, shapes for all tensors, and the header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from edgevision.converters.graph.editing import light_inference
from edgevision.converters.graph.index import domains, shape_of
from edgevision.converters.graph.passes import Pass

__all__ = ["Header", "Names", "Shapes"]

# Operators whose output's size may follow from the values in it.
_DATA_DEPENDENT = {
    "NonZero", "NonMaxSuppression", "Unique", "Loop", "If", "Compress", "StringSplit",
}  # fmt: skip
# The operands of others that say how large the output is.
_SIZES = {
    "CenterCropPad": (1,), "ConstantOfShape": (0,), "Expand": (1,), "OneHot": (1,), "Pad": (1,),
    "Range": (0, 1, 2), "Reshape": (1,), "Resize": (2, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "Tile": (1,),
    "TopK": (1,),
}  # fmt: skip


class Names(Pass):
    """Every node has a name of its own, the same each time: reports, exclusions and the decode tail use it."""

    name = "node names"
    indispensable = True

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Keep what is there, and tell namesakes apart."""
        taken: set[str] = set()
        for position, node in enumerate(model.graph.node):
            name = node.name or f"{node.op_type}_{position}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        return model, []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """None is empty or there twice."""
        names = [n.name for n in model.graph.node]
        return None if all(names) and len(set(names)) == len(names) else "names are not unique"


class Shapes(Pass):
    """Shapes are inferred anew; what inference leaves open is read from real runs where all inputs are fixed."""

    name = "shapes"
    indispensable = True

    def __init__(
        self, seen: Sequence[Mapping[str, NDArray[Any]]], batch: str | None = None
    ) -> None:
        """``seen``: outputs of real runs; ``batch``: the open dim that every output begins with."""
        self._seen, self._batch = seen, batch

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Set value_info and the shapes of the outputs."""
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        known = light_inference(model).graph
        model.graph.value_info.extend(known.value_info)
        dims = {v.name: shape_of(v) for v in known.output}
        fixed = all(isinstance(d, int) for v in model.graph.input for d in shape_of(v) or [""])
        fixed = fixed and not _sizes_follow_data(model.graph)
        for value in model.graph.output:
            found = {arrays[value.name].shape for arrays in self._seen}
            # A run knows sizes that inference cannot; those that follow the data it must not freeze.
            if fixed and len(found) == 1:
                _declare(value, [*found.pop()])
                continue
            unknown = [f"{value.name}_{axis}" for axis in range(len(found.pop()))]
            declared = dims[value.name] or unknown
            _declare(value, declared if self._batch is None else [self._batch, *declared[1:]])
        return model, []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Every output says how many dims it has."""
        bare = [v.name for v in model.graph.output if shape_of(v) is None]
        return f"the outputs {bare} have no shape" if bare else None


class Header(Pass):
    """Metadata and names of the original; only the domains used, and the oldest IR version that fits."""

    name = "header"
    indispensable = True

    def __init__(self, original: onnx.ModelProto) -> None:
        self._original = original

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Restore what converters and onnxruntime wrote over."""
        used = domains(model) | {""}
        opsets = {
            ("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import
        }
        del model.opset_import[:]
        model.opset_import.extend(
            helper.make_opsetid(d, v) for d, v in sorted(opsets.items()) if d in used
        )
        original = self._original
        del model.metadata_props[:]
        model.metadata_props.extend(original.metadata_props)
        model.graph.name = original.graph.name or "graph"
        model.doc_string = original.doc_string
        model.producer_name = original.producer_name
        model.producer_version = original.producer_version
        # Old TensorRT parsers refuse a newer IR than they know, though nothing in it is used.
        needed = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
        model.ir_version = max(8, needed)
        return model, []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Every domain that is used is declared."""
        missing = domains(model) - {o.domain for o in model.opset_import}
        return f"the domains {sorted(missing)} are not declared" if missing else None


def _sizes_follow_data(graph: onnx.GraphProto) -> bool:
    """Whether the values in an input may decide how large some tensor is."""
    data = {v.name for v in graph.input}
    for node in graph.node:
        if node.op_type in _DATA_DEPENDENT:
            return True
        places = _SIZES.get(node.op_type, ())
        if data.intersection(name for i, name in enumerate(node.input) if i in places):
            return True
        if node.op_type not in ("Shape", "Size") and data.intersection(node.input):
            data.update(name for name in node.output if name)
    return False


def _declare(value: onnx.ValueInfoProto, dims: Sequence[int | str]) -> None:
    elem_type = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, elem_type, list(dims)))
