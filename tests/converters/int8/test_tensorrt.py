"""What a real TensorRT parser and builder says of int8-trt; no GPU needed, nothing is run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from edgevision.converters.graph.index import elem_types
from edgevision.converters.int8.read_back import read_back
from edgevision.errors import ModelError

BUILD = """
import json, sys
import tensorrt_rtx_bindings as trt
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
if not parser.parse_from_file(sys.argv[1]):
    sys.exit(str([str(parser.get_error(i)) for i in range(parser.num_errors)]))
layers = [network.get_layer(i) for i in range(network.num_layers)]
kinds = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION)
convs = [str(l.get_output(0).dtype) for l in layers if l.type in kinds]
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
engine = builder.build_serialized_network(network, config)
print(json.dumps({"convs": convs, "bytes": 0 if engine is None else engine.nbytes}))
"""

needs_tensorrt = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None,
    reason="TensorRT for RTX is not installed: "
    "pip install --no-deps tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116",
)


REAL = ("nanodet", "efficientnet-lite0", "centerface", "garments")


@needs_tensorrt
@pytest.mark.parametrize("name", REAL)
def test_tensorrt_parses_and_builds_real_models(
    name: str, kit: Any, test_data: Path, tmp_path: Path
) -> None:
    model, feeds = kit.real(name, test_data)
    made = kit.halved(model, feeds).model
    onnx.save(made, tmp_path / "trt.onnx")
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path / "trt.onnx")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    facts = json.loads(ended.stdout)
    convs = [n for n in made.graph.node if n.op_type in ("Conv", "ConvTranspose")]
    half = sum(elem_types(made)[n.output[0]] == TensorProto.FLOAT16 for n in convs)
    assert facts["convs"].count("DataType.HALF") == half >= len(convs) - 4, (
        "the decode tail may stay"
    )
    assert facts["bytes"] > 1_000_000


# What the parser refuses, our own read_back must find before it.
REFUSED: dict[str, Callable[[onnx.ModelProto], None]] = {}


def refused(change: Callable[[onnx.ModelProto], None]) -> Callable[[onnx.ModelProto], None]:
    REFUSED[change.__name__] = change
    return change


def replace(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


@refused
def zero_point_of_an_activation(model: onnx.ModelProto) -> None:
    replace(model, "x/zero", np.array(3, np.int8))


@refused
def zero_point_of_weights(model: onnx.ModelProto) -> None:
    replace(model, "node_y/weights/zeros", np.ones(8, np.int8))


@refused
def unsigned_weights(model: onnx.ModelProto) -> None:
    replace(model, "node_y/weights/integers", np.ones((8, 16, 1, 1), np.uint8))
    replace(model, "node_y/weights/zeros", np.zeros(8, np.uint8))


@refused
def integer_bias(model: onnx.ModelProto) -> None:
    nodes = {n.name: n for n in model.graph.node}
    layer, weights = nodes["node_y"], nodes["node_y/weights/dequantize"]
    place = list(model.graph.node).index(layer)
    for name, value in (("bias_i", np.ones(8, np.int32)), ("bias_z", np.zeros(8, np.int32))):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    bias = onnx.helper.make_node(
        "DequantizeLinear", ["bias_i", weights.input[1], "bias_z"], ["bias"], name="bias", axis=0
    )
    layer.input[2] = "bias"
    model.graph.node.insert(place, bias)


@needs_tensorrt
@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_what_tensorrt_refuses_is_found_when_reading_back(
    change: Callable[[onnx.ModelProto], None], kit: Any, tmp_path: Path
) -> None:
    made = kit.halved(kit.body(), kit.FRAMES)
    change(made.model)
    with pytest.raises(ModelError):
        read_back(made.model, "trt", half=made.report["half"])
    onnx.save(made.model, tmp_path / "broken.onnx")
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path / "broken.onnx")],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode != 0, "TensorRT takes it now"
