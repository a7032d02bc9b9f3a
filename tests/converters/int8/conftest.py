"""What the tests of INT8 share: small graphs, frames, and looks at what onnxruntime makes of a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from edgevision.assets import DETECTOR
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.calibrate import Calibration, calibrate
from edgevision.converters.int8.from_onnx import Quantized, quantize_calibrated
from edgevision.converters.int8.harm import Harm, tensor_harm, weight_harm
from edgevision.converters.int8.remainder import with_half_remainder


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    """The functions below."""
    return sys.modules[__name__]


Feeds = Callable[[], Iterator[dict[str, np.ndarray]]]


BODY = """g (float[1,3,16,16] x) => (float[1,8,8,8] y, float[1,8,8,8] s) {
    a = Conv<pads=[1,1,1,1]>(x, w0, b0)
    r = Relu(a)
    d = Conv<pads=[1,1,1,1], group=16>(r, w1, b1)
    six = Clip(d, zero, top)
    p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(six)
    l = Conv(p, w2)
    k = LeakyRelu<alpha=0.1>(l)
    m = Conv<pads=[1,1,1,1]>(k, w3, b3)
    n = Add(m, k)
    q = Relu(n)
    y = Conv(q, w4, b4)
    s = Sigmoid(y) }"""


def graph(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return model


def normal(*shape: int) -> np.ndarray:
    fan_in = int(np.prod(shape[1:])) or 1
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return (values / np.sqrt(fan_in)).astype(np.float32)


def body() -> onnx.ModelProto:
    return graph(
        BODY,
        w0=normal(16, 3, 3, 3), b0=normal(16, 1)[:, 0], w1=normal(16, 1, 3, 3),
        b1=normal(16, 1)[:, 0], w2=normal(16, 16, 1, 1), w3=normal(16, 16, 3, 3),
        b3=normal(16, 1)[:, 0], w4=normal(8, 16, 1, 1), b4=normal(8, 1)[:, 0],
        zero=np.array(0, np.float32), top=np.array(6, np.float32),
    )  # fmt: skip


def noise(*shape: int, count: int = 12) -> Feeds:
    def feeds() -> Iterator[dict[str, np.ndarray]]:
        generator = np.random.default_rng(7)
        for _ in range(count):
            yield {"x": generator.normal(size=shape).astype(np.float32)}

    return feeds


FRAMES = noise(1, 3, 16, 16)


def quantize(
    model: onnx.ModelProto,
    feeds: Feeds,
    *,
    scheme: str,
    ranges: str = "minmax",
    rounding: bool = True,
    exclude: Sequence[str] = (),
) -> Quantized:
    measured = calibrate(model, feeds, scheme=scheme, rounding=rounding, exclude=exclude)
    return quantize_calibrated(model, measured, ranges=ranges, rounding=rounding)


def snr_db(expected: np.ndarray, actual: np.ndarray) -> float:
    lost = np.square(expected - actual).sum()
    return float(10 * np.log10(np.square(expected).sum() / max(lost, 1e-20)))


def agreement(
    model: onnx.ModelProto, quantized: onnx.ModelProto, feeds: Feeds, output: str
) -> float:
    pairs = [(run_once(model, f)[output], run_once(quantized, f)[output]) for f in feeds()]
    return snr_db(*(np.stack(side) for side in zip(*pairs, strict=True)))


def ops(graph: onnx.GraphProto) -> list[str]:
    return [n.op_type for n in graph.node]


def executed(
    model: onnx.ModelProto, tmp_path: Path, *, everything: bool = False, signed: bool = False
) -> onnx.GraphProto:
    """The nodes that onnxruntime really runs, before layouts are changed for this very processor.

    Args:
        model: The model.
        tmp_path: Where to write them.
        everything: With those changes.
        signed: As on ARM.
    """
    level = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = (
        level.ORT_ENABLE_ALL if everything else level.ORT_ENABLE_EXTENDED
    )
    options.add_session_config_entry("session.qdqisint8allowed", str(int(signed)))
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(str(tmp_path / "optimized.onnx")).graph


def computed_in_float(run: onnx.GraphProto) -> set[str]:
    """Names of the nodes that onnxruntime feeds with floats, conversions to integers left out."""
    makers = {name: node for node in run.node for name in node.output}
    integer = set()
    for node in run.node:
        first = makers.get(node.input[0])
        if node.op_type.startswith(("Q", "MatMulInteger")) or (
            node.op_type != "DequantizeLinear" and first is not None and first.name in integer
        ):
            integer.add(node.name)
    conversions = ("QuantizeLinear", "DequantizeLinear")
    return {n.name for n in run.node if n.op_type not in conversions} - integer


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def scale_into(model: onnx.ModelProto, tensor: str) -> float:
    """The scale of the DequantizeLinear that gives ``tensor``."""
    node = next(n for n in model.graph.node if tensor in n.output)
    assert node.op_type == "DequantizeLinear"
    return float(constants(model)[node.input[1]])


def video_frames(file: Path, count: int) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(file))
    frames = [capture.read()[1] for _ in range(count)]
    capture.release()
    return frames


def halved(model: onnx.ModelProto, feeds: Feeds, exclude: tuple[str, ...] = ()) -> Quantized:
    measured = calibrate(model, feeds, scheme="trt", rounding=False)
    made = quantize_calibrated(model, measured, ranges="minmax", rounding=False, exclude=exclude)
    return with_half_remainder(made, feeds)


SIZES = {
    "nanodet": (416, 416),
    "efficientnet-lite0": (224, 224),
    "centerface": (256, 320),
    "garments": (640, 640),
}


def real(name: str, data: Path) -> tuple[onnx.ModelProto, Feeds]:
    """A real model, cleaned, and three frames of a street as its training took them."""
    size = SIZES[name]
    raw = load(DETECTOR if name == "garments" else data / "models" / f"{name}.onnx")
    given = {t.name for t in raw.graph.initializer}
    entry = next(v.name for v in raw.graph.input if v.name not in given)
    mean, deviation = {
        "nanodet": ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
        "efficientnet-lite0": ((127,) * 3, (128,) * 3),
        "garments": ((0,) * 3, (255,) * 3),
    }.get(name, ((0,) * 3, (1,) * 3))
    capture = cv2.VideoCapture(str(data / "video" / "vtest.avi"))
    frames = [cv2.resize(capture.read()[1], size[::-1]) for _ in range(3)]
    capture.release()
    order = slice(None) if name == "nanodet" else slice(None, None, -1)
    arrays = [
        ((f[..., order].astype(np.float32) - mean) / deviation)
        .astype(np.float32).transpose(2, 0, 1)[None]
        for f in frames
    ]  # fmt: skip
    model = clean(raw, shapes={entry: (1, 3, *size)}).model
    return model, lambda: ({entry: a} for a in arrays)


#: Layers of `six_layers`.
SIX = 6


def six_layers() -> onnx.ModelProto:
    """Six convolutions in a row; the third reads values of which one channel is 30 times the others."""
    random = np.random.default_rng(5)
    body = "\n".join(
        f"c{i} = Conv<pads=[1,1,1,1]>({'x' if i == 0 else f'r{i - 1}'}, w{i})\nr{i} = Relu(c{i})"
        for i in range(SIX)
    )
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,8,12,12] x) => (float[1,8,12,12] y) {'
        f"{body}\ny = Identity(r{SIX - 1}) }}"
    )
    for i in range(SIX):
        weights = random.normal(0, 1 / np.sqrt(72), (8, 8, 3, 3)).astype(np.float32)
        if i == 1:
            weights[0] *= 30
        if i == 2:
            weights[:, 0] /= 30
        model.graph.initializer.append(numpy_helper.from_array(weights, f"w{i}"))
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return clean(model).model


def six_layers_frames(count: int = 6) -> Iterator[dict[str, np.ndarray]]:
    """One buffer, filled anew for each frame, as the feeds of a conversion are."""
    random = np.random.default_rng(7)
    buffer = np.empty((1, 8, 12, 12), np.float32)
    for _ in range(count):
        buffer[...] = random.normal(size=buffer.shape)
        yield {"x": buffer}


def six_layers_harm(model: onnx.ModelProto, measured: Calibration, count: int = 3) -> Harm:
    feeds = [{"x": np.array(feed["x"])} for feed in six_layers_frames(count)]
    return Harm(
        weight_harm(model, measured, feeds, rounding=False),
        tensor_harm(model, measured, feeds, ["minmax"])["minmax"],
    )
