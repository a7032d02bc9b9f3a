"""Models so small that their results can be worked out by hand, bundles made of them, and ways to run them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision import cli
from edgevision.backends import BackendOptions, Session
from edgevision.backends.fake import FakeBackend
from edgevision.backends.ort import OrtBackend
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.clock import now_ns
from edgevision.frame import Frame, Image
from edgevision.golden import golden_record
from edgevision.metadata import KEY, variant_metadata
from edgevision.model import load_variant
from edgevision.sources import SourceInfo
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant

LABELS = ("red", "green", "blue")
#: Blue-green-red, as OpenCV has it.
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0)}
NAMES = "{0: 'red', 1: 'green', 2: 'blue'}"


def _save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, list[Any]]],
    outputs: Sequence[tuple[str, int, list[Any]]],
    constants: dict[str, Any] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def detector(
    path: Path,
    *,
    size: tuple[int, int] | None = (64, 64),
    batch: int = 1,
    metadata: dict[str, str] | None = None,
    gain: float = 1.0,
) -> Path:
    """A detector of coloured squares with YOLOv8's layout and the metadata of Ultralytics' exporter.

    On a grid of 8 pixels, each 16×16 window is a box. Its score for red is the mean over the window of
    ``red − (green + blue) / 2`` where that is positive, likewise for the others. A pure square of 16×16
    pixels on black whose corner lies on the grid scores 1 there and 1/2 in the four windows beside it.
    """
    opposed = np.array([[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]], np.float32) * gain
    node = helper.make_node
    nodes = [
        node("Conv", ["images", "opposed"], ["mixed"]),
        node("Relu", ["mixed"], ["purity"]),
        node("AveragePool", ["purity"], ["scores"], kernel_shape=[16, 16], strides=[8, 8]),
        node("Slice", ["scores", "zero", "one", "one"], ["first"]),
        node("Sub", ["first", "first"], ["nothing"]),
        node("Add", ["nothing", "eight"], ["step"]),
        node("CumSum", ["step", "x_axis"], ["x"]),
        node("CumSum", ["step", "y_axis"], ["y"]),
        node("Add", ["step", "eight"], ["side"]),
        node("Concat", ["x", "y", "side", "side", "scores"], ["grid"], axis=1),
        node("Reshape", ["grid", "shape"], ["output0"]),
    ]
    height, width = size or ("height", "width")
    anchors = "anchors" if size is None else (size[0] // 8 - 1) * (size[1] // 8 - 1)
    told = {"task": "detect", "names": NAMES, "stride": "8"}
    if size is not None:
        told["imgsz"] = str(list(size))
    return _save(
        path,
        nodes,
        [("images", TensorProto.FLOAT, [batch, 3, height, width])],
        [("output0", TensorProto.FLOAT, [batch, 7, anchors])],
        {
            "opposed": opposed.reshape(3, 3, 1, 1),
            "zero": np.array([0]),
            "one": np.array([1]),
            "eight": np.float32(8),
            "x_axis": np.int64(3),
            "y_axis": np.int64(2),
            "shape": np.array([0, 7, -1]),
        },
        told if metadata is None else metadata,
    )


def _own(spec: ModelSpec) -> dict[str, str]:
    return {KEY: variant_metadata("fp32", "fp32", spec)}


def _plain(side: int, dtype: str = "float32", layout: str = "nchw") -> InputSpec:
    return InputSpec((side, side), resize="stretch", scale=1.0, dtype=dtype, layout=layout)


_CLASSES = OutputSpec("softmax", {"activation": "none"})


def classifier(path: Path) -> Path:
    """NHWC, int32, 8×8: the score of a class is the mean of its channel, 0…255."""
    node = helper.make_node
    return _save(
        path,
        [
            node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
            node("ReduceMean", ["real"], ["scores"], axes=[1, 2], keepdims=0),
        ],
        [("pixels", TensorProto.INT32, [1, 8, 8, 3])],
        [("scores", TensorProto.FLOAT, [1, 3])],
        metadata=_own(ModelSpec("classify", _plain(8, "int32", "nhwc"), _CLASSES, LABELS)),
    )


def two_inputs(path: Path) -> Path:
    """The means of an 8×8 picture's channels plus a second input."""
    node = helper.make_node
    return _save(
        path,
        [
            node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
            node("Add", ["mean", "bias"], ["scores"]),
        ],
        [("image", TensorProto.FLOAT, [1, 3, 8, 8]), ("bias", TensorProto.FLOAT, [1, 3])],
        [("scores", TensorProto.FLOAT, [1, 3])],
        metadata=_own(ModelSpec("classify", _plain(8), _CLASSES, LABELS)),
    )


def bright_pixels(path: Path) -> Path:
    """Where an 8×8 picture is brighter than 100: int64 ``(4, N)``, a shape that depends on the data."""
    node = helper.make_node
    return _save(
        path,
        [
            node("Greater", ["image", "limit"], ["bright"]),
            node("NonZero", ["bright"], ["places"]),
            node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0),
        ],
        [("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [("places", TensorProto.INT64, [4, "found"]), ("scores", TensorProto.FLOAT, [1, 3])],
        {"limit": np.float32(100)},
        _own(ModelSpec("classify", _plain(8), _CLASSES, LABELS)),
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Paths of the small models; ``make_detector`` makes others."""
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        detector=detector(folder / "squares.onnx"),
        dynamic=detector(folder / "any_size.onnx", size=None),
        batched=detector(folder / "batched.onnx", size=(32, 32), batch=2),
        classifier=classifier(folder / "colours.onnx"),
        two_inputs=two_inputs(folder / "two_inputs.onnx"),
        bright=bright_pixels(folder / "bright.onnx"),
        make_detector=detector,
        labels=LABELS,
        names=NAMES,
    )


def square(
    colour: str = "red",
    at: tuple[int, int] = (16, 24),
    size: tuple[int, int] = (64, 64),
    side: int = 16,
) -> Image:
    """A black picture of ``(height, width)`` with one square, its upper left corner at ``(x, y)``."""
    image = np.zeros((*size, 3), np.uint8)
    image[at[1] : at[1] + side, at[0] : at[0] + side] = COLOURS[colour]
    return image


@pytest.fixture(scope="session")
def draw_square() -> Callable[..., Image]:
    return square


@dataclass
class ListSource:
    """Pictures from memory; an exception in the list is raised when its turn comes."""

    images: Iterable[Any]
    live: bool = False
    problems: list[str] = field(default_factory=list)
    cancelled: bool = False
    closed: int = 0
    given: int = 0

    def open(self) -> SourceInfo:
        self._left = iter(self.images)
        return SourceInfo("list", 64, 64, 10.0, None)

    def read(self, into: Frame) -> bool:
        image = None if self.cancelled else next(self._left, None)
        if image is None:
            return False
        if isinstance(image, Exception):
            raise image
        into.image, into.index, into.pts_s = image, self.given, self.given / 10
        into.captured_ns = now_ns()
        self.given += 1
        return True

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="session")
def list_source() -> type[ListSource]:
    return ListSource


@pytest.fixture
def session() -> Iterator[Callable[..., Session]]:
    """Opens a model file in a backend (``ort``, or ``fake``); keywords are its options."""
    opened = []

    def open_it(path: Path, backend: str = "ort", **options: Any) -> Session:
        bundle = open_bundle(path)
        engine: Any = FakeBackend() if backend == "fake" else OrtBackend()
        opened.append(engine.open(choose(bundle).variant, BackendOptions(**options)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture
def load() -> Iterator[Callable[..., Any]]:
    """A `Model` of a file or bundle; keywords are the engine's options, ``params`` the decoder's."""
    opened = []

    def load_it(
        path: Path, backend: str = "ort", params: dict[str, Any] | None = None, **options: Any
    ) -> Any:
        bundle = open_bundle(path)
        options_ = BackendOptions(**options)
        opened.append(
            load_variant(bundle, choose(bundle), options_, backend=backend, params=params)
        )
        return opened[-1]

    yield load_it
    for one in opened:
        one.close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_bundle(folder: Path, model: Path, *, golden: Sequence[Image] = ()) -> Path:
    """A bundle made by hand of one model: its only variant, ``fp32``, and golden frames."""
    (folder / "golden").mkdir(parents=True)
    (folder / "fp32.onnx").write_bytes(model.read_bytes())
    spec = open_bundle(model).variants.values().__iter__().__next__().spec
    manifest: dict[str, Any] = {
        "schema": 1,
        "name": folder.stem,
        "task": spec.task,
        "labels": list(spec.labels),
        "default": {"x86": "fp32", "arm": "fp32"},
        "files": {},
        "variants": [
            {
                "id": "fp32",
                "file": "fp32.onnx",
                "precision": "fp32",
                "sha256": sha256(folder / "fp32.onnx"),
                "opset": 17,
                "targets": [],
                "verified": [],
                "input": spec.input.to_dict(),
                "output": spec.output.to_dict(),
            }
        ],
    }
    if golden:
        bundle = open_bundle(model)
        with load_variant(bundle, choose(bundle), BackendOptions()) as loaded:
            records = [golden_record(loaded, image) for image in golden]
        frames = [f"golden/{number:03d}.png" for number in range(len(golden))]
        for name, image in zip(frames, golden, strict=True):
            cv2.imwrite(str(folder / name), image)
        (folder / "golden/fp32.json").write_text(json.dumps({"frames": records}))
        manifest["golden"] = {"frames": frames, "results": {"fp32": "golden/fp32.json"}}
        for name in [*frames, "golden/fp32.json"]:
            manifest["files"][name] = sha256(folder / name)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def bundle(tmp_path: Path, models: SimpleNamespace) -> Path:
    """A good bundle of the detector with two golden frames; the test's own, to be damaged."""
    golden = [square("red"), square("blue", (32, 8))]
    return write_bundle(tmp_path / "squares.evb", models.detector, golden=golden)


@pytest.fixture(scope="session")
def edit_manifest() -> Callable[..., None]:
    """Changes a bundle's manifest by a function of it."""

    def edit(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return edit


@pytest.fixture(scope="session")
def rehash() -> Callable[[Path], None]:
    """Makes a bundle's hashes those of its files, as someone who tampers with it would."""

    def update(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
        for variant in manifest["variants"]:
            variant["sha256"] = sha256(folder / variant["file"])
        path.write_text(json.dumps(manifest))

    return update


@pytest.fixture(scope="session")
def variant_of() -> Callable[[Path], Variant]:
    return lambda path: choose(open_bundle(path)).variant


def write_video(
    path: Path, images: Iterable[Image], *, fps: float = 10, codec: str = "MJPG"
) -> Path:
    """A video of pictures of one size."""
    writer = None
    for image in images:
        if writer is None:
            size = (image.shape[1], image.shape[0])
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size)
            assert writer.isOpened()
        writer.write(image)
    if writer is not None:
        writer.release()
    return path


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    return write_video


@pytest.fixture(scope="session")
def squares_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames, 10 frames/s: a red square that moves right by 4 pixels a frame."""
    images = [square("red", (4 * i, 24), (96, 96)) for i in range(12)]
    return write_video(tmp_path_factory.mktemp("video") / "squares.avi", images)


def count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


@pytest.fixture(scope="session")
def frames_of() -> Callable[[Path], int]:
    """How many frames of a video can really be decoded."""
    return count_frames


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


#: What must never reach a terminal, whatever a file says: escapes (C0 and C1), and Python's traceback.
def _harmless(ended: Ended) -> Ended:
    for text in (ended.out, ended.err):
        assert "Traceback" not in text, text
        assert not [c for c in text if (c < " " and c not in "\n\t\r") or "\x7f" <= c < "\xa0"], (
            repr(text)
        )
    return ended


@pytest.fixture
def ev(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs the command line in this process; what it prints is checked to be harmless."""

    def call(*arguments: object) -> Ended:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return _harmless(Ended(int(ended.value.code or 0), out, err))

    return call


@pytest.fixture(scope="session")
def command() -> Path:
    """The installed entry point."""
    path = Path(sys.executable).parent / "edgevision"
    if not path.exists():
        pytest.skip("the package is not installed: there is no entry point beside this Python")
    return path


@pytest.fixture(scope="session")
def ev_process(command: Path) -> Callable[..., Ended]:
    """Runs the installed command; what it prints is checked to be harmless."""

    def call(*arguments: object, **how: Any) -> Ended:
        done = subprocess.run(
            [command, *map(str, arguments)], capture_output=True, text=True, timeout=60, **how
        )
        return _harmless(Ended(done.returncode, done.stdout, done.stderr))

    return call
