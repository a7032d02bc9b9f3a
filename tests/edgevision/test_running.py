from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edgevision import running, whole_file
from edgevision.errors import BundleError

ROOT = Path(__file__).resolve().parents[2]
STATS = {"frames", "dropped", "fps", "age_ms", "stages_ms"}
STAGES = {"read", "queue", "load", "h2d", "compute", "d2h", "decode", "sink"}


def lines_of(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_video_ends_as_lines_video_pictures_and_figures(
    bundle, squares_video, tmp_path, ev, frames_of
):
    out = [tmp_path / "out.jsonl", tmp_path / "out.mp4", f"{tmp_path}/pictures/"]
    ended = ev("run", bundle, squares_video, *out, "--stats", tmp_path / "s.json", "--score", 0.6)
    assert ended.status == 0
    assert "12 frames in" in ended.out
    assert "fp32" in ended.err
    lines = lines_of(out[0].read_text())
    assert [(line["frame"], line["pts_s"]) for line in lines] == [(i, i / 10) for i in range(12)]
    assert {key for line in lines for key in line} == {"frame", "pts_s", "detections"}
    assert frames_of(out[1]) == 12
    assert len(list((tmp_path / "pictures").iterdir())) == 12
    stats = json.loads((tmp_path / "s.json").read_text())
    assert set(stats) >= STATS
    assert set(stats["stages_ms"]) == STAGES
    assert (stats["frames"], stats["dropped"], stats["age_ms"]) == (12, 0, None)


def test_what_is_found_is_where_it_is(models, tmp_path, draw_square, make_video, ev):
    video = make_video(
        tmp_path / "v.avi", [draw_square("green", (8 * i, 16)) for i in range(5)], codec="FFV1"
    )
    ended = ev("run", models.detector, video, "-", "--score", 0.6)
    assert ended.status == 0
    assert "5 frames in" in ended.err  # stdout is for the lines alone
    found = [d for line in lines_of(ended.out) for d in line["detections"]]
    boxes = [[8 * i, 16, 8 * i + 16, 32] for i in range(5)]
    np.testing.assert_allclose([d["box_xyxy"] for d in found], boxes, atol=0.1)
    assert {d["label"] for d in found} == {"green"}
    assert min(d["score"] for d in found) > 0.9


def test_json_is_alone_on_stdout(bundle, squares_video, ev):
    ended = ev("run", bundle, squares_video, "--json", "--frames", 3)
    assert json.loads(ended.out)["frames"] == 3
    assert ended.err == ""


def test_a_classifier_on_pictures_of_a_folder(models, tmp_path, ev):
    for name, colour in (("a.png", (0, 0, 255)), ("b.png", (255, 0, 0))):
        cv2.imwrite(str(tmp_path / name), np.full((20, 30, 3), colour, np.uint8))
    (tmp_path / "c.png").write_bytes(b"broken")
    ended = ev("run", models.classifier, tmp_path, "-")
    assert ended.status == 0
    found = [(line["source"], line["classes"][0]["label"]) for line in lines_of(ended.out)]
    assert found == [("a.png", "red"), ("b.png", "blue")]
    assert "problem: c.png cannot be decoded and was skipped" in ended.err


@pytest.mark.parametrize(
    ("classes", "labels"),
    [("red", {"red"}), ("2", {"blue"}), ("blue, 0", {"red", "blue"}), ("1", set())],
)
def test_only_the_classes_that_are_asked_for(models, tmp_path, draw_square, ev, classes, labels):
    image = draw_square("red", (0, 0)) + draw_square("blue", (40, 40))
    cv2.imwrite(str(tmp_path / "both.png"), image)
    ended = ev("run", models.detector, tmp_path / "both.png", "-", "--classes", classes)
    assert {d["label"] for d in lines_of(ended.out)[0]["detections"]} == labels


def test_score_and_iou_replace_the_model_s_own(models, tmp_path, draw_square, ev):
    cv2.imwrite(str(tmp_path / "one.png"), draw_square())

    def scores(*options):
        ended = ev("run", models.detector, tmp_path / "one.png", "-", *options)
        return sorted(d["score"] for d in lines_of(ended.out)[0]["detections"])

    # The windows beside the square score 1/2, those at its corners 1/4; they overlap it by 1/3 and 1/7.
    assert scores("--score", 0.9) == [1]
    assert scores("--score", 0.4) == [0.5] * 4 + [1]
    assert scores("--score", 0.2) == [0.25] * 4 + [0.5] * 4 + [1]
    assert scores("--score", 0.4, "--iou", 0.3) == [1]
    assert scores("--score", 0.2, "--iou", 0.3) == [0.25] * 4 + [1]


def test_hint_throughput_gives_the_same_lines(models, squares_video, ev):
    lines = [
        ev(
            "run",
            models.detector,
            squares_video,
            "-",
            "--score",
            0.3,
            "--hint",
            hint,
            "--threads",
            2,
        )
        for hint in ("latency", "throughput")
    ]
    assert lines[0].out == lines[1].out
    assert len(lines[0].out.splitlines()) == 12


def test_a_video_that_ends_early_is_a_problem_and_no_failure(
    bundle, tmp_path, make_video, draw_square, ev
):
    images = [draw_square(at=(i, 0), size=(96, 96)) for i in range(40)]
    whole = make_video(tmp_path / "whole.avi", images).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    ended = ev("run", bundle, tmp_path / "cut.avi", "--json")
    assert ended.status == 0
    assert "cut.avi ended early" in json.loads(ended.out)["problems"][0]


USAGE = [
    (["--hint", "fast"], "fast"),
    (["--score", "2"], "2"),
    (["--frames", "0"], "0"),
    (["--variant", "int8"], "there is no variant 'int8'"),
    (["--precision", "int4"], "no variant of"),
    (["--backend", "abacus"], "unknown backend 'abacus'"),
    (["--compute", "bf16"], "not in bf16"),
    (["--json", "-"], "both want stdout"),
    (["out.exe"], "no sink looks like"),
    (["--nonsense"], "nonsense"),
    (["-", "-"], "named twice"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE, ids=[" ".join(a) for a, _ in USAGE])
def test_calls_that_make_no_sense_end_with_2(bundle, squares_video, ev, arguments, said):
    ended = ev("run", bundle, squares_video, *arguments)
    assert ended.status == 2
    assert said in ended.err


def test_no_class_of_that_name(bundle, squares_video, ev):
    ended = ev("run", bundle, squares_video, "--classes", "unicorn")
    assert ended.status == 1
    assert "red, green, blue" in ended.err


@pytest.mark.parametrize(
    "name", ["nothing.mp4", "", "empty.mp4", "garbage.mp4", "folder", "broken.png"]
)
def test_sources_that_cannot_be_read_end_with_1_and_leave_nothing(bundle, tmp_path, ev, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "garbage.mp4").write_bytes(b"garbage" * 999)
    (tmp_path / "broken.png").write_bytes(b"garbage" * 999)
    outputs = [tmp_path / "o.jsonl", tmp_path / "o.mp4", "--stats", tmp_path / "o.json"]
    ended = ev("run", bundle, tmp_path / name if name else "", *outputs)
    assert ended.status == 1
    assert ended.err.count("edgevision: ") == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("o.")] == []


def test_outputs_that_cannot_be_written_end_with_1_and_leave_nothing(
    bundle, squares_video, tmp_path, ev
):
    (tmp_path / "there.mp4").write_text("precious")
    for bad in ("there.mp4", "nowhere/out.mp4"):
        ended = ev("run", bundle, squares_video, tmp_path / "new.jsonl", tmp_path / bad)
        assert ended.status == 1
        assert bad.split("/")[0] in ended.err
    assert not (tmp_path / "new.jsonl").exists()
    assert (tmp_path / "there.mp4").read_text() == "precious"


def test_a_failed_call_can_be_repeated_as_it_is(bundle, squares_video, tmp_path, ev):
    stats = tmp_path / "s.json"
    assert ev("run", tmp_path / "none.evb", squares_video, "--stats", stats).status == 1
    assert ev("run", bundle, squares_video, "--stats", stats).status == 0
    assert ev("run", bundle, squares_video, "--stats", stats).status == 1
    assert ev("run", bundle, squares_video, "--stats", stats, "--force").status == 0


def test_the_source_is_never_overwritten(bundle, squares_video, tmp_path, ev, monkeypatch):
    video = tmp_path / "v.avi"
    video.write_bytes(squares_video.read_bytes())
    monkeypatch.chdir(tmp_path)
    for arguments in ([video], ["./v.avi"], ["--stats", video]):
        assert ev("run", bundle, video, *arguments, "--force").status == 2
    assert video.read_bytes() == squares_video.read_bytes()
    same = ev("run", bundle, video, "x.jsonl", tmp_path / "x.jsonl")
    assert same.status == 2
    assert "named twice" in same.err


def _model_mistakes(folder, models):
    whole = models.detector.read_bytes()
    (folder / "text.onnx").write_text("this is no model\n" * 50)
    (folder / "empty.onnx").touch()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    labels = {"task": "detect", "names": "['only', 'two']"}
    models.make_detector(folder / "labels.onnx", metadata=labels)
    models.make_detector(folder / "silent.onnx", metadata={})
    models.make_detector(folder / "pose.onnx", metadata={"task": "pose", "names": "[]"})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.onnx", "there is no"),
        ("text.onnx", "not a usable ONNX file"),
        ("empty.onnx", "it is empty"),
        ("cut.onnx", "not a usable ONNX file"),
        ("labels.onnx", "(1, 7, 49)"),
        ("silent.onnx", "edgevision convert silent.onnx"),
        ("pose.onnx", "detect or classify"),
        (".", "no manifest.json"),
    ],
)
def test_models_that_cannot_run_say_why(tmp_path, models, squares_video, ev, name, said):
    _model_mistakes(tmp_path, models)
    before = set(tmp_path.iterdir())
    ended = ev("run", tmp_path / name, squares_video, tmp_path / "o.jsonl", tmp_path / "o.mp4")
    assert ended.status == 1
    assert said in ended.err
    assert set(tmp_path.iterdir()) == before


EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202e<script>alert(1)</script>\r"


def test_escape_codes_of_a_bundle_never_reach_the_terminal(
    bundle, edit_manifest, squares_video, ev
):
    def poison(manifest):
        manifest["labels"] = [EVIL + str(i) for i in range(3)]
        manifest["name"] = EVIL
        manifest["provenance"] = {EVIL: EVIL}
        manifest["variants"][0]["verified"] = [{"metric": EVIL, "value": EVIL, "verdict": EVIL}]

    edit_manifest(bundle, poison)
    found = ev("run", bundle, squares_video, "-", "--score", 0.3)
    assert found.status == 0
    assert "<script>" in found.out  # harmless where it is no HTML
    for verb in (["inspect"], ["inspect", "--json"], ["verify"], ["verify", "--json"]):
        assert ev(verb[0], bundle, *verb[1:]).status == 0
    for wrong in (["--variant", "x"], ["--precision", "x"], ["--classes", "x"]):
        assert ev("run", bundle, squares_video, *wrong).status in (1, 2)


def test_escape_codes_of_a_model_never_reach_the_terminal(tmp_path, models, squares_video, ev):
    path = models.make_detector(
        tmp_path / "evil.onnx",
        metadata={
            "task": "detect",
            "names": repr([EVIL, "b", "c"]),
            EVIL: EVIL,
            "imgsz": "[64, 64]",
        },
    )
    assert ev("run", path, squares_video, "-", "--score", 0.3).status == 0
    assert ev("inspect", path).status == 0
    assert ev("inspect", path, "--json").status == 0
    assert ev("run", path, squares_video, "--classes", "x").status == 1
    for key, value in (("names", EVIL), ("task", EVIL), ("imgsz", EVIL)):
        told = {"task": "detect", "names": models.names, key: value}
        if key == "imgsz":
            path = models.make_detector(tmp_path / "evil2.onnx", size=None, metadata=told)
        else:
            path = models.make_detector(tmp_path / "evil2.onnx", metadata=told)
        assert ev("run", path, squares_video).status == 1
        assert ev("inspect", path).status == 0


@pytest.mark.parametrize(
    "names",
    ["[" * 100_000, "{0: open('/etc/passwd')}", "['" + "x" * 2**20 + "']", "-" * 90_000 + "1", "{0: 'a', 2: 'b'}", "\x00", ""],
    ids=["deep", "call", "a megabyte", "minus", "gap", "nul", "empty"],
)  # fmt: skip
def test_hostile_names_are_refused(tmp_path, models, squares_video, ev, names):
    path = models.make_detector(tmp_path / "m.onnx", metadata={"task": "detect", "names": names})
    ended = ev("run", path, squares_video)
    assert ended.status == 1
    assert "names" in ended.err
    assert len(ended.err) < 2000


def test_the_installed_command_works_from_anywhere(bundle, squares_video, ev_process, tmp_path):
    outputs = []
    for place in ("/", ROOT):
        ended = ev_process("run", bundle, squares_video, "-", cwd=place)
        assert ended.status == 0, ended.err
        outputs.append(ended.out)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 12


def test_no_traceback_from_the_installed_command(tmp_path, squares_video, ev_process):
    ended = ev_process("run", tmp_path / "nothing.evb", squares_video)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.startswith("edgevision: there is no ")


def test_debug_shows_the_traceback(tmp_path, squares_video, command):
    done = subprocess.run(
        [command, "run", tmp_path / "nothing.evb", squares_video, "--debug"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize(
    ("number", "status", "hint"),
    [(signal.SIGINT, 130, "latency"), (signal.SIGTERM, 143, "throughput")],
)
def test_a_signal_ends_it_in_order(models, tmp_path, command, frames_of, number, status, hint):
    lines, video = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    process = subprocess.Popen(
        [command, "run", models.detector, "synthetic://shapes?size=320x240&frames=0", lines, video]
        + ["--stats", tmp_path / "s.json", "--hint", hint],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not (lines.exists() and lines.stat().st_size > 0):
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status, err
    assert "Traceback" not in err
    found = lines_of(lines.read_text())
    assert [line["frame"] for line in found] == list(range(len(found)))
    assert f"{len(found)} frames in" in out
    assert frames_of(video) == len(found)
    assert json.loads((tmp_path / "s.json").read_text())["frames"] == len(found)


def test_a_second_signal_ends_it_at_once(models, command, tmp_path):
    script = (
        "import os, signal, sys\n"
        "from edgevision import cli\n"
        "from edgevision.backends import fake\n"
        "real = fake.FakeSlot.submit\n"
        "def submit(self, rows=None):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    real(self, rows)\n"
        "fake.FakeSlot.submit = submit\n"
        f"cli.main(['run', {str(models.classifier)!r}, 'synthetic://noise?size=8x8', '--backend', 'fake'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 143, done.stderr
    assert "interrupted" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_a_reader_that_leaves_early_is_no_failure(models, bundle, command, verb):
    call = {
        "run": ["run", models.detector, "synthetic://noise?size=64x64&frames=3000", "-"],
        "inspect": ["inspect", bundle],
    }[verb]
    process = subprocess.Popen(
        [command, *call], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(30) == 0, err
    assert "Traceback" not in err
    assert "Broken" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("verb", ["inspect", "run"])
def test_stdout_on_a_full_disk_is_told(models, squares_video, command, verb):
    call = (
        ["run", models.detector, squares_video, "-"]
        if verb == "run"
        else ["inspect", models.detector]
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([command, *call], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("module", "said"), [("cv2", "opencv"), ("onnxruntime", "edgevision[run]")]
)
def test_a_missing_library_is_one_line_that_says_what_to_install(
    models, squares_video, module, said
):
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from edgevision.cli import main\n"
        f"main(['run', {str(models.detector)!r}, {str(squares_video)!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_path_that_is_too_long_is_told(bundle, ev):
    ended = ev("run", bundle, "x" * 5000)
    assert ended.status == 1
    assert len(ended.err) < 6000


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_external_data_that_are_missing_or_outside_the_folder(models, tmp_path, ev, location):
    (tmp_path / "in").mkdir()
    model = onnx.load(models.detector)
    weight = next(i for i in model.graph.initializer if i.name == "opposed")
    if location.startswith(".."):
        (tmp_path / "weights.bin").write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    (tmp_path / "in" / "m.onnx").write_bytes(model.SerializeToString())
    ended = ev("run", tmp_path / "in" / "m.onnx", "synthetic://noise?frames=2")
    assert ended.status == 1
    assert "cannot load m.onnx" in ended.err
    assert "external data" in ended.err.lower() or location in ended.err


def test_the_rate_is_that_of_the_stream_not_of_loading(bundle, squares_video, ev, monkeypatch):
    real = running.open_model

    def slowly(*a, **k):
        time.sleep(0.5)
        return real(*a, **k)

    monkeypatch.setattr(running, "open_model", slowly)
    summary = json.loads(ev("run", bundle, squares_video, "--json").out)
    assert summary["elapsed_s"] >= 0.5
    assert summary["first_result_ms"] >= 500
    assert summary["fps"] > 12 / 0.5
    # Twelve frames take what their latencies add up to, and a little for the summary.
    assert summary["fps"] <= 1.01 * 1000 / summary["latency_ms"]["mean"]


def test_a_median_of_few_frames_is_not_called_one(bundle, squares_video, ev):
    assert "mean ms a frame" in ev("run", bundle, squares_video, "--frames", 5).out
    assert "median ms a frame" in ev("run", bundle, squares_video).out


def test_outputs_inside_the_folder_that_is_read_are_refused(bundle, tmp_path, draw_square, ev):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), draw_square())
    for sink in ("in/out/", "in/o.jsonl"):
        ended = ev("run", bundle, tmp_path / "in", f"{tmp_path}/{sink}", "--force")
        assert ended.status == 2
        assert "inside the source" in ended.err
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["a.png"]


def test_the_model_is_never_overwritten(models, squares_video, tmp_path, ev):
    model = tmp_path / "m.onnx"
    model.write_bytes(models.detector.read_bytes())
    ended = ev("run", model, squares_video, "--stats", model, "--force")
    assert ended.status == 2
    assert model.read_bytes() == models.detector.read_bytes()


def test_a_picture_too_wide_for_jpeg_is_told(models, tmp_path, ev):
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((2, 66_000, 3), np.uint8))
    ended = ev("run", models.detector, tmp_path / "wide.png", f"{tmp_path}/out/")
    assert ended.status == 1
    assert "66000×2" in ended.err


def test_a_reader_that_leaves_early_and_cuts_a_video_short_is_told(models, tmp_path, command):
    process = subprocess.Popen(
        [command, "run", models.detector, "synthetic://noise?size=64x64&frames=3000", "-",
         tmp_path / "o.mp4"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(timeout=30) == 1
    assert "the reader of stdout left after" in told
    assert "o.mp4" in told


def test_a_summary_that_cannot_be_written_leaves_the_old_one(models, tmp_path, command):
    resource = pytest.importorskip("resource")
    stats = tmp_path / "s.json"
    stats.write_text("{}")
    done = subprocess.run(
        [command, "run", models.detector, "synthetic://noise?frames=2", "--stats", stats, "--force"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "s.json could not be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"s.json": "{}"}


def test_a_summary_that_is_mounted_into_a_container_is_written_in_place(
    bundle, squares_video, tmp_path, ev, monkeypatch
):
    def busy(path, data, *, mode):
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(whole_file, "write_whole", busy)
    stats = tmp_path / "s.json"
    stats.write_text("x" * 9000)
    ended = ev("run", bundle, squares_video, "--stats", stats, "--force", "--frames", 2)
    assert ended.status == 0
    assert json.loads(stats.read_text())["frames"] == 2


@pytest.mark.parametrize(
    ("live", "order"), [(False, ["source", "model"]), (True, ["model", "source"])]
)
def test_files_are_opened_before_the_model_and_live_sources_after_it(live, order, monkeypatch):
    """Files are decoded while the model loads; frames of a live source would be old by then."""
    source = Told(live)
    monkeypatch.setattr(running, "open_model", source.model)
    with running._both_opened(Path("m.evb"), {}, source):
        assert source.done == order
    assert source.done == [*order, *(f"{name} closed" for name in order[::-1])]


def test_a_file_is_closed_when_the_model_cannot_be_opened(monkeypatch):
    def broken(*_, **__):
        raise BundleError("there is no such model")

    monkeypatch.setattr(running, "open_model", broken)
    source = Told(live=False)
    with pytest.raises(BundleError), running._both_opened(Path("m.evb"), {}, source):
        pass
    assert source.done == ["source", "source closed"]


class Told:
    """A source, or what opens a model, that notes what is done with it."""

    def __init__(self, live):
        self.live, self.problems, self.done = live, [], []

    def open(self):
        self.done.append("source")

    def close(self):
        self.done.append("source closed")

    @contextmanager
    def model(self, *_, **__):
        self.done.append("model")
        yield
        self.done.append("model closed")


def test_the_summary_may_go_to_a_device(models, command):
    done = subprocess.run(
        [command, "run", models.detector, "synthetic://noise?frames=2", "-", "--stats", "/dev/stdout", "--force"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"frames": 2' in done.stdout
