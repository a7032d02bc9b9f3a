"""Models that are strange from inside: control flow, several inputs, opsets, NaN, loops without end, plug-ins."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.conversion import Order
from edgevision.converters.convert import convert
from edgevision.converters.graph import limits
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.converters.readers.child import Limits
from edgevision.converters.settings import Overrides
from edgevision.errors import EdgevisionError, GateError, ModelError
from edgevision.progress import Progress

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeOrder = Callable[..., Order]
Shape = Sequence[int | str]

SIDE = 16
CONFIG = f"""task = "classify"
[input]
size = [{SIDE}, {SIDE}]
resize = "stretch"
scale = 0.00392156862745098
mean = [0.0]
std = [1.0]
[output]
decoder = "softmax"
"""
node = helper.make_node


def value(name: str, shape: Shape, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph_of(name: str, nodes: Sequence[onnx.NodeProto], inputs: Any, outputs: Any) -> Any:
    return helper.make_graph(nodes, name, inputs, outputs)


#: ``f``, the mean of each colour.
MEAN = [node("GlobalAveragePool", ["x"], ["p"]), node("Flatten", ["p"], ["f"])]
#: ``p`` after two layers, which together leave the picture as it was.
LAYERS = [
    node("Conv", ["x", "wide"], ["k"]),
    node("Conv", ["k", "narrow"], ["n"]),
    node("GlobalAveragePool", ["n"], ["p"]),
]
CONSTANTS = {
    "one": np.array(1, np.float32),
    "two": np.array(2, np.float32),
    "half": np.array(0.5, np.float32),
    "ten": np.array(10, np.float32),
    "three": np.array(3, np.int64),
    "true": np.array(True),
    "nan": np.array([np.nan, 1, 1], np.float32),
    "wide": np.tile(np.eye(3, dtype=np.float32), (12, 1)).reshape(36, 3, 1, 1),
    "narrow": np.tile(np.eye(3, dtype=np.float32) / 12, (1, 12)).reshape(3, 36, 1, 1),
}


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 17,
    output: Shape = (1, 3),
) -> Path:
    """A model from ``x`` (or ``inputs``) to ``y``."""
    graph = helper.make_graph(
        nodes,
        "g",
        list(inputs) or [value("x", [1, 3, SIDE, SIDE])],
        [value("y", output)],
        [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def looped(count: str, go_on: str) -> list[onnx.NodeProto]:
    """Adds 1 to the colours ``count`` times (an empty name: as long as ``go_on``)."""
    body = graph_of(
        "body",
        [node("Add", ["a", "one"], ["b"]), node("Identity", [go_on], ["again"])],
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("a", [1, 3])],
        [value("again", [], TensorProto.BOOL), value("b", [1, 3])],
    )
    return [*MEAN, node("Loop", [count, "true", "f"], ["y"], body=body)]


def chosen() -> list[onnx.NodeProto]:
    """Twice the colours of a bright picture, those of a dark one as they are."""
    then = graph_of("then", [node("Mul", ["f", "two"], ["t"])], [], [value("t", [1, 3])])
    other = graph_of("other", [node("Identity", ["f"], ["e"])], [], [value("e", [1, 3])])
    return [
        *MEAN,
        node("ReduceMean", ["f"], ["m"], keepdims=0),
        node("Greater", ["m", "half"], ["bright"]),
        node("If", ["bright"], ["y"], then_branch=then, else_branch=other),
    ]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "c.toml").write_text(CONFIG)
    return tmp_path / "c.toml"


def ordered(model: Path, config: Path, **more: Any) -> Order:
    overrides = Overrides(config=config)
    return Order(model, model.with_suffix(".evb"), overrides, golden="none", **more)


def refused(order: Order) -> EdgevisionError:
    with pytest.raises(EdgevisionError) as caught:
        convert(order, Progress(quiet=True))
    assert not order.output.exists()
    return caught.value


def output_of(file: Path, brightness: float) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    picture = np.full((1, 3, SIDE, SIDE), brightness, np.float32)
    found: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: picture})[0]
    return found


# Control flow


def test_a_branch_that_the_picture_decides_is_kept(config: Path, tmp_path: Path) -> None:
    order = ordered(save(tmp_path / "m.onnx", chosen()), config)
    convert(order, Progress(quiet=True))
    file = order.output / "fp32.onnx"
    np.testing.assert_allclose(output_of(file, 0.9), [[1.8] * 3], rtol=1e-5)
    np.testing.assert_allclose(output_of(file, 0.1), [[0.1] * 3], rtol=1e-5)


def test_a_loop_is_kept_or_unrolled(config: Path, tmp_path: Path) -> None:
    order = ordered(save(tmp_path / "m.onnx", looped("three", "c")), config)
    convert(order, Progress(quiet=True))
    np.testing.assert_allclose(output_of(order.output / "fp32.onnx", 0.25), [[3.25] * 3], rtol=1e-5)


def test_a_branch_that_the_picture_decides_is_kept_behind_int8_layers(
    config: Path, tmp_path: Path
) -> None:
    model = save(tmp_path / "m.onnx", LAYERS + chosen()[1:])
    data = _photos(tmp_path)
    order = ordered(model, config, precisions=("int8",), calibration=data, keep_passing=True)
    with pytest.raises(GateError, match="insufficient"):  # 30 pictures of noise prove nothing
        convert(order, Progress(quiet=True))
    cleaned = onnx.load(order.output / "fp32.onnx")
    frames = [np.full((1, 3, SIDE, SIDE), b, np.float32) for b in (0.1, 0.5, 0.9)]
    measured = calibrate(cleaned, lambda: [{"x": frame} for frame in frames], scheme="x86")
    int8 = quantize_calibrated(cleaned, measured, ranges="minmax", rounding=True)
    onnx.save(int8.model, tmp_path / "int8.onnx")
    np.testing.assert_allclose(output_of(tmp_path / "int8.onnx", 0.9), [[1.8] * 3], atol=0.05)
    np.testing.assert_allclose(output_of(tmp_path / "int8.onnx", 0.1), [[0.1] * 3], atol=0.05)


def test_a_branch_that_the_picture_decides_is_kept_in_fp16(config: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", LAYERS + chosen()[1:])
    order = ordered(model, config, precisions=("fp16",))
    convert(order, Progress(quiet=True))
    file = order.output / "fp16.onnx"
    np.testing.assert_allclose(output_of(file, 0.9), [[1.8] * 3], rtol=2e-3)
    np.testing.assert_allclose(output_of(file, 0.1), [[0.1] * 3], rtol=2e-3)


def test_a_loop_without_end_is_stopped(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LONGEST_S", 2.0)
    error = refused(ordered(save(tmp_path / "m.onnx", looped("", "true")), config))
    assert isinstance(error, ModelError)
    assert "longer than 2 s" in error.received
    assert "Loop" in error.hint


# Inputs


def test_several_inputs_for_pictures_ask_which(edgevision: Run, config: Path) -> None:
    inputs = [value("left", [1, 3, SIDE, SIDE]), value("right", [1, 3, SIDE, SIDE])]
    nodes = [node("Add", ["left", "right"], ["x"]), *MEAN, node("Identity", ["f"], ["y"])]
    model = save(config.parent / "m.onnx", nodes, inputs)
    done = edgevision("convert", model, "--config", config, "-o", config.parent / "a.evb")
    assert done.returncode == 1
    for word in ("no single input", "left float32", "right float32", "'tensor' in the input spec"):
        assert word in done.stderr
    config.write_text(CONFIG.replace("[input]\n", '[input]\ntensor = "left"\n'))
    done = edgevision("convert", model, "--config", config, "-o", config.parent / "a.evb", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inputs_fed_with_zeros"] == ["right"]


def test_a_model_without_an_input_for_pictures_is_told_so(config: Path, tmp_path: Path) -> None:
    model = save(tmp_path / "m.onnx", [node("Identity", ["x"], ["y"])], [value("x", [1, 3])])
    error = refused(ordered(model, config))
    assert "no single input for pictures" in error.problem
    assert error.received == "x float32 1×3"


# Opsets


@pytest.mark.parametrize("opset", [1, 4, 7, 9, 13, 21, 24])
def test_opsets_old_and_new_become_bundles(config: Path, tmp_path: Path, opset: int) -> None:
    model = save(tmp_path / "m.onnx", [*MEAN, node("Identity", ["f"], ["y"])], opset=opset)
    order = ordered(model, config)
    convert(order, Progress(quiet=True))
    written = onnx.load(order.output / "fp32.onnx")
    assert written.opset_import[0].version == max(opset, 17)


def test_an_opset_that_onnxruntime_does_not_know_yet_is_named(
    edgevision: Run, config: Path
) -> None:
    model = save(config.parent / "m.onnx", [*MEAN, node("Identity", ["f"], ["y"])], opset=99)
    done = edgevision("convert", model, "--config", config, "-o", config.parent / "a.evb")
    assert done.returncode == 1
    for word in ("opset 99", "onnxruntime", "at most opset", "try:"):
        assert word in done.stderr
    assert not (config.parent / "a.evb").exists()


# NaN


@pytest.mark.parametrize(
    "nodes",
    [
        [*MEAN, node("Sub", ["f", "ten"], ["d"]), node("Log", ["d"], ["y"])],
        [*MEAN, node("Mul", ["f", "nan"], ["y"])],
    ],
    ids=["a logarithm", "weights"],
)
def test_a_model_that_gives_nan_is_refused(
    config: Path, tmp_path: Path, nodes: list[onnx.NodeProto]
) -> None:
    error = refused(ordered(save(tmp_path / "m.onnx", nodes), config))
    assert "'y' is not finite" in error.problem
    assert "in fp32" in error.received


# Files that are none


@pytest.mark.parametrize("option", ["model", "calibration"])
def test_a_pipe_is_refused_and_not_waited_for(
    edgevision: Run, models: Path, tmp_path: Path, option: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    model = pipe if option == "model" else models / "detector.onnx"
    data = [] if option == "model" else ["--precision", "int8", "--calibration", pipe]
    done = edgevision("convert", model, "-o", tmp_path / "a.evb", *data)
    assert done.returncode == 1
    assert "is a pipe" in done.stderr
    assert "try:" in done.stderr


@pytest.mark.parametrize("option", ["MODEL", "--labels", "--config", "--list"])
def test_what_never_ends_is_not_read_to_its_end(
    edgevision: Run, models: Path, tmp_path: Path, option: str
) -> None:
    model = {"MODEL": ["/dev/zero"], "--list": []}.get(option, [models / "plain.onnx"])
    given = [] if option == "MODEL" else [option, "/dev/zero"]
    preset = ["--preset", "yolov8"] if option == "--labels" else []
    done = edgevision("convert", *model, *given, *preset, "-o", tmp_path / "a")
    assert done.returncode == 1
    assert "/dev/zero is " in done.stderr
    assert "expected:" in done.stderr


# Readers


@pytest.mark.parametrize(
    ("body", "limits", "words"),
    [
        ("time.sleep(600)", Limits(4, 4), ["longer than 4 s", "--reader-seconds"]),
        ("bytearray(2 * 2**30)", Limits(60, 1), ["more than 1 GiB", "--reader-memory"]),
    ],
    ids=["hangs", "eats memory"],
)
def test_the_limit_that_a_reader_met_is_named_with_its_option(
    fake_reader: Callable[[str], None], config: Path, body: str, limits: Limits, words: list[str]
) -> None:
    """And not taken for a machine that is too small."""
    with zipfile.ZipFile(config.parent / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    fake_reader(body)
    error = refused(ordered(config.parent / "m.keras", config, limits=limits))
    for word in words:
        assert word in str(error)


def _photos(folder: Path) -> Path:
    place = folder / "photos"
    place.mkdir()
    for number in range(30):
        noise = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3))
        cv2.imwrite(str(place / f"{number}.png"), (noise * (number % 3 + 1) // 3).astype(np.uint8))
    return place
