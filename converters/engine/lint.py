"""What TensorRT would refuse in an ONNX file: every construct, with its node and the way out, before any parser runs.

Its parser stops at the first thing it does not take, and says so in terms of its own source. Each rule here was
held against the parser and builder of TensorRT-RTX 1.7.1 (`tests/converters/engine/test_lint.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgevision.converters.graph.index import GraphIndex, elem_types, nodes_in
from edgevision.errors import ModelError
from edgevision.text import counted, printable

__all__ = ["Finding", "LintError", "check_lint", "lint"]

_SHOWN = 4
_REQUANTIZE = "convert the float model with --precision int8 --target trt"
_OUTSIDE = "export the model up to this node; or run it without TensorRT: --backend ort"
_NO_NMS = "convert without --bake nms: the runtime then does it"
_CASTS = "put a Cast before it; or start from the float32 export and convert with --precision fp16"
_PIXELS = "build the variant fp16 or int8-trt, which casts first; or convert without --bake input"

#: Quantization as onnxruntime and others write it, which no TensorRT reads.
_INTEGER_OPS = frozenset(
    {"ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"}
)
#: Other operators of ONNX that TensorRT-RTX 1.7.1's parser has no importer for (`supports_operator`), and three
#: that it has one for, without the plugin or the kernel behind it.
_NOT_IN_RTX = frozenset(
    [
        "AffineGrid",
        "Bernoulli",
        "BitCast",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "CenterCropPad",
        "Col2Im",
        "Compress",
        "ConcatFromSequence",
        "CumProd",
        "DFT",
        "DeformConv",
        "Det",
        "ImageDecoder",
        "MaxRoiPool",
        "MaxUnpool",
        "MelWeightMatrix",
        "Multinomial",
        "NegativeLogLikelihoodLoss",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "RegexFullMatch",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SequenceMap",
        "SoftmaxCrossEntropyLoss",
        "SplitToSequence",
        "StringConcat",
        "StringNormalizer",
        "StringSplit",
        "SwiGLU",
        "TfIdfVectorizer",
        "Unique",
        "NonMaxSuppression",
        "NonZero",
        "RoiAlign",
    ]
)
#: Element types that the parser has no counterpart for.
_NO_TYPE = {
    getattr(TensorProto, name)
    for name in ("INT16", "UINT16", "UINT32", "UINT64", "STRING", "COMPLEX64", "COMPLEX128")
}
#: Operators whose data inputs must have one type: positions of these, None for all.
_SAME_TYPE: dict[str, tuple[int, ...] | None] = {
    "Add": None, "Concat": None, "Conv": None, "ConvTranspose": None, "Div": None, "Einsum": None,
    "Equal": None, "Gemm": None, "Greater": None, "GreaterOrEqual": None, "Less": None,
    "LessOrEqual": None, "MatMul": None, "Max": None, "Mean": None, "Min": None, "Mul": None,
    "PRelu": None, "Sub": None, "Sum": None, "Where": (1, 2),
}  # fmt: skip
#: What takes uint8: everything else is for signed integers and floats.
_TAKES_UINT8 = frozenset({"Cast", "DequantizeLinear", "Identity"})
#: Operators outside of ai.onnx that the parser has importers for.
_CONTRIB = frozenset({"com.microsoft"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that TensorRT would refuse.

    Attributes:
        node: Name of the node, or of what it gives; of an input or output of the graph.
        op: Its operator; ``input`` or ``output``.
        problem: What is wrong with it.
        way_out: What to do.
        value: What was found, where that differs from node to node; else empty.
    """

    node: str
    op: str
    problem: str
    way_out: str
    value: str = ""

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


class LintError(ModelError):
    """What the lint found, all of it in ``findings``; the message has a few of each kind."""

    def __init__(self, findings: list[Finding], problem: str, **parts: str) -> None:
        super().__init__(problem, **parts)
        self.findings = findings


def lint(model: onnx.ModelProto, library: str) -> list[Finding]:
    """Everything in a model that this library would refuse, in the graph's order.

    Args:
        model: As written; not changed.
        library: ``tensorrt``, or ``tensorrt-rtx``, which has no plugins and fewer kernels.
    """
    return list(_Lint(model, library).findings())


def check_lint(findings: list[Finding], variant_id: str) -> None:
    """Raises what was found as one error, alike things together.

    Raises:
        LintError: There are findings.
    """
    if not findings:
        return
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.problem, finding.way_out), []).append(finding)
    lines = []
    for (problem, _), alike in groups.items():
        names = [
            f"{printable(f.node, 80)} ({f.op}{', ' + f.value if f.value else ''})"
            for f in alike[:_SHOWN]
        ]
        more = f", and {len(alike) - _SHOWN} more" if len(alike) > _SHOWN else ""
        lines.append(f"{problem}: {', '.join(names)}{more}")
    ways = list(dict.fromkeys(way for _, way in groups))
    raise LintError(
        findings,
        f"TensorRT would refuse {variant_id} in {counted(len(findings), 'place')}",
        received=("\n" + " " * 12).join(lines),
        hint=("\n" + " " * 12).join(ways),
    )


class _Lint:
    def __init__(self, model: onnx.ModelProto, library: str) -> None:
        self.graph, self.rtx = model.graph, library == "tensorrt-rtx"
        self.index, self.types = GraphIndex(model.graph), elem_types(model)
        # A function's nodes are the model's too: the parser expands them.
        self.functions = {(f.domain, f.name) for f in model.functions}

    def findings(self) -> Iterator[Finding]:
        yield from self._ends()
        for node in nodes_in(self.graph):
            for rule in _RULES:
                yield from rule(self, node)

    def _ends(self) -> Iterator[Finding]:
        """Inputs and outputs of types that TensorRT has not, or would change."""
        values = (("input", self.index.inputs), ("output", self.index.outputs))
        for way, names in values:
            for name in names:
                kind = self.types.get(name, 0)
                if kind == TensorProto.DOUBLE or kind in _NO_TYPE:
                    yield Finding(name, way, f"it is {_type_name(kind)}", _CASTS)

    def _operator(self, node: onnx.NodeProto) -> Iterator[Finding]:
        if node.domain in ("", "ai.onnx"):
            if node.op_type in _INTEGER_OPS:
                yield _finding(node, "an operator of another runtime's INT8", _REQUANTIZE)
            elif node.op_type == "NonMaxSuppression" and self.rtx:
                yield _finding(node, "TensorRT-RTX has no kernel for it", _NO_NMS)
            elif node.op_type in _NOT_IN_RTX and self.rtx:
                yield _finding(node, "TensorRT-RTX does not have this operator", _OUTSIDE)
            elif not onnx.defs.has(node.op_type, "") and (self.rtx or not _is_plugin(node)):
                yield _finding(node, "an unknown operator: no plugin has this name", _OUTSIDE)
        elif (node.domain, node.op_type) in self.functions:
            return
        elif node.domain in _CONTRIB and node.op_type.startswith(
            ("QLinear", "QGemm", "QAttention")
        ):
            yield _finding(node, "an operator of another runtime's INT8", _REQUANTIZE)
        elif node.domain not in _CONTRIB and (self.rtx or not _is_plugin(node)):
            problem = f"an operator of {printable(node.domain, 40)}: no plugin has this name"
            yield _finding(node, problem, _OUTSIDE)

    def _quantizer(self, node: onnx.NodeProto) -> Iterator[Finding]:
        """QuantizeLinear and DequantizeLinear: symmetric, int8, positive scales."""
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            return
        integers = self._integers(node)
        if integers == TensorProto.INT32:
            yield _finding(node, "int32 behind a DequantizeLinear (a bias)", _REQUANTIZE)
        elif integers in _NO_TYPE:
            yield _finding(node, f"integers of type {_type_name(integers)}", _REQUANTIZE)
        elif integers == TensorProto.UINT8:
            # With zero point 0 the parser takes an activation, as int8: what is above 127 saturates.
            yield _finding(node, "unsigned integers, which are taken as signed", _REQUANTIZE)
        zero = self.index.array(node.input[2]) if len(node.input) > 2 else None
        if zero is not None and zero.dtype.kind in "iu" and zero.any():
            value = int(zero.reshape(-1)[np.abs(zero.reshape(-1).astype(np.int64)).argmax()])
            yield _finding(node, "a zero point that is not 0", _REQUANTIZE, str(value))
        scale = self.index.array(node.input[1])
        if scale is not None and not (scale > 0).all():
            least = f"{float(scale.min()):g}"
            yield _finding(node, "a scale that is not above 0", _REQUANTIZE, least)

    def _integers(self, node: onnx.NodeProto) -> int:
        if node.op_type == "DequantizeLinear":
            return self.types.get(node.input[0], 0)
        if len(node.input) > 2 and node.input[2]:
            return self.types.get(node.input[2], 0)
        return self.types.get(node.output[0], 0) or TensorProto.UINT8

    def _type_of_cast(self, node: onnx.NodeProto) -> Iterator[Finding]:
        """Types that no engine has, inside the graph."""
        if node.op_type not in ("Cast", "CastLike", "Constant"):
            return
        for name in node.output:
            kind = self.types.get(name, 0)
            if kind in _NO_TYPE and name not in self.index.outputs:
                yield _finding(node, f"it gives {_type_name(kind)}", _CASTS)

    def _mixed(self, node: onnx.NodeProto) -> Iterator[Finding]:
        """Inputs of different types: a strongly typed network casts nothing by itself."""
        if node.op_type not in _SAME_TYPE or node.domain not in ("", "ai.onnx"):
            return
        places = _SAME_TYPE[node.op_type]
        names = [n for i, n in enumerate(node.input) if n and (places is None or i in places)]
        kinds = {self.types[name] for name in names if self.types.get(name)}
        if len(kinds) > 1:
            text = " and ".join(sorted(map(_type_name, kinds)))
            yield _finding(node, f"inputs of different types ({text})", _CASTS)

    def _pixels(self, node: onnx.NodeProto) -> Iterator[Finding]:
        """uint8 goes into a Cast and nowhere else."""
        if node.op_type in _TAKES_UINT8 or node.domain not in ("", "ai.onnx"):
            return
        read = [name for name in node.input if self.types.get(name) == TensorProto.UINT8]
        quantizes = node.op_type in (*_INTEGER_OPS, "QuantizeLinear")
        if read and not quantizes and not _shape_only(node):
            yield _finding(node, "it works on uint8", _PIXELS)


_RULES: tuple[Callable[[Any, onnx.NodeProto], Iterator[Finding]], ...] = (
    _Lint._operator,
    _Lint._quantizer,
    _Lint._type_of_cast,
    _Lint._mixed,
    _Lint._pixels,
)


def _shape_only(node: onnx.NodeProto) -> bool:
    """Whether a node looks at the shape of its input and not at what is in it."""
    return node.op_type in ("Shape", "Size")


def _finding(node: onnx.NodeProto, problem: str, way_out: str, value: str = "") -> Finding:
    name = node.name or next(iter(node.output), "?")
    return Finding(printable(name), printable(node.op_type, 60), problem, way_out, value)


def _is_plugin(node: onnx.NodeProto) -> bool:
    """NVIDIA's own plugins have such names; whether this TensorRT has that one, its parser says."""
    return node.op_type.endswith(("_TRT", "Plugin", "PluginDynamic"))


def _type_name(kind: int) -> str:
    if kind == TensorProto.STRING:
        return "text"
    return str(helper.tensor_dtype_to_np_dtype(kind))
