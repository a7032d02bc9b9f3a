"""Measures what INT8 needs to know of a graph, on calibration frames: ranges, and weights rounded by second moments."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.histograms import Histogram, histograms
from edgevision.converters.int8.layer import Layer
from edgevision.converters.int8.moments import Moments, batches, gather, measurable
from edgevision.converters.int8.params import channel_scales, unfit
from edgevision.converters.int8.plan import make_plan
from edgevision.converters.int8.planned import Plan
from edgevision.converters.int8.range_methods import TUNED
from edgevision.converters.int8.ranges import Feeds, TensorRange, collect
from edgevision.converters.int8.read_back import refuse_quantized
from edgevision.converters.int8.rounding import bias_shift, round_nearest, round_with_moments
from edgevision.converters.int8.schemes import LAYER_OPS, SCHEMES, Scheme
from edgevision.converters.int8.write import IntegerLayer
from edgevision.errors import ModelError, UsageError
from edgevision.progress import Tell, silent

__all__ = [
    "Calibration",
    "calibrate",
    "check_choice",
    "integers_of",
    "plan_for",
    "with_histograms",
]


@dataclass(frozen=True)
class Calibration:
    """What was measured on the calibration frames; enough for every recipe of one scheme.

    Attributes:
        scheme: The scheme that it was measured for.
        exclude: Nodes that were to stay float.
        ranges: Tensor name → its extremes.
        histograms: Tensor name → what lies between them; empty until `with_histograms`.
        harm: Range method → tensor → the noise at the outputs that its integers make alone, see `tensor_harm`;
            empty until somebody measured it.
        rounded: Layer name → weights rounded with second moments, bias corrected; empty if not
            asked for. They do not depend on the ranges, so the moments need not be kept.
        warnings: What rounding met, as sentences.
    """

    scheme: str
    exclude: tuple[str, ...]
    ranges: Mapping[str, TensorRange]
    rounded: Mapping[str, IntegerLayer]
    warnings: tuple[str, ...] = ()
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    harm: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """How many there were."""
        return _frames(self.ranges)

    def method_for(self, tensor: str, ranges: str) -> str:
        """The plain range method that a tensor gets where the recipe says ``ranges``."""
        if ranges != TUNED:
            return ranges
        return min(self.harm, key=lambda method: self.harm[method].get(tensor, 0.0))


def calibrate(
    model: onnx.ModelProto,
    feeds: Feeds,
    *,
    scheme: str,
    rounding: bool = True,
    exclude: Collection[str] = (),
    progress: Tell = silent,
) -> Calibration:
    """Measure everything that the recipes of one scheme need, once.

    Args:
        model: From `clean`; not changed.
        feeds: Gives the frames anew at every call: once for the ranges, and a few times for
            ``rounding``.
        scheme: One of `schemes.SCHEMES`.
        rounding: Also round weights with second moments and correct biases.
        exclude: Names of nodes to keep in float.
        progress: Told the stage, how far it is, and of how much.

    Raises:
        UsageError: Unknown scheme.
        ModelError: The model is quantized already, or has no layer that could be INT8.
        DataError: There were no frames.
    """
    check_choice("scheme", scheme, tuple(SCHEMES))
    refuse_quantized(model)
    ranges = collect(model, plan_for(model, scheme, exclude).tensors, feeds, progress=progress)
    plan = plan_for(model, scheme, exclude, ranges)
    rounded, warnings = _rounded(model, plan, ranges, feeds, progress) if rounding else ({}, [])
    return Calibration(scheme, tuple(sorted(exclude)), ranges, rounded, tuple(warnings))


def with_histograms(
    model: onnx.ModelProto, measured: Calibration, feeds: Feeds, *, progress: Tell = silent
) -> Calibration:
    """What was measured, and histograms for the methods that need them: one more pass."""
    found = histograms(
        model, measured.ranges, feeds, frames=_frames(measured.ranges), progress=progress
    )
    return replace(measured, histograms=found)


def plan_for(
    model: onnx.ModelProto,
    scheme: str,
    exclude: Collection[str],
    ranges: Mapping[str, TensorRange] | None = None,
) -> Plan:
    """What becomes INT8; with ``ranges``, without the tensors that these give no scale for."""
    barred: dict[str, str] = {}
    while True:
        plan = make_plan(model, SCHEMES[scheme], exclude=exclude, barred=barred)
        if not plan.layers:
            raise _nothing_left(model, plan)
        found = {} if ranges is None else unfit(model, plan, ranges)
        if not found:
            return plan
        barred |= found


def _nothing_left(model: onnx.ModelProto, plan: Plan) -> ModelError:
    layers = [n.name for n in model.graph.node if n.op_type in LAYER_OPS]
    reasons = sorted({plan.kept_float[name] for name in layers})
    half = any("float16" in reason for reason in reasons)
    return ModelError(
        "nothing in this model can be quantized",
        received="; ".join(reasons) or "no Conv, Gemm or MatMul with constant weights",
        expected="at least one layer with constant float32 weights",
        hint=("export the model in float32; or " if half else "")
        + "leave out --precision and --calibration to convert it without int8",
    )


def _rounded(
    model: onnx.ModelProto,
    plan: Plan,
    ranges: Mapping[str, TensorRange],
    feeds: Feeds,
    progress: Tell,
) -> tuple[dict[str, IntegerLayer], list[str]]:
    """Round a batch of layers at a time, so that only its moments are in memory; and warnings."""
    index = GraphIndex(model.graph)
    layers = [layer for layer in plan.layers if measurable(model, layer)]
    rounded: dict[str, IntegerLayer] = {}
    warnings = []
    for batch in batches(model, layers):
        moments = gather(model, batch, feeds, frames=_frames(ranges), progress=progress)
        for layer in batch:
            found = moments.pop(layer.node)
            if not found.finite:
                warnings.append(
                    f"layer {layer.node!r} reads values too large for second moments: "
                    "its weights were rounded to nearest"
                )
            usable = found if found.finite else None
            rounded[layer.node] = integers_of(layer, index, plan.scheme, usable)
            progress("rounding", len(rounded), len(layers))
    return rounded, warnings


def _frames(ranges: Mapping[str, TensorRange]) -> int:
    return max(r.frames + r.non_finite for r in ranges.values())


def integers_of(
    layer: Layer, index: GraphIndex, scheme: Scheme, moments: Moments | None
) -> IntegerLayer:
    """A layer's weights as integers and its bias, corrected; without moments rounded to nearest, bias as it is."""
    weights = index.array(layer.weights)
    assert weights is not None  # the plan takes constant weights only
    scales, limit = channel_scales(weights, layer.axis, scheme), scheme.weight_limit
    bias = index.array(layer.bias) if layer.bias else None
    if moments is None:
        return IntegerLayer(round_nearest(weights, scales, layer.axis, limit), scales, bias)
    integers = round_with_moments(weights, scales, layer.axis, moments, limit)
    if layer.op == "MatMul":  # has no bias to correct
        return IntegerLayer(integers, scales, None)
    shift = bias_shift(weights, integers, scales, layer.axis, moments)
    corrected = (0.0 if bias is None else bias.astype(np.float64)) + shift
    result: NDArray[np.float32] = corrected.astype(np.float32)
    return IntegerLayer(integers, scales, result)


def check_choice(what: str, value: str, known: tuple[str, ...]) -> None:
    """Refuses what is not known.

    Raises:
        UsageError: It is not.
    """
    if value not in known:
        raise UsageError(
            f"unknown {what} {value!r}", received=value, expected="one of " + ", ".join(known)
        )
