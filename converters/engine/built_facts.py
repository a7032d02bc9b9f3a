"""What was really built: read back from the builder's network, and from the engine where a GPU can open it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevision.errors import BackendError
from edgevision.trt.library import Log

__all__ = ["LAYERS", "engine_facts", "inspected_types", "network_facts"]

#: The inspector's report of an engine's layers.
LAYERS = "layers.json"
#: Of a tensor in the inspector's report, such as "Channel major FP16 format where channel % 4 == 0" or "Int8".
_TYPE = re.compile(r"\b(Q?Int8|INT8|Half|FP16|Float16|FP32|Float)\b")
#: Layers between a DequantizeLinear and the layer that reads it, which move values and change none.
_PASSING = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")


def network_facts(trt: Any, network: Any) -> dict[str, Any]:
    """What a parser made of an ONNX file.

    Returns:
        ``inputs`` and ``outputs`` {name → element type}, ``layers`` {element type → how many convolutions and matrix
        products give it}, ``int8_layers``: how many of these read both sides from a DequantizeLinear.
    """
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    makers = {
        layer.get_output(place).name: layer
        for layer in layers
        for place in range(layer.num_outputs)
    }
    kinds = (
        trt.LayerType.CONVOLUTION,
        trt.LayerType.DECONVOLUTION,
        trt.LayerType.MATRIX_MULTIPLY,
    )
    found = [layer for layer in layers if layer.type in kinds]
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    return {
        "inputs": {tensor.name: _dtype(tensor.dtype) for tensor in inputs},
        "outputs": {tensor.name: _dtype(tensor.dtype) for tensor in outputs},
        "layers": dict(Counter(_dtype(layer.get_output(0).dtype) for layer in found)),
        "int8_layers": sum(_is_int8(trt, layer, makers) for layer in found),
    }


def _is_int8(trt: Any, layer: Any, makers: Mapping[str, Any]) -> bool:
    """Whether data and weights come from a DequantizeLinear."""
    if layer.num_inputs < 2:
        return False
    passing = tuple(getattr(trt.LayerType, name, None) for name in _PASSING)
    for place in (0, 1):
        tensor = layer.get_input(place)
        maker = None if tensor is None else makers.get(tensor.name)
        while maker is not None and maker.type in passing:
            maker = makers.get(maker.get_input(0).name)
        if maker is None or maker.type != trt.LayerType.DEQUANTIZE:
            return False
    return True


def engine_facts(trt: Any, log: Log, data: memoryview, folder: Path) -> dict[str, Any]:
    """Opens an engine on the GPU at hand, and leaves the inspector's report of its layers in ``folder / LAYERS``.

    Returns:
        ``inputs`` and ``outputs`` {name → element type}, ``types`` as `inspected_types` counts them.

    Raises:
        BackendError: It cannot be opened.
    """
    runtime = log.made("a runtime", lambda: trt.Runtime(log.logger))
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise BackendError(
            "the engine that was built cannot be opened",
            received=log.take(),
            hint="see whether other programs use the GPU's memory, and build again",
        )
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    sides: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
    for name in names:
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        sides["inputs" if is_input else "outputs"][name] = _dtype(engine.get_tensor_dtype(name))
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    (folder / LAYERS).write_text(text, encoding="utf-8")
    return {**sides, "types": inspected_types(text)}


def inspected_types(text: str) -> dict[str, int]:
    """Element types in an inspector's report, as it writes them → how many tensors have them."""
    try:
        layers = json.loads(text).get("Layers") or ()
    except (ValueError, AttributeError):
        return {}
    found: Counter[str] = Counter()
    for layer in (layer for layer in layers if isinstance(layer, dict)):
        tensors = [*(layer.get("Inputs") or ()), *(layer.get("Outputs") or ())]
        for tensor in (tensor for tensor in tensors if isinstance(tensor, dict)):
            written = str(tensor.get("Format/Datatype", tensor.get("Datatype", "")))
            found.update(_TYPE.findall(written)[-1:])
    return dict(found)


def _dtype(kind: Any) -> str:
    """numpy's name of TensorRT's element type."""
    names = {"HALF": "float16", "FLOAT": "float32", "BF16": "bfloat16", "FP8": "float8_e4m3fn"}
    return names.get(kind.name, str(kind.name).lower())
