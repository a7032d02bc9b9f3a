"""Tensors in the middle of a graph, for where its outputs say nothing: a detector finds nothing in noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision.converters.graph.index import elem_types

__all__ = ["picked_from", "says_nothing", "tapped"]

# Operators that pick, compare or count by the values of what they read: little of those is left behind them.
_PICKERS = frozenset(
    {
        "ArgMax", "ArgMin", "Compress", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
        "NonMaxSuppression", "NonZero", "TopK",
    }
)  # fmt: skip
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def says_nothing(runs: Sequence[Mapping[str, NDArray[Any]]]) -> bool:
    """Whether some output is empty, or one and the same number, in all runs: then it proves nothing.

    Args:
        runs: The outputs of each, by name.
    """
    for name in runs[0]:
        found = [run[name] for run in runs if run[name].size]
        if len({float(extreme) for array in found for extreme in (array.min(), array.max())}) <= 1:
            return True
    return False


def picked_from(model: onnx.ModelProto) -> set[str]:
    """Floating point tensors of the main graph, no constants, that an operator picks from."""
    types = elem_types(model)
    constants = {t.name for t in model.graph.initializer}
    read = {n for node in model.graph.node if node.op_type in _PICKERS for n in node.input}
    return {name for name in read - constants if types.get(name) in _FLOATS}


def tapped(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that gives these tensors too, behind its own outputs; their types must be inferable."""
    types = elem_types(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    given = {value.name for value in [*copy.graph.output, *copy.graph.input]}
    copy.graph.output.extend(
        helper.make_tensor_value_info(name, types[name], None)
        for name in tensors
        if name not in given
    )
    return copy
