"""Compute once what does not depend on the inputs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.index import domains
from edgevision.converters.graph.passes import Pass, PassError

__all__ = ["Folding"]


class Folding(Pass):
    """onnxruntime's BASIC level, whose result is standard ONNX: constants are folded, Constant nodes become
    initializers, Identity and Dropout inside go, batch norms and pads are merged.
    """

    name = "constant folding"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Let onnxruntime write what it would run."""
        before = len(model.graph.node)
        folded = _optimized(model)
        added = domains(folded) - domains(model) - {""}
        if added:  # a future onnxruntime may fuse at this level; then the plain graph is kept
            raise PassError(f"folding needs operators of {sorted(added)}")
        after = len(folded.graph.node)
        sentence = f"folded constants: {before} nodes became {after}"
        return folded, [sentence] if after != before else []

    def broken(self, model: onnx.ModelProto) -> str | None:
        """Every constant tensor is an initializer."""
        nodes = (n for n in model.graph.node if n.op_type == "Constant")
        left = [n.output[0] for n in nodes if n.attribute[0].HasField("t")]
        return f"the constants {left} are left" if left else None

    def undone(self, reason: str) -> str:
        """Nothing else depends on it."""
        return f"left constants unfolded: {reason}"


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4  # see execute.open_session
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise PassError(plain_message(exc)) from exc
        return onnx.load(str(target))
