"""float16 as casts in the graph: standard ONNX whose layers read and give float16, with float32 around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from edgevision.converters.fp16.names import Names
from edgevision.converters.fp16.pictures import cast_pictures_first
from edgevision.converters.fp16.plan import HalfPlan, plan_half
from edgevision.converters.fp16.read_back import read_back_half
from edgevision.converters.fp16.types import reads_either
from edgevision.converters.fp16.weights import as_half
from edgevision.converters.graph.execute import trial_feeds
from edgevision.converters.graph.index import GraphIndex, captured, elem_types, opset_of
from edgevision.converters.int8.ranges import Feeds, collect
from edgevision.converters.int8.read_back import refuse_quantized
from edgevision.converters.int8.schemes import LAYER_OPS
from edgevision.errors import ModelError
from edgevision.progress import Tell, silent

__all__ = ["Half", "half_remainder", "to_half"]

#: The first opset whose QuantizeLinear and DequantizeLinear take float16.
_QUANTIZES_HALF = 19


@dataclass(frozen=True)
class Half:
    """A float16 model and what became of each node.

    Attributes:
        model: Standard ONNX. Inputs and outputs keep their names and types.
        report: ``fp16`` (names of the nodes that compute in float16), ``float`` (name of each
            other node that gives float32 → reason), ``ranges`` (``minmax`` or ``unknown``),
            ``frames``, ``warnings`` (sentences), ``read_back`` (see `read_back_half`).
    """

    model: onnx.ModelProto
    report: dict[str, Any]


def to_half(model: onnx.ModelProto, feeds: Feeds | None = None, *, progress: Tell = silent) -> Half:
    """Convert a cleaned float32 model.

    Args:
        model: From `clean`; not changed.
        feeds: Gives the calibration frames, once, to see which tensors leave float16's range.
            Without it whatever may overflow stays float32, and what does so on noise.
        progress: Told the stage, how far it is, and of how much.

    Raises:
        ModelError: The model is quantized, or none of its layers can be float16.
    """
    refuse_quantized(model)
    return _convert(model, feeds, progress)


def half_remainder(
    model: onnx.ModelProto, feeds: Feeds | None = None, *, progress: Tell = silent
) -> Half:
    """Convert what an INT8 graph with QuantizeLinear and DequantizeLinear leaves in float32.

    Its scales become float16 too, which needs opset 19; the graph is raised to it.

    Args:
        model: From `quantize_calibrated`; not changed.
        feeds: See `to_half`.
        progress: See `to_half`.

    Raises:
        ModelError: The opset cannot be raised, or nothing can be float16.
    """
    if opset_of(model) < _QUANTIZES_HALF:
        try:
            model = version_converter.convert_version(model, _QUANTIZES_HALF)
        except (RuntimeError, version_converter.ConvertError) as error:
            raise ModelError(
                f"the INT8 graph cannot be raised to opset {_QUANTIZES_HALF}",
                received=(str(error).strip().splitlines() or ["no reason given"])[0],
                hint="leave its remainder in float32",
            ) from error
    return _convert(model, feeds, progress)


def _convert(model: onnx.ModelProto, feeds: Feeds | None, progress: Tell) -> Half:
    seen = feeds or partial(iter, trial_feeds(model))
    ranges = collect(model, plan_half(model, None).tensors, seen, progress=progress)
    plan = plan_half(model, ranges, pictures=feeds is not None)
    if not plan.layers:
        raise _nothing_left(model, plan)
    result = _Writer(model, plan).write()
    moved = cast_pictures_first(result)
    counts = read_back_half(result, layers=plan.layers)
    frames = max((r.frames + r.non_finite for r in ranges.values()), default=0)
    report = {
        "fp16": sorted({*plan.half, *moved}),
        "float": dict(sorted(plan.kept_float.items())),
        "ranges": "unknown" if feeds is None else "minmax",
        "frames": 0 if feeds is None else frames,
        "warnings": [_UNMEASURED] if feeds is None else [],
        "read_back": counts,
    }
    return Half(result, report)


_UNMEASURED = (
    "there were no pictures to measure ranges on: what may overflow stays float32, "
    "and whether other nodes do was tried on noise only"
)


def _nothing_left(model: onnx.ModelProto, plan: HalfPlan) -> ModelError:
    types = elem_types(model)
    layers = [n for n in model.graph.node if n.op_type in LAYER_OPS]
    if any(types.get(n.output[0]) == TensorProto.FLOAT16 for n in layers):
        return ModelError(
            "the model is float16 already",
            received=f"{len(layers)} layers, float16 among them",
            expected="a float32 model",
            hint="leave out --precision fp16: the variant called fp32 is this model as it is",
        )
    reasons = sorted({plan.kept_float[n.name] for n in layers if n.name in plan.kept_float})
    return ModelError(
        "nothing in this model can run in float16",
        received="; ".join(reasons) or "no Conv, Gemm or MatMul in float32",
        expected="at least one such layer that float16 has the range for",
        hint="leave out --precision fp16",
    )


class _Writer:
    """Writes the float16 copy of a graph.

    A tensor keeps its name where it is float32 and is called ``NAME/fp16`` where it is float16.
    So inputs, outputs and what bodies of If and Loop refer to stay as they are, and each tensor
    is cast at most once, however many nodes read it.
    """

    def __init__(self, model: onnx.ModelProto, plan: HalfPlan) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.plan = plan
        self.index = GraphIndex(model.graph)
        self.fresh = Names(model.graph).fresh
        self.names: dict[str, str] = {}
        self.constants: dict[str, onnx.TensorProto] = {}
        self.made = {
            node.output[i]
            for node in model.graph.node
            if node.name in plan.half
            for i in plan.half[node.name].outputs
        }
        self.wanted_half, self.wanted_float = self._wanted()

    def write(self) -> onnx.ModelProto:
        nodes = [
            self._cast(name, down=True) for name in self.index.inputs if name in self.wanted_half
        ]
        for node in self.model.graph.node:
            nodes += self._written(node)
        graph = self.model.graph
        read = {name for node in nodes for name in [*node.input, *captured(node)]}
        read.update(self.index.outputs)
        kept = [t for t in graph.initializer if t.name in read]
        kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.initializer.extend([*kept, *self.constants.values()])
        return self.model

    def _wanted(self) -> tuple[set[str], set[str]]:
        """Tensors that some node reads as float16, and those that are read as float32."""
        half: set[str] = set()
        other = set(self.index.outputs)
        for node in self.model.graph.node:
            slots = self.plan.half.get(node.name)
            places = slots.inputs if slots else ()
            half.update(node.input[i] for i in places)
            if not reads_either(node):
                other.update(n for i, n in enumerate(node.input) if i not in places)
            other.update(captured(node))
        return half, other

    def _written(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node, and behind it the casts that its outputs need."""
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        slots = self.plan.half.get(node.name)
        if slots is not None:
            for position in slots.inputs:
                name = node.input[position]
                copy.input[position] = self._half(name, saturate=node.op_type == "Clip")
            for position in slots.outputs:
                copy.output[position] = self._half(node.output[position])
            if node.op_type == "Cast":
                _set_target(copy, TensorProto.FLOAT16)
        if reads_either(node) and node.input[0] in self.made:
            copy.input[0] = self._half(node.input[0])
        return [copy, *self._casts(node.output)]

    def _casts(self, names: Iterable[str]) -> list[onnx.NodeProto]:
        up = [n for n in names if n in self.made and n in self.wanted_float]
        down = [n for n in names if n not in self.made and n in self.wanted_half]
        return [self._cast(n, down=False) for n in up] + [self._cast(n, down=True) for n in down]

    def _cast(self, name: str, *, down: bool) -> onnx.NodeProto:
        half = self._half(name)
        source, target = (name, half) if down else (half, name)
        kind = TensorProto.FLOAT16 if down else TensorProto.FLOAT
        label = f"{name}/to_{'fp16' if down else 'fp32'}"
        return helper.make_node("Cast", [source], [target], name=label, to=kind)

    def _half(self, name: str, *, saturate: bool = False) -> str:
        """What the float16 form of a tensor is called; of a constant it is made here, once."""
        if name not in self.names:
            self.names[name] = self.fresh(f"{name}/fp16")
        array = self.index.array(name)
        half = self.names[name]
        if array is not None and half not in self.constants:
            self.constants[half] = numpy_helper.from_array(as_half(array, saturate=saturate), half)
        return half


def _set_target(node: onnx.NodeProto, kind: int) -> None:
    for item in node.attribute:
        if item.name == "to":
            item.i = kind
