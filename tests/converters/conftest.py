"""Small real models, pictures and videos to convert, and the command that converts them.

The detector finds squares of 8×8 pixels in the cells of a 64×64 picture: red ones are class 0, green ones
class 1. Its weights are made by hand, so where every square is and what a box should be is known.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.conversion import Conversion, Order
from edgevision.converters.convert import convert
from edgevision.converters.readers import KINDS, Kind
from edgevision.converters.settings import Overrides
from edgevision.progress import Progress

SIDE, STRIDE, BINS, WIDTH = 64, 8, 8, 16
CELLS = SIDE // STRIDE
ULTRALYTICS = {
    "task": "detect",
    "names": "{0: 'red', 1: 'green'}",
    "imgsz": "[64, 64]",
    "stride": "8",
}

Weights = dict[str, NDArray[Any]]
Scene = tuple[NDArray[np.uint8], list[tuple[int, float, float, float, float]]]


def _kernel(seed: int, out: int, side: int) -> NDArray[np.float32]:
    """Small noise, and the two colour channels passed on as their mean."""
    noise = np.random.default_rng(seed).normal(0, 0.15, (out, WIDTH, side, side))
    noise[:2] = 0
    for channel in (0, 1):
        noise[channel, channel] = 1 / side**2
    return noise.astype(np.float32)


def _weights(classes: int) -> Weights:
    random = np.random.default_rng(3)
    first = random.normal(0, 0.3, (WIDTH, 3, 3, 3))
    first[:2] = 0
    first[0, :, 1, 1] = (1, -0.5, -0.5)  # how red
    first[1, :, 1, 1] = (-0.5, 1, -0.5)  # how green
    classify = np.zeros((classes, WIDTH, 1, 1))
    classify[0, 0], classify[1, 1] = 12, 12
    # Half a cell each way: the mean of the first two bins.
    distances = np.full((4, BINS), -6.0)
    distances[:, :2] = 6
    grid = np.stack(np.meshgrid(np.arange(CELLS), np.arange(CELLS))).reshape(1, 2, -1) + 0.5
    floats = {
        "w1": first, "b1": np.zeros(WIDTH),
        "w2": _kernel(4, WIDTH, 2), "w3": _kernel(5, WIDTH, 2), "w4": _kernel(6, WIDTH, 2),
        "wc": classify, "bc": np.full(classes, -5.0),
        "wd": random.normal(0, 0.02, (4 * BINS, WIDTH, 1, 1)), "bd": distances.reshape(-1),
        "bins": np.arange(BINS).reshape(1, BINS, 1, 1), "grid": grid,
        "two": np.array(2), "stride": np.array(STRIDE),
    }  # fmt: skip
    return {name: value.astype(np.float32) for name, value in floats.items()} | {
        "to_classes": np.array([1, classes, -1]),
        "to_bins": np.array([1, 4, BINS, -1]),
        "to_sides": np.array([1, 4, -1]),
        "halves": np.array([2, 2]),
    }


def _body(strides: Sequence[int] = (1, 2, 2, 2)) -> list[onnx.NodeProto]:
    nodes, last = [], "images"
    for number, stride in enumerate(strides, 1):
        pads = [1, 1, 1, 1] if number == 1 else [0, 0, 0, 0]
        inputs = [last, f"w{number}", *(["b1"] if number == 1 else [])]
        conv = helper.make_node("Conv", inputs, [f"c{number}"], strides=[stride] * 2, pads=pads)
        nodes += [conv, helper.make_node("Relu", [f"c{number}"], [f"r{number}"])]
        last = f"r{number}"
    return nodes


def _head() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Conv", ["r4", "wc", "bc"], ["class_map"]),
        node("Reshape", ["class_map", "to_classes"], ["logits"]),
        node("Sigmoid", ["logits"], ["scores"]),
        node("Conv", ["r4", "wd", "bd"], ["side_map"]),
        node("Reshape", ["side_map", "to_bins"], ["side_bins"]),
        node("Transpose", ["side_bins"], ["bins_first"], perm=[0, 2, 1, 3]),
        node("Softmax", ["bins_first"], ["shares"], axis=1),
        node("Conv", ["shares", "bins"], ["mean_bin"]),
        node("Reshape", ["mean_bin", "to_sides"], ["sides"]),
        node("Split", ["sides", "halves"], ["before", "after"], axis=1),
        node("Sub", ["grid", "before"], ["low"]),
        node("Add", ["grid", "after"], ["high"]),
        node("Add", ["low", "high"], ["sum"]),
        node("Div", ["sum", "two"], ["centre"]),
        node("Sub", ["high", "low"], ["size"]),
        node("Concat", ["centre", "size"], ["cells"], axis=1),
        node("Mul", ["cells", "stride"], ["boxes"]),
        node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]


def _model(
    nodes: Sequence[onnx.NodeProto],
    weights: Weights,
    shape: Sequence[int | str],
    output: Sequence[int | str],
    metadata: dict[str, str],
) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(v, n) for n, v in weights.items() if n in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return model


@pytest.fixture(scope="session")
def make_detector() -> Callable[..., onnx.ModelProto]:
    """A detector with the YOLOv8 layout, 1×3×64×64 → 1×(4+classes)×64."""

    def make(
        metadata: dict[str, str] | None = None, classes: int = 2, **changed: NDArray[Any]
    ) -> onnx.ModelProto:
        return _model(
            _body() + _head(),
            _weights(classes) | changed,
            [1, 3, SIDE, SIDE],
            [1, 4 + classes, CELLS**2],
            ULTRALYTICS if metadata is None else metadata,
        )

    return make


@pytest.fixture(scope="session")
def make_classifier() -> Callable[..., onnx.ModelProto]:
    """Logits of red, green and neither, from the mean of the picture; works at any size."""

    def make(shape: Sequence[int | str] = (1, 3, SIDE, SIDE)) -> onnx.ModelProto:
        nodes = [
            *_body((1, 2)),
            helper.make_node("GlobalAveragePool", ["r2"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["features"]),
            helper.make_node("Gemm", ["features", "wg", "bg"], ["output0"], transB=1),
        ]
        dense = np.zeros((3, WIDTH), np.float32)
        dense[0, 0], dense[1, 1] = 200, 200
        weights = _weights(2) | {"wg": dense, "bg": np.array([0, 0, 0.5], np.float32)}
        return _model(nodes, weights, shape, [shape[0], 3], {})

    return make


@pytest.fixture(scope="session")
def models(
    tmp_path_factory: pytest.TempPathFactory,
    make_detector: Callable[..., onnx.ModelProto],
    make_classifier: Callable[..., onnx.ModelProto],
) -> Path:
    """``detector.onnx``, ``plain.onnx`` (the same without metadata), ``classifier.onnx``, ``dynamic.onnx``."""
    folder = tmp_path_factory.mktemp("models")
    onnx.save(make_detector(), folder / "detector.onnx")
    onnx.save(make_detector({}), folder / "plain.onnx")
    onnx.save(make_classifier(), folder / "classifier.onnx")
    onnx.save(make_classifier((1, 3, "height", "width")), folder / "dynamic.onnx")
    return folder


@pytest.fixture(scope="session")
def draw() -> Callable[..., Scene]:
    """One picture and its squares as ``(class, x1, y1, x2, y2)`` in pixels."""

    def draw_one(seed: int, squares: int = 5, zoom: int = 1, *, faint: bool = False) -> Scene:
        random = np.random.default_rng(seed)
        image = np.repeat(random.integers(60, 140, (SIDE, SIDE, 1)), 3, axis=2).astype(np.uint8)
        truth = []
        for cell in random.choice(CELLS**2, squares, replace=False):
            row, column = divmod(int(cell), CELLS)
            kind = int(random.integers(2))
            strength = random.uniform(0.33, 0.4) if faint else random.uniform(0.7, 1)
            y, x = row * STRIDE, column * STRIDE
            image[y : y + STRIDE, x : x + STRIDE] = 0
            image[y : y + STRIDE, x : x + STRIDE, 2 - kind] = round(255 * strength)
            box = np.array([x, y, x + STRIDE, y + STRIDE]) * zoom
            truth.append((kind, *box.astype(float).tolist()))
        return image.repeat(zoom, axis=0).repeat(zoom, axis=1), truth

    return draw_one


@pytest.fixture(scope="session")
def write_pictures(draw: Callable[..., Scene]) -> Callable[..., Path]:
    def write(folder: Path, count: int, **drawn: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            cv2.imwrite(str(folder / f"{number:04d}.png"), draw(number, **drawn)[0])
        return folder

    return write


@pytest.fixture(scope="session")
def write_video(draw: Callable[..., Scene]) -> Callable[..., Path]:
    """A lossless video."""

    def write(path: Path, count: int, **drawn: Any) -> Path:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 10, (SIDE, SIDE))
        assert writer.isOpened()
        for number in range(count):
            writer.write(draw(number, **drawn)[0])
        writer.release()
        return path

    return write


@pytest.fixture(scope="session")
def data(
    tmp_path_factory: pytest.TempPathFactory,
    write_pictures: Callable[..., Path],
    write_video: Callable[..., Path],
) -> Path:
    """``pictures/`` (160), ``few/`` (12), ``clip.avi`` (160 frames), ``faint.avi`` (squares near the threshold)."""
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "pictures", 160)
    write_pictures(folder / "few", 12)
    write_video(folder / "clip.avi", 160)
    write_video(folder / "faint.avi", 160, faint=True)
    return folder


@pytest.fixture(scope="session")
def order(models: Path, data: Path) -> Callable[..., Order]:
    """An order for the detector; keywords change it."""

    def make(output: Path, **changed: Any) -> Order:
        plain = Order(
            model=models / "detector.onnx",
            output=output,
            precisions=("int8",),
            calibration=data / "clip.avi",
            samples=64,
        )
        names = [name for name in changed if name in Overrides.__dataclass_fields__]
        overrides = Overrides(**{name: changed.pop(name) for name in names})
        return replace(plain, overrides=overrides, **changed)

    return make


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory, order: Callable[..., Order]) -> Conversion:
    """One conversion for all who only look: int8 for x86 and TensorRT, on the video."""
    output = tmp_path_factory.mktemp("converted") / "squares.evb"
    return convert(order(output, targets=("x86", "trt")), Progress(quiet=True))


@pytest.fixture(scope="session")
def edgevision() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The real command, as a user starts it."""
    command = Path(sys.executable).with_name("edgevision")

    def run(
        *arguments: object, cwd: Path | None = None, seconds: float = 120, **environment: str
    ) -> Any:
        return subprocess.run(
            [str(command), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            env=os.environ | environment,
        )

    return run


@pytest.fixture
def fake_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the body of a function ``read(request, folder)`` the reader of ``.keras`` files."""

    def install(body: str) -> None:
        lines = "\n".join("    " + line for line in body.splitlines())
        source = f"import os, time\n\ndef read(request, folder):\n{lines}\n"
        (tmp_path / "fake_reader.py").write_text(source)
        kind = Kind("a fake model", "Fake", "numpy", (1, 0), "fake", "fake_reader")
        monkeypatch.setitem(KINDS, "keras", kind)
        monkeypatch.syspath_prepend(str(tmp_path))  # spawn hands it on to the child
        sys.modules.pop("fake_reader", None)

    return install
