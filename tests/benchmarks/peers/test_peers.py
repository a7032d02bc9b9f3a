"""The comparison with other libraries: what it measures, how loops by hand decode, and what its page says."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgevision.decoders.yolov8 import YoloV8
from edgevision.model import open_model
from edgevision.preprocess import Preprocessor

PEERS = Path(__file__).resolve().parents[3] / "benchmarks" / "peers"
MODEL = PEERS.parents[1] / "edgevision" / "assets" / "garments.onnx"
#: Names as general as these must not stay importable for other tests.
MODULES = ("common", "clip", "measure", "sides", "engine_alone", "report", "run")


@pytest.fixture
def peers(monkeypatch):
    """Imports a script of the folder as it imports its neighbours."""
    if not PEERS.is_dir():
        pytest.skip("benchmarks/peers is in the repository only")
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    monkeypatch.syspath_prepend(str(PEERS))
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)
        if before[name] is not None:
            sys.modules[name] = before[name]


def line(*boxes):
    rows = [{"box_xyxy": box, "score": 0.9, "class_id": 1} for box in boxes]
    return json.dumps({"frame": 0, "detections": rows}) + "\n"


WRITER = """
import sys, time
burnt, path = time.process_time() + 0.2, sys.argv[1]
with open(path, "w") as lines:
    for number in range(11):
        while number == 5 and time.process_time() < burnt: pass
        lines.write("{}\\n"); lines.flush()
        time.sleep(0.02)
"""


def test_a_process_is_measured_from_its_first_line_to_its_last(peers, tmp_path):
    found = peers("measure").run(
        [sys.executable, "-c", WRITER, str(tmp_path / "o.jsonl")], tmp_path / "o.jsonl"
    )
    assert 0 < found.fps < 50  # it sleeps for 20 ms after each line
    assert 0 < found.whole_fps < 50
    assert found.first_s > 0
    assert found.peak_mb > 1
    assert found.cpu_ms > 5  # a fifth of a second burnt after the first line, over ten frames
    assert found.cpu_ms < 250


@pytest.mark.parametrize(
    ("options", "told"), [([], "make_environment.sh"), (["--rounds", "0"], "1 or more")]
)
def test_what_cannot_be_compared_is_said_before_anything_is_made(
    options, told, peers, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["run.py", str(tmp_path), *options])
    with pytest.raises(SystemExit):
        peers("run").main()
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_fails_ends_the_comparison(peers, tmp_path):
    command = [sys.executable, "-c", "import sys; sys.exit('no such clip')"]
    with pytest.raises(SystemExit, match="no such clip"):
        peers("measure").run(command, tmp_path / "o.jsonl")


def test_boxes_of_the_reference_without_area_are_left_out(peers, tmp_path):
    theirs, ours = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    theirs.write_text(line([0, 0, 10, 10], [5, 7, 9, 7]) + line())
    ours.write_text(line([0, 0, 10, 9]) + line([1, 1, 4, 4]))
    score = peers("measure").agreement(theirs, ours)
    # One pair of two, and one too many: F1 = 2 · 1 / (1 + 2).
    assert (score.samples, score.frames) == (1, 2)
    assert score.f1 == pytest.approx(2 / 3)


def test_sides_of_other_lengths_are_not_compared(peers, tmp_path):
    theirs, ours = tmp_path / "theirs.jsonl", tmp_path / "ours.jsonl"
    theirs.write_text(line() * 2)
    ours.write_text(line())
    with pytest.raises(ValueError, match="shorter"):
        peers("measure").agreement(theirs, ours)


def test_the_loops_by_hand_find_what_edgevision_finds(peers):
    common = peers("common")
    image = cv2.blur(np.random.default_rng(3).integers(0, 256, (1080, 1920, 3), np.uint8), (9, 9))
    with open_model(MODEL, backend="ort") as model:
        spec = model.variant.spec.input
        tensor = np.zeros((1, 3, 640, 640), np.float32)
        transform = Preprocessor(spec, tensor).load(image)
        assert np.abs(common.tensor(image) - tensor).max() <= 1.01 / 255
        _, outputs = model.pipeline.examine(image)
    raw = next(iter(outputs.values())).copy()
    random = np.random.default_rng(5)
    anchors = random.choice(8400, 60, replace=False)
    raw[0, 4 + random.integers(0, 10, 60), anchors] = random.uniform(0.3, 0.9, 60)
    theirs = common.detections(raw, image, 0.25, 0.7)
    ours = YoloV8(score=0.25, iou=0.7).decode({"output0": raw}, 0, transform)
    assert len(ours) > 30
    wide = [row for row in theirs if row[0][2] > row[0][0] and row[0][3] > row[0][1]]
    wide.sort(key=lambda row: -row[1])
    np.testing.assert_allclose([row[1] for row in wide], ours.scores, rtol=1e-6)
    np.testing.assert_allclose([row[0] for row in wide], ours.boxes_xyxy, atol=0.01)
    assert [row[2] for row in wide] == ours.class_ids.tolist()


def page(peers, fps, f1_lines, tmp_path):
    """The page for ultralytics and one side of ours, which ran at so many frames a second."""
    measure, sides, report = (peers(name) for name in ("measure", "sides", "report"))
    setting = sides.Setting(MODEL, tmp_path, tmp_path, Path(sys.executable), tmp_path)
    given = [s for s in sides.sides(setting) if s.name in (sides.REFERENCE, "edgevision, ort fp32")]
    speeds = {given[0].name: 10.0, given[1].name: fps}
    same, taken = {}, {}
    (tmp_path / "theirs").write_text(line([0, 0, 10, 10]))
    (tmp_path / "ours").write_text(f1_lines)
    for side in given:
        same[side.name] = measure.agreement(tmp_path / "theirs", tmp_path / "ours")
        first, peak = (0.3, 200.0) if side.ours else (2.4, 500.0)
        figures = measure.Figures(speeds[side.name], 30.0, 9.0, first, peak)
        taken[side.name] = [figures] * 3
    about = {"rounds": 3, "frames": 300, "machine": "A processor", "versions": "a 1", "load": "2"}
    return report.page(given, taken, same, {sides.ENGINES[0]: [(10.0, 11.0)] * 3}, about)


@pytest.mark.parametrize(
    ("fps", "found", "speed", "agreement"),
    [
        (12.0, line([0, 0, 10, 10]), "**1.20** (1.20 … 1.20) | ≥ 1.2: met", "1.0000 (met)"),
        (11.9, line(), "**1.19** (1.19 … 1.19) | ≥ 1.2: MISSED", "0.0000 (MISSED)"),
    ],
)
def test_the_page_says_what_was_missed(peers, tmp_path, fps, found, speed, agreement):
    text = page(peers, fps, found, tmp_path)
    row = next(row for row in text.splitlines() if row.startswith("| edgevision, ort fp32 "))
    assert speed in row
    assert agreement in row
    assert "at most 0.40× (aim ≤ 0.5×: met)" in text
    assert "at least 8.0 times as early (aim ≥ 6×: met)" in text
    assert "| 10.0 | 11.0 | 1.10 (1.10 … 1.10) |" in text


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is absent")
def test_the_clip_is_h264_of_that_many_frames(peers, tmp_path, monkeypatch):
    clip = peers("clip")
    monkeypatch.setattr(clip, "SCENE", "synthetic://conveyor?seed=11&size=320x192")
    clip.make_clip(tmp_path / "belt.mp4", 7)
    capture = cv2.VideoCapture(str(tmp_path / "belt.mp4"))
    codec = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
    count = 0
    while capture.grab():
        count += 1
    assert (count, codec in (b"h264", b"avc1")) == (7, True)
    assert capture.get(cv2.CAP_PROP_FPS) == 30


def test_every_side_has_a_script_and_lines_of_its_own(peers, tmp_path):
    sides = peers("sides")
    setting = sides.Setting(MODEL, tmp_path, tmp_path / "c.mp4", Path("python"), tmp_path)
    given = sides.sides(setting)
    assert given[0].name == sides.REFERENCE
    assert len({side.output for side in given}) == len({side.name for side in given}) == len(given)
    for side in given:
        if not side.ours:
            assert Path(side.command[1]).is_file()
        assert str(side.output) in side.command
