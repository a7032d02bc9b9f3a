"""What each family of INT8 kernels takes: onnxruntime on x86, TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LAYER_OPS", "SCHEMES", "Scheme"]

# Operators that carry a network's weights.
LAYER_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Scheme:
    """What one family of INT8 kernels takes.

    Attributes:
        name: ``x86`` or ``trt``.
        asymmetric: Activations are uint8 with a zero point; else int8 with zero point 0.
        integer_bias: Biases are int32 behind a DequantizeLinear; else they stay float.
        layers: Operators with constant weights that have an INT8 kernel.
        float_output: Layers among them whose kernel can give float.
        arithmetic: Other operators with an INT8 kernel; their output has a scale of its own.
        absorbs: Relu and Clip may be left to the saturation of the quantizer behind them.
        bridges: Operators that move data but have no INT8 kernel: planned all the same, so that
            their neighbours stay INT8, and computed in float between them.
        fused: Operators that the runtime fuses into the layer before them: no scale in between.
    """

    name: str
    asymmetric: bool
    integer_bias: bool
    layers: frozenset[str]
    float_output: frozenset[str]
    arithmetic: frozenset[str]
    absorbs: bool
    bridges: frozenset[str]
    fused: frozenset[str]


SCHEMES: Mapping[str, Scheme] = {
    # onnxruntime's CPU provider: each kernel below is QLinear… or a table look-up there.
    "x86": Scheme(
        "x86",
        asymmetric=True,
        integer_bias=True,
        layers=frozenset({"Conv", "Gemm", "MatMul"}),
        float_output=frozenset({"Gemm", "MatMul"}),
        arithmetic=frozenset(
            {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid"}
        ),
        absorbs=True,
        bridges=frozenset({"DepthToSpace", "SpaceToDepth", "linear Resize"}),
        fused=frozenset(),
    ),
    # TensorRT fuses activations and residual Adds into the layer: no scale between them.
    "trt": Scheme(
        "trt",
        asymmetric=False,
        integer_bias=False,
        layers=LAYER_OPS,
        float_output=LAYER_OPS,
        arithmetic=frozenset({"Concat", "AveragePool"}),
        absorbs=False,
        bridges=frozenset(),
        fused=frozenset({"Relu", "Clip", "LeakyRelu", "Add"}),
    ),
}
