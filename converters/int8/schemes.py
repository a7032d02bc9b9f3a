"""What each family of INT8 kernels takes: onnxruntime on x86 and on ARM, TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["LAYER_OPS", "SCHEMES", "Scheme"]

# Operators that carry a network's weights.
LAYER_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

# Symmetric: −128 has no positive counterpart.
_EIGHT_BITS = 127
# Without VNNI, onnxruntime's kernels on x86 multiply with VPMADDUBSW (MLAS, QgemmU8S8KernelAvx2 and
# ConvSymKernelAvx2), which adds the products of two pairs into int16 and saturates there: Intel's
# Software Developer's Manual, "PMADDUBSW". Then VPMADDWD widens, so that nothing else can overflow.
# With activations up to 255 and weights up to w, two products reach 2 · 255 · w, and
# 2 · 255 · 64 = 32640 ≤ 32767 < 2 · 255 · 65 = 33150. The negative side has one more, −32768.
# onnxruntime's own reduce_range takes the same ±64 and calls it 7 bits.
_SEVEN_BITS = 64


@dataclass(frozen=True)
class Scheme:
    """What one family of INT8 kernels takes.

    Attributes:
        name: As ``--target`` takes it.
        runtime: What runs it: ``onnxruntime`` or ``tensorrt``.
        signed: Activations are int8, else uint8.
        asymmetric: Activations have a zero point of their own; else it is 0, and zero lies in the middle.
        weight_limit: The largest magnitude of a weight; the most negative one is its opposite.
        half_scales: Scales are float16 numbers, and what stays float is float16.
        integer_bias: Biases are int32 behind a DequantizeLinear; else they stay float.
        layers: Operators with constant weights that have an INT8 kernel.
        float_output: Layers among them whose kernel can give float.
        arithmetic: Other operators with an INT8 kernel; their output has a scale of its own.
        absorbs: Relu and Clip may be left to the saturation of the quantizer behind them.
        bridges: Operators without an INT8 kernel, planned all the same, so that their neighbours
            stay INT8, and computed in float between them.
        fused: Operators that the runtime fuses into the layer before them: no scale in between.
    """

    name: str
    runtime: str
    signed: bool
    asymmetric: bool
    weight_limit: int
    half_scales: bool
    integer_bias: bool
    layers: frozenset[str]
    float_output: frozenset[str]
    arithmetic: frozenset[str]
    absorbs: bool
    bridges: frozenset[str]
    fused: frozenset[str]

    @property
    def activations(self) -> type[np.int8] | type[np.uint8]:
        """The integers that activations become."""
        return np.int8 if self.signed else np.uint8

    @property
    def weight_bits(self) -> int:
        """8, or 7 where weights are bounded by what 16-bit sums hold."""
        return 8 if self.weight_limit > _SEVEN_BITS else 7


# onnxruntime's CPU provider: each kernel below is QLinear… or a table look-up there.
_X86 = Scheme(
    "x86",
    runtime="onnxruntime",
    signed=False,
    asymmetric=True,
    weight_limit=_EIGHT_BITS,
    half_scales=False,
    integer_bias=True,
    layers=frozenset({"Conv", "Gemm", "MatMul"}),
    float_output=frozenset({"Gemm", "MatMul"}),
    arithmetic=frozenset(
        {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"}
        | {"LeakyRelu", "Sigmoid", "HardSigmoid"}
    ),
    absorbs=True,
    bridges=frozenset({"DepthToSpace", "SpaceToDepth", "linear Resize"}),
    fused=frozenset(),
)

SCHEMES: Mapping[str, Scheme] = {
    "x86": _X86,
    "x86-avx2": replace(_X86, name="x86-avx2", weight_limit=_SEVEN_BITS),
    # The dot product instructions of ARM multiply signed by signed; the kernels take a zero point
    # of the activations (MLAS, ConvSymS8KernelDot and QgemmS8S8KernelSdot) and none of the weights.
    "arm": replace(_X86, name="arm", signed=True),
    # TensorRT fuses activations and residual Adds into the layer: no scale between them.
    "trt": Scheme(
        "trt",
        runtime="tensorrt",
        signed=True,
        asymmetric=False,
        weight_limit=_EIGHT_BITS,
        half_scales=True,
        integer_bias=False,
        layers=LAYER_OPS,
        float_output=LAYER_OPS,
        arithmetic=frozenset({"Concat", "AveragePool"}),
        absorbs=False,
        bridges=frozenset(),
        fused=frozenset({"Relu", "Clip", "LeakyRelu", "Add"}),
    ),
}
