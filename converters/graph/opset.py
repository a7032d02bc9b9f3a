"""Raise the version of the standard operators."""

from __future__ import annotations

import onnx
from onnx import version_converter

from edgevision.converters.graph.index import domains, opset_of
from edgevision.converters.graph.passes import Pass, PassError
from edgevision.errors import ModelError

__all__ = ["Opset"]

# Per-channel QuantizeLinear/DequantizeLinear exist from opset 13 on.
_LOWEST_OPSET = 13


class Opset(Pass):
    """The version of the ``ai.onnx`` operators is at least ``minimum``; below 13 there is no doing without."""

    name = "opset"

    def __init__(self, model: onnx.ModelProto, minimum: int) -> None:
        self._before, self._minimum = opset_of(model), minimum
        self.indispensable = self._before < min(_LOWEST_OPSET, minimum)

    def obstacle(self, model: onnx.ModelProto) -> str | None:
        """It is new enough."""
        found = opset_of(model)
        return f"the opset is {found}" if found >= self._minimum else None

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Convert every operator with onnx's own converter."""
        # It knows the ai.onnx domain only, and fails on leftovers of other domains.
        standard = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
        if domains(model) == {""}:
            del model.opset_import[:]
            model.opset_import.extend(standard)
        try:
            raised = version_converter.convert_version(model, self._minimum)
        except (RuntimeError, version_converter.ConvertError) as exc:
            first = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
            raise PassError(first) from exc
        return raised, [f"raised the opset from {self._before} to {self._minimum}"]

    def broken(self, model: onnx.ModelProto) -> str | None:
        """The version asked for is reached."""
        found = opset_of(model)
        return f"the opset is still {found}" if found < self._minimum else None

    def undone(self, reason: str) -> str:
        """The old operators do as well."""
        return f"kept opset {self._before}: raising it to {self._minimum} failed ({reason})"

    def error(self, reason: str) -> ModelError:
        """Too old for what is to be done with it."""
        return ModelError(
            f"the model's opset {self._before} cannot be raised to {self._minimum}",
            received=reason,
            expected=f"opset {_LOWEST_OPSET} or newer",
            hint=f"export the model again with opset {self._minimum}",
        )
