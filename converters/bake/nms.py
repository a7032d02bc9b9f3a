"""Bakes what a detector's decoder does into its graph, which then gives final boxes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edgevision import registry
from edgevision.converters.bake.builder import Builder, replace_nodes
from edgevision.converters.bake.heads import Candidates, Head
from edgevision.converters.bake.nanodet import nanodet
from edgevision.converters.bake.ssd import ssd
from edgevision.converters.bake.suppression import Limits, suppress
from edgevision.converters.bake.yolo import yolov5, yolov8, yolox
from edgevision.converters.graph.index import shape_of
from edgevision.converters.graph.pruning import prune
from edgevision.decoders._nms import MAX_CANDIDATES
from edgevision.decoders._params import class_mask
from edgevision.errors import UsageError
from edgevision.geometry import Transform
from edgevision.metrics.agreement import THRESHOLDS
from edgevision.spec import ModelSpec, OutputSpec

__all__ = ["HEADS", "BakedNms", "bake_nms", "check_family"]

#: Decoder → what makes candidates of its outputs.
HEADS: Mapping[str, Callable[[Head], Candidates]] = {
    "nanodet": nanodet,
    "ssd": ssd,
    "yolov5": yolov5,
    "yolov8": yolov8,
    "yolox": yolox,
}
_DECODER = "end2end"


@dataclass(frozen=True)
class BakedNms:
    """A detector that gives final boxes.

    Attributes:
        model: The copy that was rewritten.
        spec: Its spec, with the decoder of final boxes.
        changes: Sentences for people.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    changes: list[str] = field(default_factory=list)


def check_family(spec: ModelSpec) -> None:
    """What can be known to be wrong before any work.

    Raises:
        UsageError: It is no detector, or none whose decoder suppresses as NonMaxSuppression does.
    """
    if spec.task != "detect":
        raise UsageError(
            f"there is no NMS to bake for the task {spec.task!r}",
            expected="--bake nms with a model that detects",
        )
    if spec.output.decoder not in HEADS:
        final = spec.output.decoder == _DECODER
        raise UsageError(
            f"the NMS of decoder {spec.output.decoder!r} cannot be baked",
            received="a model that gives final boxes already" if final else "",
            expected="one of: " + ", ".join(HEADS),
            hint="leave out --bake nms: 'edgevision run' does it on the processor",
        )


def bake_nms(model: onnx.ModelProto, spec: ModelSpec) -> BakedNms:
    """Appends candidates, boxes and class-wise NMS, with the decoder's own parameters.

    The least score in the graph is that of the proof (0.25) where the decoder's is higher, so that
    recipes can still be compared at it; the decoder of final boxes applies its own. What is below never
    suppresses what is above, so this changes no detection.

    Args:
        model: Cleaned, for pictures of one size, one at a time; not changed.
        spec: How it is run.

    Raises:
        UsageError: The decoder cannot be baked, the size is open, or there are several rows.
        SpecError: The outputs are not what the decoder reads.
    """
    check_family(spec)
    hw = _check_input(model, spec)
    outputs = _zeros(model)
    params = _params(spec, outputs, hw)
    work = onnx.ModelProto()
    work.CopyFrom(model)
    builder = Builder(work, "nms")
    score, most = float(params["score"]), int(params["max_detections"])
    wanted = class_mask(params["classes"], spec.labels)
    head = Head(builder, outputs, params, spec.labels, wanted, hw, MAX_CANDIDATES)
    limits = Limits(
        min(score, *THRESHOLDS), float(params["iou"]), most, bool(params["class_agnostic"])
    )
    name, count = suppress(builder, HEADS[spec.output.decoder](head), limits)
    replace_nodes(work.graph, [*work.graph.node, *builder.nodes])
    del work.graph.output[:]
    work.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 6]))
    prune(work, [])
    del work.graph.value_info[:]
    work = onnx.shape_inference.infer_shapes(work, data_prop=True)
    baked = OutputSpec(
        _DECODER, {"score": score, "max_detections": most}, (*spec.output.baked, "nms")
    )
    told = (
        f"baked the decoder {spec.output.decoder} and its NMS: scores from {limits.score:g}, IoU {limits.iou:g}, "
        f"the best {count}"
    )
    return BakedNms(work, replace(spec, output=baked), [told])


def _check_input(model: onnx.ModelProto, spec: ModelSpec) -> tuple[int, int]:
    """Height and width of the picture input."""
    name = spec.input.tensor
    shape = next((shape_of(v) for v in model.graph.input if v.name == name), None) or []
    height, width = (shape[2:4] if spec.input.layout == "nchw" else shape[1:3]) or ["", ""]
    if not (isinstance(height, int) and isinstance(width, int)):
        raise UsageError(
            "NMS can be baked for one size of the input only",
            received=f"{name} {'×'.join(map(str, shape))}",
            expected="a fixed height and width",
            hint="--size HxW, such as --size 640x640",
        )
    if shape[0] != 1:
        raise UsageError(
            "NMS can be baked for one picture at a time only",
            received=f"{shape[0]} rows",
            expected="one row",
            hint="leave out --batch, or --bake nms",
        )
    return height, width


def _zeros(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Arrays in the shapes of the outputs, from which the decoder's own code finds its tensors."""
    arrays: dict[str, NDArray[Any]] = {}
    for value in model.graph.output:
        shape = shape_of(value) or []
        kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        if shape and all(isinstance(d, int) and d > 0 for d in shape):
            arrays[value.name] = np.zeros([int(d) for d in shape], kind)
    return arrays


def _params(
    spec: ModelSpec, outputs: Mapping[str, NDArray[Any]], hw: tuple[int, int]
) -> dict[str, Any]:
    """All parameters of the decoder, which has read the zeros and so checked everything."""
    decoder = registry.load("decoders", spec.output.decoder)
    decoder(labels=spec.labels, **spec.output.params).decode(outputs, 0, Transform.identity(*hw))
    signature = inspect.signature(decoder).parameters
    defaults = {n: p.default for n, p in signature.items() if p.kind is p.KEYWORD_ONLY}
    return {**defaults, **spec.output.params}
