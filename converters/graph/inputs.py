"""The inputs of a graph as they are asked for, and what was derived from other ones forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import helper

from edgevision.converters.graph.index import shape_of
from edgevision.converters.graph.passes import Pass
from edgevision.errors import UsageError
from edgevision.text import counted

__all__ = ["InitializersOffInputs", "InputShapes"]


class InitializersOffInputs(Pass):
    """Initializers leave the list of inputs: there they could be overridden, so nothing could be folded."""

    name = "initializers among the inputs"
    indispensable = True

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """No input is an initializer."""
        return None if _listed(model) else "no initializer is listed as an input"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Take them off the list."""
        listed = _listed(model)
        kept = [v for v in model.graph.input if v.name not in listed]
        dropped = len(model.graph.input) - len(kept)
        del model.graph.input[:]
        model.graph.input.extend(kept)
        # Before IR 4 every initializer had to be an input; the opset's converter holds us to it.
        model.ir_version = max(model.ir_version, 4)
        return model, [f"removed {counted(dropped, 'initializer')} from the graph inputs"]

    def broken(self, model: onnx.ModelProto) -> str | None:
        """None is left."""
        return "an initializer is still an input" if _listed(model) else None


class InputShapes(Pass):
    """Input shapes as asked. Declared output shapes and value_info may be stale, so they are cleared."""

    name = "input shapes"
    indispensable = True

    def __init__(self, shapes: Mapping[str, Sequence[int | str]]) -> None:
        self._shapes = shapes

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """An int fixes a dim, a text leaves it open under that name.

        Raises:
            UsageError: An input is not there, or has another number of dims.
        """
        inputs = {v.name: v for v in model.graph.input}
        changes = []
        for name, dims in self._shapes.items():
            before = _checked(inputs, name, dims)
            if before == list(dims):
                continue
            elem_type = inputs[name].type.tensor_type.elem_type
            inputs[name].CopyFrom(helper.make_tensor_value_info(name, elem_type, list(dims)))
            changes.append(f"set the shape of input {name!r} from {before} to {list(dims)}")
        del model.graph.value_info[:]
        for value in model.graph.output:
            value.type.tensor_type.ClearField("shape")
        return model, changes

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Every input has the shape asked for."""
        found = {v.name: shape_of(v) for v in model.graph.input}
        wrong = [n for n, dims in self._shapes.items() if found[n] != list(dims)]
        return f"the inputs {wrong} have other shapes" if wrong else None


def _listed(model: onnx.ModelProto) -> set[str]:
    return {t.name for t in model.graph.initializer} & {v.name for v in model.graph.input}


def _checked(
    inputs: Mapping[str, onnx.ValueInfoProto], name: str, dims: Sequence[int | str]
) -> list[int | str] | None:
    """The declared shape of an input, if the one asked for may take its place."""
    if name not in inputs:
        raise UsageError(
            f"the model has no input {name!r}",
            received=f"a shape for {name!r}",
            expected=f"one of {sorted(inputs)}",
        )
    before = shape_of(inputs[name])
    if before is not None and len(before) != len(dims):
        raise UsageError(
            f"the input {name!r} has {len(before)} dims",
            received=f"the shape {list(dims)}",
            expected=f"as many dims as {before}",
        )
    return before
