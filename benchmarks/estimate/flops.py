"""How much each operator computes: multiply-adds and other operations, from the shapes alone.

The convention: one multiply-add (MAC) is two FLOPs, as in data sheets. A convolution counts every tap of its
window, those on the padding too, and no bias. An operator of its own on each element (an activation, an
addition) counts one an element. Integer operations count as FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from edgevision.benchmarks.estimate.network import Network, Node

__all__ = ["DENSE", "DEPTHWISE", "NARROW", "POINTWISE", "Work", "is_matrix", "work_of"]

Shape = tuple[int, ...]

#: Kinds of work that machines do at different rates: what they are best at; a convolution in which each channel
#: has a filter of its own, so that nothing is used twice across channels; one of so few channels that vectors
#: stay empty.
DENSE = ""
DEPTHWISE = "depthwise"
NARROW = "narrow"
_NARROW = 4


@dataclass(frozen=True, slots=True)
class Work:
    """What one node computes.

    Attributes:
        macs: Multiply-adds of matrix products and convolutions.
        other: Operations beside them.
        kind: ``""`` (dense), ``depthwise`` or ``narrow``.
    """

    macs: int = 0
    other: int = 0
    kind: str = DENSE

    @property
    def flops(self) -> int:
        return 2 * self.macs + self.other


#: One operation on each element, wherever it stands; an engine does it in the pass that makes its input.
_EACH = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
    CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid
    HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    QuantizeLinear Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish
    Tan Tanh ThresholdedRelu Where Xor BatchNormalization DequantizeLinear"""
POINTWISE = frozenset(_EACH.split())
#: Nothing is computed, values are only moved.
_MOVED = """
    CenterCropPad Concat ConstantOfShape Constant DepthToSpace Expand EyeLike Flatten Gather GatherElements
    GatherND Identity Dropout NonZero OneHot Pad Range Reshape ReverseSequence Scatter ScatterElements ScatterND
    Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Trilu Unsqueeze Compress"""
_MOVES = frozenset(_MOVED.split())
#: Elements of the input, times this.
_ON_INPUT = {
    "GlobalAveragePool": 1, "GlobalMaxPool": 1, "GlobalLpPool": 2, "ReduceL1": 1, "ReduceL2": 2,
    "ReduceLogSum": 1, "ReduceLogSumExp": 2, "ReduceMax": 1, "ReduceMean": 1, "ReduceMin": 1,
    "ReduceProd": 1, "ReduceSum": 1, "ReduceSumSquare": 2, "ArgMax": 1, "ArgMin": 1, "CumSum": 1,
    # greatest, subtract, exponential, sum, divide
    "Softmax": 5, "LogSoftmax": 5, "Hardmax": 1,
    # mean 1, variance 2, normalize 2, scale and shift 2
    "LayerNormalization": 7, "InstanceNormalization": 7, "GroupNormalization": 7, "RMSNormalization": 4,
    "MeanVarianceNormalization": 5, "LpNormalization": 3, "DynamicQuantizeLinear": 3,
}  # fmt: skip
#: Products: operator → where data and weights are among its inputs.
_OPERANDS = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3)}
_RNN_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def work_of(node: Node, network: Network) -> Work | None:
    """What a node computes.

    Returns:
        None if the operator is not known here, a shape that it takes is not, or its attributes make no sense.
    """
    if node.op in _MOVES:
        return Work()
    count = _COUNTS.get(node.op)
    try:
        return None if count is None else count(node, network)
    except (_UnknownShapeError, LookupError, ArithmeticError, TypeError, ValueError):
        return None


def is_matrix(node: Node) -> bool:
    """Whether a node's work is multiply-adds."""
    return node.op in _PRODUCTS


class _UnknownShapeError(Exception):
    """A shape that is not known."""


def _in(node: Node, network: Network, place: int = 0) -> Shape:
    shape = network.shape(node.inputs[place])
    if shape is None:
        raise _UnknownShapeError(node.inputs[place])
    return shape


def _out(node: Node, network: Network) -> Shape:
    shape = network.shape(node.outputs[0])
    if shape is None:
        raise _UnknownShapeError(node.outputs[0])
    return shape


def _weights(node: Node, network: Network) -> Shape:
    return _in(node, network, _OPERANDS.get(node.op, (0, 1))[1])


def _conv(node: Node, network: Network) -> Work:
    # weights: out × in/groups × window
    weights, groups = _weights(node, network), int(node.attributes.get("group", 1))
    kind = DENSE
    if groups > 1 and weights[1] == 1:
        kind = DEPTHWISE
    elif weights[0] // groups <= _NARROW:
        kind = NARROW
    return Work(macs=prod(_out(node, network)) * prod(weights[1:]), kind=kind)


def _conv_transpose(node: Node, network: Network) -> Work:
    # weights: in × out/groups × window; each input element is spread over a window
    return Work(macs=prod(_in(node, network)) * prod(_weights(node, network)[1:]))


def _gemm(node: Node, network: Network) -> Work:
    shared = _in(node, network)[0 if node.attributes.get("transA") else 1]
    return Work(macs=prod(_out(node, network)) * shared)


def _matmul(node: Node, network: Network) -> Work:
    return Work(macs=prod(_out(node, network)) * _in(node, network)[-1])


def _einsum(node: Node, network: Network) -> Work:
    terms = str(node.attributes["equation"]).replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        raise _UnknownShapeError(node.name)
    sizes: dict[str, int] = {}
    for place, letters in enumerate(terms):
        sizes |= dict(zip(letters, _in(node, network, place), strict=False))
    return Work(macs=prod(sizes.values()))


def _recurrent(node: Node, network: Network) -> Work:
    steps, batch, features = _in(node, network)
    if node.attributes.get("layout"):
        steps, batch = batch, steps
    directions, rows, _ = _in(node, network, 1)
    hidden = rows // _RNN_GATES[node.op]
    cells = directions * batch * steps
    # each gate adds up, and has an activation; an LSTM's cell takes four more, a GRU's three
    other = cells * hidden * (2 * _RNN_GATES[node.op] + {"LSTM": 4, "GRU": 3, "RNN": 0}[node.op])
    return Work(macs=cells * rows * (features + hidden), other=other)


def _pool(node: Node, network: Network) -> Work:
    return Work(other=prod(_out(node, network)) * prod(node.attributes["kernel_shape"]))


def _resize(node: Node, network: Network) -> Work:
    """Along each axis that changes: 2 taps for linear, 4 for cubic; a multiplication and an addition each."""
    shape = _out(node, network)
    taps = {"linear": 2, "bilinear": 2, "cubic": 4}.get(str(node.attributes.get("mode")), 0)
    changed = sum(a != b for a, b in zip(_in(node, network), shape, strict=True))
    return Work(other=2 * taps**changed * prod(shape) if taps and changed else 0)


def _grid_sample(node: Node, network: Network) -> Work:
    return Work(other=8 * prod(_out(node, network)))


def _normalization(node: Node, network: Network) -> Work:
    return Work(other=2 * prod(_out(node, network)))


def _each(node: Node, network: Network) -> Work:
    return Work(other=prod(_out(node, network)))


def _converting(node: Node, network: Network) -> Work:
    """Nothing: it says in which type the work beside it is done, and is no work itself."""
    del node, network
    return Work()


def _on_input(times: int) -> Callable[[Node, Network], Work]:
    return lambda node, network: Work(other=times * prod(_in(node, network)))


_PRODUCTS: dict[str, Callable[[Node, Network], Work]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
_COUNTS: dict[str, Callable[[Node, Network], Work]] = {
    **dict.fromkeys(POINTWISE, _each),
    **{op: _on_input(times) for op, times in _ON_INPUT.items()},
    **_PRODUCTS,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "LpPool": _pool,
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "BatchNormalization": _normalization,
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "Cast", "CastLike"), _converting),
}
