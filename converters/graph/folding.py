"""Compute once what does not depend on the inputs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnxruntime as ort

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.index import bodies, domains, nodes_in
from edgevision.converters.graph.limits import limited
from edgevision.converters.graph.passes import Pass, PassError

__all__ = ["Folding"]

# How onnxruntime calls the copy of a tensor for a node that has no float16 kernel on a CPU.
_HALF_COPY = "InsertedPrecisionFreeCast_"


class Folding(Pass):
    """onnxruntime's BASIC level, whose result is standard ONNX: constants are folded, Constant nodes become
    initializers, Identity and Dropout inside go, batch norms and pads are merged.

    What it also writes, Casts around the float16 nodes that it computes in float32, is taken out again: on other
    engines they would stay in float32.
    """

    name = "constant folding"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Let onnxruntime write what it would run."""
        before = len(model.graph.node)
        folded = _optimized(model)
        _drop_half_copies(folded.graph)
        if _casts(folded) > _casts(model):
            raise PassError("onnxruntime would write Casts around float16 nodes")
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


def _drop_half_copies(graph: onnx.GraphProto) -> None:
    """Lets all nodes, those of bodies too, read and give the tensors themselves; Casts between them go."""
    kept = []
    for node in graph.node:
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                names[position] = name.removeprefix(_HALF_COPY)
        for body in bodies(node):
            _drop_half_copies(body)
        if node.op_type != "Cast" or node.input[0] != node.output[0]:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)
    types = [v for v in graph.value_info if not v.name.startswith(_HALF_COPY)]
    del graph.value_info[:]
    graph.value_info.extend(types)


def _casts(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Cast" for node in nodes_in(model.graph))


def _optimized(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4  # see execute.open_session
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            with limited("load", lambda: options.set_load_cancellation_flag(True)):
                ort.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise PassError(plain_message(exc)) from exc
        return onnx.load(str(target))
