"""Static INT8 as explicit QuantizeLinear/DequantizeLinear, from a cleaned model and its frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph import GraphIndex
from edgevision.converters.int8_read_back import read_back, refuse_quantized
from edgevision.converters.moments import Moments, batches, gather, measurable
from edgevision.converters.quant_params import activation_quantizers, channel_scales
from edgevision.converters.quant_plan import Layer, Plan, make_plan
from edgevision.converters.quant_schemes import SCHEMES
from edgevision.converters.quant_write import IntegerLayer, write
from edgevision.converters.ranges import Feeds, Progress, TensorRange, collect, silent
from edgevision.converters.rounding import bias_shift, round_nearest, round_with_moments
from edgevision.errors import ModelError, UsageError

__all__ = [
    "Calibration",
    "Quantized",
    "calibrate",
    "quantize",
    "quantize_calibrated",
    "read_back",
    "refuse_quantized",
]


@dataclass(frozen=True)
class Calibration:
    """What was measured on the calibration frames; enough for every recipe of one scheme.

    Attributes:
        scheme: The scheme that it was measured for.
        exclude: Nodes that were to stay float.
        ranges: Tensor name → its range.
        rounded: Layer name → weights rounded with second moments, bias corrected; empty if not
            asked for. They do not depend on the ranges, so the moments need not be kept.
    """

    scheme: str
    exclude: tuple[str, ...]
    ranges: Mapping[str, TensorRange]
    rounded: Mapping[str, IntegerLayer]


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and what became of each node.

    Attributes:
        model: Standard ONNX with explicit Q/DQ.
        report: ``scheme``, ``ranges``, ``rounding``, ``frames``; ``int8`` (node names),
            ``float`` (node name → reason), ``warnings`` (sentences).
    """

    model: onnx.ModelProto
    report: dict[str, Any] = field(default_factory=dict)


def quantize(
    model: onnx.ModelProto,
    feeds: Feeds,
    *,
    scheme: str,
    ranges: str = "minmax",
    rounding: bool = True,
    exclude: Collection[str] = (),
    progress: Progress = silent,
) -> Quantized:
    """Quantize a cleaned model on calibration frames.

    Args:
        model: From `clean`; not changed.
        feeds: Gives the frames anew at every call: once for the ranges, and a few times for
            ``rounding``.
        scheme: ``x86`` (uint8 activations, int32 bias) or ``trt`` (symmetric int8, float bias).
        ranges: ``minmax``, or ``mean`` of the frames' extremes.
        rounding: Round weights with second moments and correct biases; else to nearest.
        exclude: Names of nodes to keep in float.
        progress: Told the stage, how far it is, and of how much.

    Raises:
        UsageError: Unknown scheme or range method.
        ModelError: The model is quantized already, or has no layer that could be INT8.
        DataError: There were no frames.
    """
    _check_choice("ranges", ranges, ("minmax", "mean"))
    measured = calibrate(
        model, feeds, scheme=scheme, rounding=rounding, exclude=exclude, progress=progress
    )
    return quantize_calibrated(model, measured, ranges=ranges, rounding=rounding)


def calibrate(
    model: onnx.ModelProto,
    feeds: Feeds,
    *,
    scheme: str,
    rounding: bool = True,
    exclude: Collection[str] = (),
    progress: Progress = silent,
) -> Calibration:
    """Measure everything that the recipes of one scheme need, once; see `quantize`."""
    _check_choice("scheme", scheme, tuple(SCHEMES))
    refuse_quantized(model)
    plan = _plan(model, scheme, exclude)
    ranges = collect(model, plan.tensors, feeds, progress=progress)
    rounded = _rounded(model, plan, ranges, feeds, progress) if rounding else {}
    return Calibration(scheme, tuple(sorted(exclude)), ranges, rounded)


def quantize_calibrated(
    model: onnx.ModelProto,
    measured: Calibration,
    *,
    ranges: str,
    rounding: bool,
) -> Quantized:
    """Write one recipe from what `calibrate` measured; no frame is run."""
    _check_choice("ranges", ranges, ("minmax", "mean"))
    plan = _plan(model, measured.scheme, measured.exclude)
    quantizers, warnings = activation_quantizers(model, plan, measured.ranges, ranges)
    index = GraphIndex(model.graph)
    layers = {
        layer.node: (measured.rounded.get(layer.node) if rounding else None)
        or _integers(layer, index, None)
        for layer in plan.layers
    }
    result = write(model, plan, quantizers, layers)
    counts = read_back(result, measured.scheme)
    if counts["layers"] != len(plan.layers):
        raise ModelError(
            "the written graph is not what was planned",
            received=f"{counts['layers']} INT8 layers",
            expected=f"{len(plan.layers)}",
            hint="this is a fault in edgevision: please report it with the model",
        )
    report = {
        "scheme": measured.scheme,
        "ranges": ranges,
        "rounding": rounding,
        "frames": max(r.frames + r.non_finite for r in measured.ranges.values()),
        "int8": sorted({layer.node for layer in plan.layers} | plan.others | set(plan.absorbed)),
        "float": dict(sorted(plan.kept_float.items())),
        "warnings": warnings,
    }
    return Quantized(result, report)


def _plan(model: onnx.ModelProto, scheme: str, exclude: Collection[str]) -> Plan:
    plan = make_plan(model, SCHEMES[scheme], exclude=exclude)
    if not plan.layers:
        reasons = sorted(set(plan.kept_float.values()))
        raise ModelError(
            "nothing in this model can be quantized",
            received="; ".join(reasons) or "no Conv, Gemm or MatMul with constant weights",
            expected="at least one layer with constant float32 weights",
            hint="convert it with --precision fp32 or fp16",
        )
    return plan


def _rounded(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, TensorRange],
    feeds: Feeds,
    progress: Progress,
) -> dict[str, IntegerLayer]:
    """Round a batch of layers at a time, so that only its moments are in memory."""
    index = GraphIndex(model.graph)
    frames = max(r.frames + r.non_finite for r in ranges.values())
    layers = [layer for layer in plan.layers if measurable(model, layer)]
    rounded: dict[str, IntegerLayer] = {}
    for batch in batches(model, layers):
        moments = gather(model, batch, feeds, frames=frames, progress=progress)
        for layer in batch:
            rounded[layer.node] = _integers(layer, index, moments.pop(layer.node))
            progress("rounding", len(rounded), len(layers))
    return rounded


def _integers(layer: Layer, index: GraphIndex, moments: Moments | None) -> IntegerLayer:
    weights = index.array(layer.weights)
    assert weights is not None  # the plan takes constant weights only
    scales = channel_scales(weights, layer.axis)
    bias = index.array(layer.bias) if layer.bias else None
    if moments is None:
        return IntegerLayer(round_nearest(weights, scales, layer.axis), scales, bias)
    integers = round_with_moments(weights, scales, layer.axis, moments)
    if layer.op == "MatMul":  # has no bias to correct
        return IntegerLayer(integers, scales, None)
    shift = bias_shift(weights, integers, scales, layer.axis, moments)
    corrected = (0.0 if bias is None else bias.astype(np.float64)) + shift
    result: NDArray[np.float32] = corrected.astype(np.float32)
    return IntegerLayer(integers, scales, result)


def _check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"unknown {what} {value!r}", received=value, expected="one of " + ", ".join(known)
        )
