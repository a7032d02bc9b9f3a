"""The command itself: what it prints and where, its exit statuses, and signals at any moment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgevision import cli
from edgevision import progress as progress_module
from edgevision.converters import cli as convert_cli
from edgevision.progress import Progress

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = Path(sys.executable).with_name("edgevision")


def int8(models: Path, data: Path, output: Path, *more: object) -> list[object]:
    return [
        "convert", models / "detector.onnx", "-o", output, "--precision", "int8",
        "--calibration", data / "clip.avi", "--samples", 64, *more,
    ]  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_model_of_ultralytics_converts_and_runs_with_no_flags(
    edgevision: Run, models: Path, data: Path, tmp_path: Path
) -> None:
    done = edgevision("convert", models / "detector.onnx", "-o", tmp_path / "a.evb")
    assert done.returncode == 0, done.stderr
    done = edgevision("run", models / "detector.onnx", data / "few", tmp_path / "direct.jsonl")
    assert done.returncode == 0, done.stderr
    done = edgevision("run", tmp_path / "a.evb", data / "few", tmp_path / "bundle.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [
        [json.loads(line)["detections"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("direct.jsonl", "bundle.jsonl")
    ]
    assert [len(found) for found in lines[0]] == [5] * 12
    for direct, bundle in zip(*lines, strict=True):
        assert [d["label"] for d in direct] == [d["label"] for d in bundle]
        np.testing.assert_allclose(
            [d["box_xyxy"] for d in direct], [d["box_xyxy"] for d in bundle], atol=0.01
        )


def test_int8_is_converted_proven_and_run(
    edgevision: Run, models: Path, data: Path, tmp_path: Path
) -> None:
    done = edgevision(*int8(models, data, tmp_path / "a.evb"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("fp32 ")
    assert lines[1].startswith("int8-x86 ")
    assert "f1 1.0000 on 320 samples: pass" in lines[1]
    # What it measured on this machine may be told in between.
    assert f"written: {tmp_path}/a.evb (read {tmp_path}/a.evb/report.md)" in lines[2:]
    for line in ("cleaning detector.onnx", "int8-x86: calibrating on 64 pictures of clip.avi"):
        assert line in done.stderr.splitlines()
    assert "\r" not in done.stderr, "plain lines where it is no terminal"
    assert "\x1b" not in done.stderr
    done = edgevision(
        "run", tmp_path / "a.evb" / "int8-x86.onnx", data / "few", tmp_path / "o.jsonl"
    )
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 12
    assert edgevision("verify", tmp_path / "a.evb").returncode == 0


def test_the_last_line_says_when_int8_is_not_faster(
    converted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = {
        name: {**found, "speedup": 0.9 if name == "int8-x86" else 1.0}
        for name, found in converted.timings.items()
    }
    monkeypatch.setattr(converted, "timings", timings)
    monkeypatch.setattr(converted, "engines", [])  # in another one it may be faster
    last = convert_cli._text(converted).splitlines()[-1]
    assert last.startswith("note: int8-x86 is not faster than fp32 on this machine")
    fast = {"speedup": 2, "speedup_vs_original": 2}
    monkeypatch.setattr(converted, "timings", {k: v | fast for k, v in timings.items()})
    assert "note:" not in convert_cli._text(converted)


def test_json_is_all_that_stdout_gets(
    edgevision: Run, models: Path, data: Path, tmp_path: Path
) -> None:
    done = edgevision(*int8(models, data, tmp_path / "a.evb", "--json", "--target", "x86,trt"))
    assert done.returncode == 0
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "a.evb" / "report.json").read_bytes())
    assert set(report["variants"]) == {"fp32", "int8-x86", "int8-trt"}


@pytest.mark.parametrize("keep", [False, True])
def test_a_rejection_exits_3_and_its_json_is_the_new_report(
    edgevision: Run, models: Path, data: Path, tmp_path: Path, keep: bool
) -> None:
    stale = tmp_path / "a.evb.rejected"
    stale.mkdir()
    (stale / "report.json").write_text('{"stale": true}')
    arguments = int8(models, data, tmp_path / "a.evb", "--json", "--calibration", data / "few")
    done = edgevision(*arguments, *(["--keep-passing"] if keep else []))
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["verdict"] == "insufficient"
    assert done.stderr.startswith("edgevision: not proven")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "a.evb").exists() == keep


def test_help_names_every_option(edgevision: Run) -> None:
    text = edgevision("convert", "--help").stdout
    for option in (
        "--preset", "--config", "--task", "--decoder", "--labels", "--size", "--batch", "--opset",
        "--precision", "--target", "--calibration", "--samples", "--min-agreement", "--golden",
        "--keep-passing", "--force", "--json", "--list", "--validation", "--max-drop", "--random-calibration",
    ):  # fmt: skip
        assert option in text


@pytest.mark.parametrize(
    ("text", "size"), [("640", (640, 640)), ("384x640", (384, 640)), ("384×640", (384, 640))]
)
def test_a_size_is_height_by_width(text: str, size: tuple[int, int]) -> None:
    assert convert_cli._size(None, None, text) == size  # type: ignore[arg-type]


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("moment", ["reading calibration data", "cleaning", "calibrating"])
def test_a_signal_leaves_nothing(
    models: Path, data: Path, tmp_path: Path, moment: str, number: int, status: int
) -> None:
    arguments = int8(models, data, tmp_path / "a.evb")
    with subprocess.Popen(
        [str(COMMAND), *map(str, arguments)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = next((line for line in process.stderr if moment in line), None)
        assert seen is not None, "the moment came"
        os.kill(process.pid, number)
        rest = process.stderr.read()
        assert process.wait(30) == status
    assert "Traceback" not in rest
    assert "edgevision: interrupted" in rest
    assert names(tmp_path) == []


@pytest.fixture
def handlers() -> Iterator[None]:
    """Gives this process its own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "stage",
    [
        "counting frames",
        "int8-x86: moments",
        "int8-x86: trying a recipe",
        "int8-x86: proving",
        "measuring",
        "golden frames",
    ],
)
def test_a_signal_in_any_stage_leaves_nothing(
    models: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    number: int,
    status: int,
) -> None:
    class Sender(Progress):
        def __call__(self, at: str, done: int, total: int | None) -> None:
            if at == stage:
                signal.raise_signal(number)

    monkeypatch.setattr(progress_module, "Progress", Sender)
    arguments = [*int8(models, data, tmp_path / "a.evb"), "--no-cache"]  # every stage is to come
    with pytest.raises(SystemExit) as caught:
        cli.main([str(a) for a in arguments])
    assert caught.value.code == status
    assert names(tmp_path) == []


@pytest.mark.usefixtures("handlers")
def test_a_signal_while_the_old_bundle_is_replaced_loses_nothing(
    models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ["convert", str(models / "detector.onnx"), "-o", str(tmp_path / "a.evb"), "--json"]
    with pytest.raises(SystemExit):
        cli.main(plain)
    before = (tmp_path / "a.evb" / "manifest.json").read_bytes()
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if Path(target) == tmp_path / "a.evb" and self.name != ".a.evb.old":
            signal.raise_signal(signal.SIGTERM)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(SystemExit) as caught:
        cli.main([*plain, "--force", "--opset", "18"])
    assert caught.value.code == 143
    assert names(tmp_path) == ["a.evb"]
    assert (tmp_path / "a.evb" / "manifest.json").read_bytes() == before


# The terminal


def test_a_terminal_gets_one_line_that_renews_itself(
    models: Path, data: Path, tmp_path: Path
) -> None:
    """A pseudo-terminal as stderr."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    arguments = int8(models, data, tmp_path / "a.evb")
    process = subprocess.Popen(
        [str(COMMAND), *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the other end was closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    assert process.wait(60) == 0
    assert b"\r" in text.replace(b"\r\n", b"\n")
    assert b"proving: 64/64" in text


def test_hostile_names_never_reach_the_terminal_raw(
    edgevision: Run, make_detector: Callable[..., onnx.ModelProto], data: Path, tmp_path: Path
) -> None:
    """Names of classes, nodes and outputs hold HTML and escape codes; so does the file's name."""
    evil = "<b>\x1b[31mred\x9b2J"
    metadata = {
        "task": "detect",
        "names": repr({0: evil, 1: "b" * 1000}),
        "imgsz": "[64, 64]",
        "author": "x" * 1_000_000,
    }
    model = make_detector(metadata)
    for node in model.graph.node:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                if name == "output0":
                    field[place] = evil
        node.name = evil + node.output[0]
    model.graph.output[0].name = evil
    file = tmp_path / "a\x1b[31m<i>.onnx"
    onnx.save(model, file)
    done = edgevision(
        "convert", file, "-o", tmp_path / "a.evb", "--precision", "int8",
        "--calibration", data / "clip.avi", "--samples", 60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = (tmp_path / "a.evb" / "report.md").read_text(encoding="utf-8")
    for text in (done.stdout, done.stderr, report):
        assert "\x1b" not in text
        assert "\x9b" not in text
    assert "<b>" not in report
    assert "<i>" not in report
    done = edgevision("inspect", tmp_path / "a.evb", "--json")
    assert "\x1b" not in done.stdout
    done = edgevision("convert", file, "-o", tmp_path / "b.evb", "--preset", "nanodet", "--json")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert "\x9b" not in done.stderr


def test_weights_of_the_written_file_are_int8(
    edgevision: Run, models: Path, data: Path, tmp_path: Path
) -> None:
    done = edgevision(*int8(models, data, tmp_path / "a.evb", "--target", "trt"))
    assert done.returncode == 0, done.stderr
    model = onnx.load(tmp_path / "a.evb" / "int8-trt.onnx")
    arrays = [numpy_helper.to_array(t) for t in model.graph.initializer]
    assert sum(a.dtype == np.int8 and a.ndim == 4 for a in arrays) >= 5
