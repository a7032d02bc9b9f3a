"""Models for the emulated GPU: a real one with its spec in its metadata, and small ones with YOLOv8's layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgevision import presets
from edgevision.metadata import KEY, variant_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

__all__ = ["bright", "shown", "squares", "with_spec"]

_NAMES = "{0: 'red', 1: 'green', 2: 'blue'}"


def with_spec(source: Path, target: Path, preset: str, labels: Sequence[str]) -> Path:
    """A copy of a model that carries a preset's spec."""
    told = presets.load(preset)
    spec = ModelSpec(
        told["task"],
        InputSpec.from_dict(told["input"]),
        OutputSpec.from_dict(told["output"]),
        tuple(labels),
    )
    model = onnx.load(source)
    helper.set_model_props(model, {KEY: variant_metadata("fp32", "fp32", spec)})
    onnx.save(model, target)
    return target


def squares(path: Path, *, side: int | None = 64, rows: int = 1) -> Path:
    """Finds coloured squares of 16×16 pixels on a grid of 8: the score is how pure the colour is.

    Args:
        path: To write.
        side: Of the input; None takes any multiple of 32.
        rows: Of the batch.
    """
    opposed = np.array([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], np.float32)
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "opposed"], ["mixed"]),
        node("Relu", ["mixed"], ["purity"]),
        node("AveragePool", ["purity"], ["scores"], kernel_shape=[16, 16], strides=[8, 8]),
        node("Slice", ["scores", "zero", "one", "one"], ["first"]),
        node("Sub", ["first", "first"], ["nothing"]),
        node("Add", ["nothing", "eight"], ["step"]),
        node("CumSum", ["step", "x_axis"], ["x"]),
        node("CumSum", ["step", "y_axis"], ["y"]),
        node("Add", ["step", "eight"], ["side"]),
        node("Concat", ["x", "y", "side", "side", "scores"], ["grid"], axis=1),
        node("Reshape", ["grid", "shape"], ["output0"]),
    ]
    sides: list[Any] = [side, side] if side else ["height", "width"]
    anchors = (side // 8 - 1) ** 2 if side else "anchors"
    constants = {
        "opposed": opposed.reshape(3, 3, 1, 1),
        "zero": np.array([0]),
        "one": np.array([1]),
        "eight": np.float32(8),
        "x_axis": np.int64(3),
        "y_axis": np.int64(2),
        "shape": np.array([0, 7, -1]),
    }
    told = {"task": "detect", "names": _NAMES, "stride": "8"}
    if side:
        told["imgsz"] = str([side, side])
    return _save(
        path,
        nodes,
        [("images", TensorProto.FLOAT, [rows, 3, *sides])],
        [("output0", TensorProto.FLOAT, [rows, 7, anchors])],
        constants,
        told,
    )


def bright(path: Path) -> Path:
    """Where an 8×8 picture is brighter than 100: int64 ``(4, N)``, a size that depends on the data."""
    node = helper.make_node
    spec = InputSpec((8, 8), resize="stretch", scale=1.0)
    classes = OutputSpec("softmax", {"activation": "none"})
    own = variant_metadata("fp32", "fp32", ModelSpec("classify", spec, classes, ("r", "g", "b")))
    return _save(
        path,
        [
            node("Greater", ["image", "limit"], ["bright"]),
            node("NonZero", ["bright"], ["places"]),
            node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0),
        ],
        [("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [("places", TensorProto.INT64, [4, "found"]), ("scores", TensorProto.FLOAT, [1, 3])],
        {"limit": np.float32(100)},
        {KEY: own},
    )


def shown(path: Path, *, roi: bool = False, reshaped: bool = False) -> Path:
    """Classifies a picture of 64×64 by its mean colour: by way of RoiAlign, or of a shape that is an input."""
    node = helper.make_node
    spec = InputSpec((64, 64), resize="stretch")
    classes = OutputSpec("softmax", {"activation": "none"})
    own = variant_metadata("fp32", "fp32", ModelSpec("classify", spec, classes, ("r", "g", "b")))
    inputs = [("image", TensorProto.FLOAT, [1, 3, 64, 64])]
    if reshaped:
        inputs.append(("shape", TensorProto.INT64, [4]))
    first = "RoiAlign" if roi else "Reshape" if reshaped else "Identity"
    more = {"RoiAlign": ["whole", "zeros"], "Reshape": ["shape"], "Identity": []}[first]
    return _save(
        path,
        [
            node(first, ["image", *more], ["seen"]),
            node("ReduceMean", ["seen"], ["scores"], axes=[2, 3], keepdims=0),
        ],
        inputs,
        [("scores", TensorProto.FLOAT, [1, 3])],
        {"whole": np.array([[0, 0, 64, 64]], np.float32), "zeros": np.array([0])} if roi else {},
        {KEY: own},
    )


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, list[Any]]],
    outputs: Sequence[tuple[str, int, list[Any]]],
    constants: dict[str, Any],
    metadata: dict[str, str],
) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path
