"""Bad input through the real command: what was received, what was expected, what to do, and nothing left behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevision import cli
from edgevision.converters import manifest

Run = Callable[..., subprocess.CompletedProcess[str]]
Build = Callable[["Place"], list[object]]


class Place:
    """Where a case builds its bad input, and what good input it may start from."""

    def __init__(self, folder: Path, models: Path, data: Path, detector: Callable[..., Any]):
        self.folder, self.models, self.data, self.detector = folder, models, data, detector
        self.good = models / "detector.onnx"
        self.plain = models / "plain.onnx"

    def write(self, name: str, content: bytes) -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def save(self, model: onnx.ModelProto, name: str = "bad.onnx", **options: Any) -> Path:
        onnx.save(model, self.folder / name, **options)
        return self.folder / name

    def int8(self, data: object) -> list[object]:
        return [self.good, "--precision", "int8", "--calibration", data]


@pytest.fixture
def place(tmp_path: Path, models: Path, data: Path, make_detector: Callable[..., Any]) -> Place:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return Place(tmp_path / "in", models, data, make_detector)


def everything(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


# Models


def _external(place: Place, location: str) -> list[object]:
    path = place.save(
        place.detector(), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(model.SerializeToString())
    return [path]


def _one_node(
    place: Place, op: str, elem: int = TensorProto.FLOAT, domain: str = ""
) -> list[object]:
    graph = helper.make_graph(
        [helper.make_node(op, ["x"], ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", elem, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", elem, [1, 3, 8, 8])],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return [place.save(model), "--preset", "yolov8"]


def _metadata(place: Place, **changed: str) -> list[object]:
    base = {"task": "detect", "names": "{0: 'a', 1: 'b'}", "imgsz": "[64, 64]"}
    return [place.save(place.detector(base | changed))]


MODELS: dict[str, tuple[Build, int, list[str]]] = {
    "missing": (lambda p: [p.folder / "none.onnx"], 1, ["no model file", "expected:"]),
    "a folder": (lambda p: [p.folder], 1, ["is a folder", "expected:"]),
    "empty": (lambda p: [p.write("m.onnx", b"")], 1, ["is empty", "try:"]),
    "text": (lambda p: [p.write("m.onnx", b"hello, world\n" * 40)], 1, ["not an ONNX", "try:"]),
    "a picture": (
        lambda p: [p.write("m.onnx", (p.data / "few/0000.png").read_bytes())],
        1,
        ["ONNX", "expected:"],
    ),
    "truncated": (
        lambda p: [p.write("m.onnx", p.good.read_bytes()[:-3000])],
        1,
        ["truncated or damaged", "received:", "try:"],
    ),
    "external data missing": (
        lambda p: _external(p, "gone.bin"),
        1,
        ["external data", "missing", "gone.bin", "try:"],
    ),
    "external data outside": (
        lambda p: _external(p, "../../etc/passwd"),
        1,
        ["outside its folder", "expected:"],
    ),
    "external data absolute": (
        lambda p: _external(p, "/etc/passwd"),
        1,
        ["outside its folder", "expected:"],
    ),
    "unknown operator": (
        lambda p: _one_node(p, "Frobnicate"),
        1,
        ["operator we cannot run", "Frobnicate", "expected:"],
    ),
    "operator of another domain": (
        lambda p: _one_node(p, "Plugin", domain="acme.corp"),
        1,
        ["operator we cannot run", "acme.corp", "try:"],
    ),
    "strings": (lambda p: _one_node(p, "Identity", TensorProto.STRING), 1, ["string", "expected:"]),
    "no labels of that number": (
        lambda p: [p.good, "--labels", p.write("l.txt", b"a\nb\nc\n")],
        1,
        ["3 labels for 2 classes", "expected:", "try:"],
    ),
    "labels that are no text": (
        lambda p: [p.good, "--labels", p.write("l.txt", b"\xff\xfe\x00a")],
        1,
        ["no text in UTF-8", "expected:"],
    ),
    "a preset that does not fit": (
        lambda p: [p.plain, "--preset", "nanodet"],
        1,
        ["output0 float32 (1, 6, 64)", "expected:", "try:"],
    ),
    "a task that does not fit": (
        lambda p: [p.good, "--task", "classify"],
        1,
        ["do not fit", "expected:", "try:"],
    ),
    "nothing said": (lambda p: [p.plain], 2, ["does not say how it is run", "--preset"]),
    "unknown preset": (lambda p: [p.plain, "--preset", "yolo99"], 2, ["yolo99", "expected:"]),
    "unknown decoder": (lambda p: [p.good, "--decoder", "x"], 2, ["unknown decoder", "yolov8"]),
    "unknown task": (lambda p: [p.good, "--task", "x"], 2, ["unknown task", "detect"]),
    "unknown precision": (lambda p: [p.good, "--precision", "int3"], 2, ["int3", "expected:"]),
    "unknown target": (
        lambda p: [*p.int8(p.data / "few"), "--target", "tpu"],
        2,
        ["unknown target tpu", "x86, x86-avx2, arm, trt"],
    ),
    "a size that is none": (lambda p: [p.good, "--size", "big"], 2, ["HEIGHTxWIDTH"]),
    "names that are no literal": (
        lambda p: _metadata(p, names="__import__('os').abort()"),
        1,
        ["no literal", "expected:", "try:"],
    ),
    "names of a megabyte": (
        lambda p: _metadata(p, names=repr(dict.fromkeys(range(60_000), "a" * 20))),
        1,
        ["too long", "expected:"],
    ),
    "already quantized": (
        lambda p: [_quantized(p), "--precision", "int8", "--calibration", p.data / "few"],
        1,
        ["quantized already", "expected:", "try:"],
    ),
}


def _quantized(place: Place) -> Path:
    model = place.detector()
    scale, zero = np.array(0.1, np.float32), np.array(0, np.uint8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(scale, "qs"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(zero, "qz"))
    quantize = [
        helper.make_node("QuantizeLinear", ["images", "qs", "qz"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "qs", "qz"], ["dq"]),
    ]
    nodes = list(model.graph.node)
    nodes[0].input[0] = "dq"
    del model.graph.node[:]
    model.graph.node.extend([*quantize, *nodes])
    return place.save(model)


# Data


def _folder(place: Place, count: int) -> Path:
    folder = place.folder / "photos"
    folder.mkdir()
    for number in range(count):
        shutil.copy(place.data / "few" / f"{number:04d}.png", folder)
    return folder


def _flat(place: Place) -> Path:
    folder = _folder(place, 0)
    for side in range(20, 60):
        cv2.imwrite(str(folder / f"{side}.png"), np.full((side, side, 3), (9, 99, 199), np.uint8))
    return folder


def _broken(place: Place) -> Path:
    folder = _folder(place, 0)
    for number in range(30):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes([number]) * 50)
    return folder


DATA: dict[str, tuple[Build, int, list[str]]] = {
    "none at all": (
        lambda p: [p.good, "--precision", "int8"],
        2,
        ["int8 needs calibration data", "--calibration with a video", "try:"],
    ),
    "data for nothing": (
        lambda p: [p.good, "--calibration", p.data / "few"],
        2,
        ["nothing that needs it", "--precision int8"],
    ),
    "not there": (lambda p: p.int8(p.folder / "no"), 1, ["no calibration data", "expected:"]),
    "empty folder": (lambda p: p.int8(_folder(p, 0)), 1, ["no picture in", "expected:"]),
    "one picture": (lambda p: p.int8(_folder(p, 1)), 1, ["too little", "1 pictures", "try:"]),
    "one picture, by its name": (
        lambda p: p.int8(_folder(p, 1) / "0000.png"),
        1,
        ["too little", "received:", "expected:", "try:"],
    ),
    "nothing but one colour": (lambda p: p.int8(_flat(p)), 1, ["single colour", "expected:"]),
    "nothing that decodes": (
        lambda p: p.int8(_broken(p)),
        1,
        ["too little", "skipped, such as: ", ".jpg cannot be decoded"],
    ),
    "zero-byte video": (
        lambda p: p.int8(p.write("v.mp4", b"")),
        1,
        ["is empty", "0 bytes", "expected:", "try:"],
    ),
    "text as video": (
        lambda p: p.int8(p.write("v.mp4", b"no video\n" * 500)),
        1,
        ["no video that OpenCV can read", "expected:", "try:"],
    ),
    "golden data that is not there": (
        lambda p: [p.good, "--golden", p.folder / "no"],
        1,
        ["there is no", "expected:", "try:"],
    ),
}


@pytest.mark.parametrize(
    ("build", "status", "words"),
    [pytest.param(*case, id=name) for name, case in (MODELS | DATA).items()],
)
def test_bad_input_is_explained_and_leaves_nothing(
    edgevision: Run, place: Place, build: Build, status: int, words: list[str]
) -> None:
    model, *options = build(place)
    out = place.folder.parent / "out"
    before = everything(place.folder)
    done = edgevision("convert", model, "-o", out / "a.evb", *options)
    assert done.returncode == status, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert len(done.stderr) < 4000
    assert everything(out) == []
    assert everything(place.folder) == before


def test_a_corrupt_picture_among_good_ones_is_named_and_counted(
    edgevision: Run, place: Place
) -> None:
    folder = place.folder / "photos"
    shutil.copytree(place.data / "pictures", folder)
    for number in range(9):
        (folder / f"broken{number}.png").write_bytes(b"\x89PNG" + bytes([number]) * 30)
    out = place.folder.parent / "out"
    done = edgevision("convert", "-o", out / "a.evb", *place.int8(folder), "--json")
    assert done.returncode == 0, done.stderr
    report = (out / "a.evb" / "report.md").read_text(encoding="utf-8")
    assert "Problems with it: 9" in report
    for number in range(9):
        assert f"broken{number}.png cannot be decoded and was skipped" in report


@pytest.mark.parametrize("kind", ["bundle", "folder", "file"])
def test_an_output_that_exists_is_left_as_it_is(edgevision: Run, place: Place, kind: str) -> None:
    out = place.folder.parent / "out"
    target = out / "a.evb"
    if kind == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / ("manifest.json" if kind == "bundle" else "thesis.tex")).write_text("precious")
    before = everything(out)
    for options in ([], ["--force"]) if kind != "bundle" else ([],):
        done = edgevision("convert", place.good, "-o", target, *options)
        assert done.returncode == 1
        assert str(target) in done.stderr
        assert "try:" in done.stderr
    assert everything(out) == before


@pytest.mark.parametrize("output", ["no/such/folder/a.evb", "x" * 300])
def test_an_output_that_cannot_be_is_refused(edgevision: Run, place: Place, output: str) -> None:
    out = place.folder.parent / "out"
    done = edgevision("convert", place.good, "-o", out / output)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert everything(out) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everywhere")
def test_what_may_not_be_read_or_written_is_refused(edgevision: Run, place: Place) -> None:
    out, secret = place.folder.parent / "out", _folder(place, 3)
    secret.chmod(0)
    done = edgevision("convert", "-o", out / "a.evb", *place.int8(secret))
    secret.chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    out.chmod(0o500)
    done = edgevision("convert", place.good, "-o", out / "a.evb")
    out.chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert everything(out) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB: room for the model, none for the rest."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip("mounting a small file system needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_is_named_and_left_clean(
    edgevision: Run, place: Place, tiny_disk: Path
) -> None:
    done = edgevision("convert", place.good, "-o", tiny_disk / "a.evb")
    assert done.returncode == 1, done.stderr
    assert "no room is left" in done.stderr or "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert everything(tiny_disk) == []


@pytest.mark.parametrize(
    "name", ["report.json", "timings.json", "golden/fp32.json", "manifest.json"]
)
def test_a_disk_that_fills_up_at_any_file_is_left_clean(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    write = manifest.write_json

    def full(path: Path, *rest: Any, **options: Any) -> None:
        if path.as_posix().endswith(name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, *rest, **options)

    monkeypatch.setattr(manifest, "write_json", full)
    out = place.folder.parent / "out"
    with pytest.raises(SystemExit) as caught:
        cli.main(["convert", str(place.good), "-o", str(out / "a.evb")])
    assert caught.value.code == 1
    assert f"no room is left for {out / 'a.evb'}" in capsys.readouterr().err
    assert everything(out) == []
