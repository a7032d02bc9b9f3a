"""Proves on pictures that a baked model gives what it gave before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision import registry
from edgevision.converters.bake.input import BakedInput
from edgevision.converters.bake.nms import BakedNms
from edgevision.converters.graph.execute import difference, run_once
from edgevision.converters.graph.index import elem_types
from edgevision.converters.graph.taps import tapped
from edgevision.converters.pictures import picture_feeds
from edgevision.decoders import Decoder
from edgevision.errors import ModelError
from edgevision.frame import Image
from edgevision.geometry import Transform
from edgevision.metrics.agreement import THRESHOLDS, DetectionAgreement
from edgevision.preprocess import tensor_size
from edgevision.results import Detections
from edgevision.spec import InputSpec, ModelSpec

__all__ = ["prove_input", "prove_nms"]

#: Of what is largest in a channel, where the normalization ends: what rounding in float32 leaves there.
_TOLERANCE = 1e-4
#: The same in float16, whose own steps are 5e-4.
_HALF_TOLERANCE = 5e-3
#: At the outputs, as in `clean`.
_OUTPUT_TOLERANCE = 1e-3
#: Of the detections: two boxes may overlap by just the IoU that the graph rounds to the other side of.
_SAME_DETECTIONS = 0.95
#: Behind these a rounding error may change which of two equals is taken, and so everything.
_JUMPS = {"ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Round", "TopK", "Where", "Greater", "Less"}  # fmt: skip


def prove_input(
    model: onnx.ModelProto, spec: InputSpec, baked: BakedInput, pictures: Sequence[Image]
) -> str:
    """Runs both models on the same pictures, each loaded by its own input spec.

    Compared are the tensors in which the normalization ends, behind which the two are the same node by
    node, and the outputs.

    Args:
        model: Before.
        spec: Its input spec.
        baked: After.
        pictures: uint8 ``(H, W, 3)`` BGR.

    Returns:
        What was found, as a sentence.

    Raises:
        ModelError: They differ.
    """
    outputs = [value.name for value in model.graph.output]
    before, after = (
        tapped(model, baked.same),
        tapped(baked.model, baked.same.values()),
    )
    inner = outer = 0.0
    for image in pictures:
        old = _run(before, spec, image)
        new = _run(after, baked.spec, image)
        for name, now in baked.same.items():
            gap = difference({name: old[name]}, {name: new[now]})
            tolerance = _HALF_TOLERANCE if old[name].dtype == np.float16 else _TOLERANCE
            if not gap <= tolerance:
                raise _differs(f"tensor {name!r}", gap, tolerance)
            inner = max(inner, gap)
        outer = max(outer, difference({n: old[n] for n in outputs}, new))
    half = any(t == TensorProto.FLOAT16 for t in elem_types(model).values())
    smooth = not half and not any(node.op_type in _JUMPS for node in model.graph.node)
    if smooth and not outer <= _OUTPUT_TOLERANCE:
        raise _differs("an output", outer, _OUTPUT_TOLERANCE)
    return (
        f"on {len(pictures)} pictures the baked input gives the same: {inner:.1g} apart behind it, "
        f"{outer:.1g} at the outputs, of what is largest in the channel"
    )


def prove_nms(
    model: onnx.ModelProto, spec: ModelSpec, baked: BakedNms, pictures: Sequence[Image]
) -> str:
    """Decodes the outputs of both models for the same pictures.

    Args:
        model: Before.
        spec: How it is run.
        baked: After.
        pictures: uint8 ``(H, W, 3)`` BGR.

    Returns:
        What was found, as a sentence.

    Raises:
        ModelError: The detections differ by more than a tie or two.
    """
    agreement = DetectionAgreement()
    ways = [(model, spec, _decoder(spec)), (baked.model, baked.spec, _decoder(baked.spec))]
    for image in pictures:
        transform = Transform.identity(*tensor_size(spec.input, *image.shape[:2]))
        ours, theirs = (
            decoder.decode(_run(graph, own.input, image), 0, transform)
            for graph, own, decoder in ways
        )
        assert isinstance(ours, Detections)  # `HEADS` has decoders of detectors only
        assert isinstance(theirs, Detections)
        agreement.add(ours, theirs)
    counts = agreement.counts[min(agreement.counts)]
    if not counts.reference + counts.candidate:
        return (
            f"on {len(pictures)} pictures the model detects nothing, with the baked NMS or without it, which proves "
            "little: pictures with objects in --golden or --calibration would prove it"
        )
    if counts.f1 < _SAME_DETECTIONS:
        raise ModelError(
            "baking the NMS changed what the model detects",
            received=f"{counts.matched} of {counts.reference} detections, and "
            f"{counts.candidate - counts.matched} others",
            expected=f"F1 of at least {_SAME_DETECTIONS}",
            hint="leave out --bake nms; this is a fault in edgevision: please report it with the model",
        )
    return (
        f"on {len(pictures)} pictures the baked NMS gives {counts.matched} of the decoder's "
        f"{counts.reference} detections, and {counts.candidate - counts.matched} others"
    )


def _decoder(spec: ModelSpec) -> Decoder:
    """Down to the lowest score that is in the graph."""
    params = {**spec.output.params, "score": min(THRESHOLDS)}
    decoder: Decoder = registry.load("decoders", spec.output.decoder)(labels=spec.labels, **params)
    return decoder


def _run(model: onnx.ModelProto, spec: InputSpec, image: Image) -> dict[str, NDArray[Any]]:
    """The input and all outputs for one picture."""
    feed = next(picture_feeds(model, spec, [image]))
    return {**feed, **run_once(model, feed)}


def _differs(what: str, found: float, tolerance: float) -> ModelError:
    return ModelError(
        "baking the input changed what the model computes",
        received=f"{what} differs by {found:.2g} of what is largest in its channel",
        expected=f"at most {tolerance:g}",
        hint="leave out --bake input; this is a fault in edgevision: please report it with the model",
    )
