"""What a real TensorRT parser and builder says of float16 files; no GPU needed, nothing is run.

Needs TensorRT for RTX: pip install --no-deps tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
"""

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

from edgevision.converters.fp16.from_onnx import half_remainder, to_half
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import trial_feeds
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT for RTX is not installed"
)

# In a process of its own: the library may crash, and not only fail, on what it does not take.
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
convs = [str(l.get_output(0).dtype) for l in layers if l.type == trt.LayerType.CONVOLUTION]
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(trt.ComputeCapability.SM89, 0)
engine = builder.build_serialized_network(network, config)
print(json.dumps({"convs": convs, "bytes": 0 if engine is None else engine.nbytes}))
"""


def built(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    onnx.save(model, path)
    ended = subprocess.run(
        [sys.executable, "-c", BUILD, str(path)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, Any] = json.loads(ended.stdout)
    return facts


@pytest.fixture
def detector(make_detector: Callable[..., onnx.ModelProto]) -> onnx.ModelProto:
    return clean(make_detector()).model


@pytest.mark.parametrize("measured", [True, False])
def test_a_float16_file_parses_and_builds(
    detector: onnx.ModelProto, tmp_path: Path, measured: bool
) -> None:
    feeds = trial_feeds(detector)
    half = to_half(detector, (lambda: iter(feeds)) if measured else None)
    facts = built(half.model, tmp_path / "half.onnx")
    assert facts["convs"].count("DataType.HALF") == half.report["read_back"]["layers"]
    assert facts["bytes"] > 10_000


def test_an_int8_file_with_a_float16_remainder_parses_and_builds(
    detector: onnx.ModelProto, tmp_path: Path
) -> None:
    feeds = [
        {name: np.abs(array) for name, array in feed.items()} for feed in trial_feeds(detector)
    ]
    measured = calibrate(detector, lambda: iter(feeds), scheme="trt", rounding=False)
    int8 = quantize_calibrated(detector, measured, ranges="minmax", rounding=False).model
    half = half_remainder(int8, lambda: iter(feeds))
    facts = built(half.model, tmp_path / "half.onnx")
    assert facts["convs"].count("DataType.HALF") == half.report["read_back"]["layers"]
    assert facts["bytes"] > 10_000
