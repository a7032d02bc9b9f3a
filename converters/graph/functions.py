"""Functions that a model brings along, written out where they are called."""

from __future__ import annotations

import onnx
from onnx import inliner

from edgevision.converters.graph.passes import Pass
from edgevision.text import counted

__all__ = ["FUNCTIONS"]


class _Functions(Pass):
    """No function is left: passes look at the nodes of the graph, and onnx's opset converter drops functions."""

    name = "functions"

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """It has none."""
        return None if model.functions else "the model has no functions of its own"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Let onnx copy their nodes, in the model's opset."""
        told = f"wrote out {counted(len(model.functions), 'function')} of the model's own"
        return inliner.inline_local_functions(model, convert_version=True), [told]

    def broken(self, model: onnx.ModelProto) -> str | None:
        """None is left."""
        names = sorted(f.name for f in model.functions)
        return f"the functions {names} are left" if names else None


FUNCTIONS = _Functions()
