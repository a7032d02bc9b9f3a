"""Static INT8 as explicit QuantizeLinear/DequantizeLinear, from a cleaned model and its frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from edgevision.converters.graph.index import GraphIndex
from edgevision.converters.int8.calibrate import (
    Calibration,
    check_choice,
    integers_of,
    plan_for,
)
from edgevision.converters.int8.params import Quantizer, activation_quantizers
from edgevision.converters.int8.planned import Plan
from edgevision.converters.int8.range_methods import METHODS, TUNED, interval_of, needs_histogram
from edgevision.converters.int8.read_back import read_back
from edgevision.converters.int8.write import IntegerLayer, write
from edgevision.errors import ModelError, UsageError

__all__ = ["Parts", "Quantized", "parts_of", "quantize_calibrated"]

PUT_BACK = "put back to float: of all layers it cost the most accuracy"


@dataclass(frozen=True)
class Parts:
    """The numbers of one recipe.

    Attributes:
        plan: What becomes INT8.
        quantizers: Activation → its scale and zero point.
        layers: Layer → its integers.
        warnings: What was met, as sentences.
    """

    plan: Plan
    quantizers: Mapping[str, Quantizer]
    layers: Mapping[str, IntegerLayer]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and what became of each node.

    Attributes:
        model: Standard ONNX with explicit Q/DQ.
        report: ``scheme``, ``ranges``, ``rounding``, ``frames``; ``int8`` (names of the nodes
            that compute in int8), ``float`` (name of each other node → reason), ``warnings``
            (sentences). A Relu or Clip that became part of its layer's saturation is in neither.
    """

    model: onnx.ModelProto
    report: dict[str, Any] = field(default_factory=dict)


def parts_of(
    model: onnx.ModelProto,
    measured: Calibration,
    *,
    ranges: str,
    rounding: bool,
    exclude: Collection[str] = (),
) -> Parts:
    """What one recipe makes of a model, before it is written; arguments as for `quantize_calibrated`."""
    check_choice("ranges", ranges, tuple(METHODS))
    if needs_histogram(ranges) and not measured.histograms:
        raise UsageError(f"{ranges} needs histograms", hint="call with_histograms first")
    if ranges == TUNED and not measured.harm:
        raise UsageError(
            f"{ranges} needs to know the harm of tensors", hint="call tensor_harm first"
        )
    plan = plan_for(model, measured.scheme, {*measured.exclude, *exclude}, measured.ranges)
    fed = {value.name for value in model.graph.input}
    intervals = {
        name: interval_of(
            # A picture's values have bounds, and 255 even steps between them lose nothing.
            "minmax" if name in fed else measured.method_for(name, ranges),
            measured.ranges[name],
            measured.histograms.get(name),
            symmetric=not plan.scheme.asymmetric,
        )
        for name in plan.tensors
    }
    quantizers, warnings = activation_quantizers(model, plan, intervals)
    index = GraphIndex(model.graph)
    layers = {
        layer.node: (measured.rounded.get(layer.node) if rounding else None)
        or integers_of(layer, index, plan.scheme, None)
        for layer in plan.layers
    }
    return Parts(plan, quantizers, layers, warnings)


def quantize_calibrated(
    model: onnx.ModelProto,
    measured: Calibration,
    *,
    ranges: str,
    rounding: bool,
    exclude: Collection[str] = (),
) -> Quantized:
    """Write one recipe from what `calibrate` measured; no frame is run.

    Args:
        model: The one that was measured; not changed.
        measured: What was measured.
        ranges: One of `range_methods.METHODS`.
        rounding: Take the weights rounded with second moments; else round to nearest.
        exclude: Layers to put back to float, besides the nodes that were excluded when measuring.

    Raises:
        UsageError: Unknown range method, or one that needs histograms and there are none.
    """
    parts = parts_of(model, measured, ranges=ranges, rounding=rounding, exclude=exclude)
    plan = parts.plan
    seen = [f"tensor {name!r} {r.warning}" for name, r in measured.ranges.items() if r.warning]
    result = write(model, plan, parts.quantizers, parts.layers)
    counts = read_back(result, measured.scheme)
    _check_counts(counts, plan)
    kept = {**plan.kept_float, **dict.fromkeys(exclude, PUT_BACK)}
    report = {
        "scheme": measured.scheme,
        "ranges": ranges,
        "rounding": rounding,
        "frames": measured.frames,
        "int8": sorted({layer.node for layer in plan.layers} | plan.others - plan.bridges),
        "put_back": sorted(exclude),
        "float": dict(sorted(kept.items())),
        "warnings": [*seen, *parts.warnings, *(measured.warnings if rounding else ())],
    }
    return Quantized(result, report)


def _check_counts(counts: Mapping[str, Any], plan: Plan) -> None:
    skips = counts["residuals"] - counts["float_residuals"]
    for what, found, planned in (
        ("INT8 layers", counts["layers"], len(plan.layers)),
        ("skip connections with a scale", skips, len(plan.residuals)),
    ):
        if found != planned:
            raise ModelError(
                "the written graph is not what was planned",
                received=f"{found} {what}",
                expected=f"{planned}",
                hint="this is a fault in edgevision: please report it with the model",
            )
