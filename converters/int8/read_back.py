"""Re-read a graph and say whether it is the INT8 that a scheme promises."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgevision.converters.fp16.types import reads_either
from edgevision.converters.graph.index import GraphIndex, attribute, elem_types
from edgevision.converters.int8.look_up import is_look_up
from edgevision.converters.int8.residuals import residual_inputs
from edgevision.converters.int8.schemes import LAYER_OPS, SCHEMES, Scheme
from edgevision.errors import ModelError

Array = NDArray[Any]

__all__ = ["read_back", "refuse_quantized"]

_QUANTIZED_OPS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    }
)


def refuse_quantized(model: onnx.ModelProto) -> None:
    """Raise ModelError if ``model`` is quantized already: rounding twice loses accuracy."""
    for node in model.graph.node:
        if node.op_type in _QUANTIZED_OPS or (
            node.domain == "com.microsoft" and node.op_type.startswith(("QLinear", "QGemm"))
        ):
            raise ModelError(
                "the model is quantized already",
                received=f"{node.op_type} in node {node.name or node.output[0]!r}",
                expected="a float model",
                hint="start from the fp32 export; or leave out --precision and --calibration, "
                "and this one is taken as it is",
            )


def read_back(
    model: onnx.ModelProto, scheme: str, *, half: Collection[str] | None = None
) -> dict[str, Any]:
    """Count what is INT8 in a written graph, and check node by node that it is what a scheme promises.

    1. Scales and zero points are constants; scales are finite and above 0. A QuantizeLinear and what
       dequantizes its integers have the same; where they are a look-up, what is dequantized is 0…1.
    2. Activations are the scheme's integers, with one scale each, around 0 where it is symmetric.
    3. The weights of a layer are constant int8 within the scheme's limit, with a scale per output
       channel and zero point 0; weights and data stand straight behind DequantizeLinear.
    4. A bias is int32 in steps of data scale times weight scale, or float, as the scheme takes it.
    5. For TensorRT, no scale comes between a layer and the activation that is fused into it.
    6. Nothing computes in float16 but the nodes in ``half``, and those do.

    Args:
        model: A graph as written, or as loaded from its file.
        scheme: One of `schemes.SCHEMES`.
        half: Names of the nodes that must compute in float16; None where the remainder is float32.

    Returns:
        ``layers`` and ``convs`` (with INT8 weights), ``half_layers`` (those of them whose other side
        is float16), ``float_layers``, ``quantize`` and ``dequantize`` nodes, ``residuals`` (the other
        inputs of Adds behind a layer) and ``float_residuals`` (those without a scale),
        ``activations``, ``weight_bits``, ``remainder``.

    Raises:
        ModelError: A node is not what the scheme says; names it.
    """
    return _Reader(model, SCHEMES[scheme], half).read()


class _Reader:
    def __init__(
        self, model: onnx.ModelProto, scheme: Scheme, half: Collection[str] | None
    ) -> None:
        self.nodes = list(model.graph.node)
        self.index = GraphIndex(model.graph)
        self.types = elem_types(model)
        self.scheme = scheme
        self.half = half

    def read(self) -> dict[str, Any]:
        pairs = [n for n in self.nodes if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
        for node in pairs:
            self._check_parameters(node)
        for node in self.nodes:
            self._check_straight(node)
        for node in pairs:
            self._check_activation(node)
        layers = [n for n in self.nodes if n.op_type in LAYER_OPS and self._dequantizer(n, 1)]
        for layer in layers:
            self._check_layer(layer)
        for node in self.nodes:
            self._check_type(node)
        ops = [node.op_type for node in self.nodes]
        residuals = self._residuals(layers)
        return {
            "layers": len(layers),
            "convs": sum(layer.op_type == "Conv" for layer in layers),
            "half_layers": sum(layer.name in (self.half or ()) for layer in layers),
            "float_layers": sum(op in LAYER_OPS for op in ops) - len(layers),
            "quantize": ops.count("QuantizeLinear"),
            "dequantize": ops.count("DequantizeLinear"),
            "residuals": len(residuals),
            "float_residuals": sum(not self._is_dequantized(name) for name in residuals),
            "activations": np.dtype(self.scheme.activations).name,
            "weight_bits": self.scheme.weight_bits,
            "remainder": "float32" if self.half is None else "float16",
        }

    def _check_parameters(self, node: onnx.NodeProto) -> None:
        """Case 1."""
        scale, _ = self._parameters(node)
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise _broken(node, f"the scale {scale.min():g}", "finite scales above zero")

    def _check_activation(self, node: onnx.NodeProto) -> None:
        """Case 2."""
        scale, zero = self._parameters(node)
        if self.index.is_constant(node.input[0]) and self._is_weight_or_bias(node):
            return
        wanted = np.dtype(self.scheme.activations)
        if zero.dtype != wanted:
            raise _broken(node, f"{zero.dtype} integers", f"{wanted} activations")
        if scale.ndim or zero.ndim:
            raise _broken(node, f"{scale.size} scales", "one scale for an activation")
        if not self.scheme.asymmetric and zero.any():
            raise _broken(node, f"the zero point {int(zero)}", "zero points of 0")
        maker = self.index.producers.get(node.input[0])
        if node.op_type == "DequantizeLinear" and maker is not None:
            self._check_same_scale(node, maker)

    def _moves_pixels(self, maker: onnx.NodeProto) -> bool:
        """Whether integers are a uint8 picture, as it was fed or transposed, swapped or padded since."""
        while maker.op_type in ("Transpose", "Gather", "Concat"):
            sources = self.index.activations(maker)
            if len(sources) != 1 or self.types.get(sources[0]) != TensorProto.UINT8:
                return False
            if sources[0] in self.index.inputs:
                return True
            maker = self.index.producers[sources[0]]
        return False

    def _parameters(self, node: onnx.NodeProto) -> tuple[Array, Array]:
        scale = self.index.array(node.input[1])
        zero = self.index.array(node.input[2]) if len(node.input) > 2 else None
        if scale is None or zero is None:
            raise _broken(node, "a scale or zero point that is not constant", "constants")
        return scale, zero

    def _is_weight_or_bias(self, node: onnx.NodeProto) -> bool:
        name = node.output[0]
        readers = self.index.consumers.get(name, [])
        return any(r.op_type in LAYER_OPS and name in list(r.input)[1:] for r in readers)

    def _check_same_scale(self, node: onnx.NodeProto, maker: onnx.NodeProto) -> None:
        if self._moves_pixels(maker):
            return
        if maker.op_type != "QuantizeLinear":
            raise _broken(node, f"integers from {maker.op_type}", "integers from QuantizeLinear")
        pairs = zip(self._parameters(node), self._parameters(maker), strict=True)
        if all(np.array_equal(mine, its) for mine, its in pairs):
            return
        before = self.index.producers.get(maker.input[0])
        if before is not None and is_look_up(before):
            self._check_gate(node)
        else:
            raise _broken(node, "another scale than its QuantizeLinear", "the same scale on both")

    def _check_gate(self, node: onnx.NodeProto) -> None:
        """A HardSigmoid as a look-up: what it gives lies in 0…1."""
        scale, zero = self._parameters(node)
        limits = np.iinfo(zero.dtype)
        interval = [float(scale) * (limit - int(zero)) for limit in (limits.min, limits.max)]
        if not np.allclose(interval, [0.0, 1.0], atol=1e-5):
            raise _broken(node, f"a gate of {interval[0]:g}…{interval[1]:g}", "0…1")

    def _check_layer(self, node: onnx.NodeProto) -> None:
        """Cases 3 to 5."""
        weights, data = self._dequantizer(node, 1), self._dequantizer(node, 0)
        assert weights is not None  # by it a layer is known
        if data is None:
            raise _broken(node, "a float input", "an input behind DequantizeLinear")
        integers, limit = self.index.array(weights.input[0]), self.scheme.weight_limit
        if integers is None or integers.dtype != np.int8:
            raise _broken(node, "weights that are not constant int8", "constant int8 weights")
        largest = int(np.abs(integers.astype(np.int16)).max(initial=0))
        if largest > limit:
            raise _broken(node, f"a weight of ±{largest}", f"weights within ±{limit}")
        scales, zeros = self._parameters(weights)
        axis, expected = attribute(weights, "axis", 1), _channel_axis(node)
        if scales.ndim != 1 or axis != expected or len(scales) != integers.shape[axis]:
            raise _broken(
                node, f"{scales.size} scales on axis {axis}", f"one per channel of axis {expected}"
            )
        if zeros.any():
            raise _broken(node, f"the weights' zero point {int(zeros.max())}", "zero points of 0")
        if len(node.input) > 2 and node.input[2]:
            self._check_bias(node, self._parameters(data)[0] * scales)
        if self.scheme.runtime == "tensorrt":
            self._check_fusing(node)

    def _check_straight(self, node: onnx.NodeProto) -> None:
        """Case 3: what takes weights through a Cast would compute in float."""
        cast = self.index.producers.get(node.input[1]) if node.op_type in LAYER_OPS else None
        if cast is not None and cast.op_type == "Cast" and self._dequantizer(cast, 0):
            raise _broken(node, "a Cast behind DequantizeLinear", "nothing in between")

    def _check_bias(self, node: onnx.NodeProto, steps: Array) -> None:
        maker = self._dequantizer(node, 2)
        if (maker is not None) != self.scheme.integer_bias:
            kind = "a float" if maker is None else "an int32"
            raise _broken(node, f"{kind} bias", f"the bias that scheme {self.scheme.name} takes")
        if maker is None:
            return
        scales, zeros = self._parameters(maker)
        integers = self.index.array(maker.input[0])
        if integers is None or integers.dtype != np.int32 or zeros.any():
            raise _broken(node, "a bias that is not constant int32", "constant int32, zero point 0")
        if not np.allclose(scales, steps, rtol=1e-6, atol=0):
            raise _broken(node, "another scale of the bias", "data scale times weight scale")

    def _check_fusing(self, node: onnx.NodeProto) -> None:
        for quantizer in self.index.readers(node):
            if quantizer.op_type != "QuantizeLinear":
                continue
            behind = [r for dq in self.index.readers(quantizer) for r in self.index.readers(dq)]
            if behind and all(r.op_type in self.scheme.fused - {"Add"} for r in behind):
                raise _broken(node, f"a scale before {behind[0].op_type}", "no scale in between")

    def _check_type(self, node: onnx.NodeProto) -> None:
        """Case 6."""
        half = any(
            self.types.get(name) == TensorProto.FLOAT16 for name in [*node.input, *node.output]
        )
        if node.name in (self.half or ()):
            if not half:
                raise _broken(node, "no float16", "float16 here")
        elif half and not reads_either(node):
            raise _broken(node, "float16", "float32 here")

    def _residuals(self, layers: Collection[onnx.NodeProto]) -> list[str]:
        if "Add" not in self.scheme.fused:
            return []
        names = {layer.name for layer in layers}
        return list(residual_inputs(self.nodes, self.index, names, ()).values())

    def _dequantizer(self, node: onnx.NodeProto, position: int) -> onnx.NodeProto | None:
        """The DequantizeLinear straight before an input, if there is one."""
        if len(node.input) <= position:
            return None
        maker = self.index.producers.get(node.input[position])
        return maker if maker is not None and maker.op_type == "DequantizeLinear" else None

    def _is_dequantized(self, tensor: str) -> bool:
        maker = self.index.producers.get(tensor)
        return maker is not None and maker.op_type == "DequantizeLinear"


def _channel_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1


def _broken(node: onnx.NodeProto, received: str, expected: str) -> ModelError:
    return ModelError(
        f"the INT8 graph is wrong at node {node.name or node.output[0]!r}",
        received=received,
        expected=expected,
        hint="this is a fault in edgevision: please report it with the model",
    )
