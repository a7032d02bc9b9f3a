"""Several models in one call: each its own bundle, one that fails stops no other, and a summary for CI."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevision.bundle import open_bundle
from edgevision.converters import many
from edgevision.converters.bundle_writer import leftovers, sweep
from edgevision.converters.conversion import Order
from edgevision.converters.orders import Job
from edgevision.converters.report.summary import (
    failed_entry,
    summary_json,
    summary_markdown,
    summary_text,
)

Run = Callable[..., subprocess.CompletedProcess[str]]
COMMAND = Path(sys.executable).with_name("edgevision")


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_bytes())
    return found


@pytest.fixture(scope="module")
def mixed(
    edgevision: Run, models: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One that passes, one that is no model, one that misses its gate, and one that passes after them."""
    place = tmp_path_factory.mktemp("mixed")
    (place / "broken.onnx").write_bytes(b"\x08")
    (place / "models.toml").write_text(
        f"""
golden = "none"
samples = 64

[[model]]
model = "{models}/detector.onnx"
precision = ["int8"]
calibration = "{data}/clip.avi"

[[model]]
model = "broken.onnx"

[[model]]
model = "{models}/detector.onnx"
name = "few"
precision = "int8"
calibration = "{data}/few"

[[model]]
model = "{models}/detector.onnx"
name = "plain"
"""
    )
    done = edgevision("convert", "--list", place / "models.toml", "-o", place / "out")
    return done, place / "out"


def test_one_that_fails_stops_no_other(
    mixed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, place = mixed
    assert done.returncode == 1, done.stderr
    assert names(place) == [
        "detector.evb", "few.evb.rejected", "plain.evb", "summary.json", "summary.md",
    ]  # fmt: skip
    statuses = {m["name"]: m["status"] for m in read(place)["models"]}
    assert statuses == {
        "detector": "written", "broken": "failed", "few": "missed", "plain": "written",
    }  # fmt: skip
    assert "Traceback" not in done.stderr


def test_the_summary_has_the_promised_keys(
    mixed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    summary = read(mixed[1])
    assert set(summary) == {"schema", "verdict", "exit_status", "counts", "models"}
    assert (summary["schema"], summary["verdict"], summary["exit_status"]) == (1, "failed", 1)
    assert summary["counts"] == {
        "written": 2, "missed": 1, "failed": 1, "not run": 0, "interrupted": 0,
    }  # fmt: skip
    keys = {
        "model", "name", "status", "output", "verdict", "identity", "default", "random_calibration",
        "variants", "engines", "error", "seconds",
    }  # fmt: skip
    assert all(set(entry) == keys for entry in summary["models"])
    passed, broken, few, _ = summary["models"]
    assert passed["identity"] == open_bundle(mixed[1] / "detector.evb").identity
    assert passed["default"]["variant"] in passed["variants"]
    assert set(passed["variants"]["int8-x86"]) == {
        "size_bytes", "agreement", "accuracy", "verdict", "median_ms", "speedup", "speedup_vs_original",
    }  # fmt: skip
    assert passed["variants"]["int8-x86"]["agreement"]["value"] == 1.0
    assert broken["error"]["kind"] == "ModelError"
    assert "broken.onnx" in broken["error"]["problem"]
    assert (few["output"], few["verdict"]) == ("few.evb.rejected", "insufficient")
    assert few["error"]["kind"] == "GateError"


def test_the_table_says_each_in_a_line(
    mixed: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    lines = mixed[0].stdout.splitlines()
    assert lines[0].split()[0] == "model"
    assert lines[1].startswith("detector.onnx ")
    assert lines[2].startswith("broken.onnx ")
    assert lines[2].endswith("failed")
    assert lines[3].startswith("detector.onnx as few ")
    assert lines[3].endswith("missed: insufficient")
    assert lines[5].startswith("4 models: 2 written, 1 missed, 1 failed: ")
    page = (mixed[1] / "summary.md").read_text(encoding="utf-8")
    assert page.startswith("# 4 models: 2 written, 1 missed, 1 failed\n")
    assert "[few.evb.rejected](few.evb.rejected/report.md)" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({row.count("|") for row in rows}) == 1


def test_json_is_the_summary_and_all_that_stdout_gets(
    edgevision: Run, models: Path, tmp_path: Path
) -> None:
    done = edgevision(
        "convert", models / "detector.onnx", tmp_path / "nothing.onnx", "-o", tmp_path / "out",
        "--golden", "none", "--json",
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == ""
    assert json.loads(done.stdout) == read(tmp_path / "out")


@pytest.mark.parametrize(
    ("statuses", "exit_status"),
    [
        (["written", "written"], 0),
        (["written", "missed"], 3),
        (["missed", "failed"], 1),
        (["failed"], 1),
        (["written", "interrupted", "not run"], 1),
    ],
)
def test_the_exit_status_is_that_of_the_worst(
    order: Callable[..., Order], tmp_path: Path, statuses: list[str], exit_status: int
) -> None:
    job = Job("a", order(tmp_path / "a.evb"))
    entries = [failed_entry(job, status, {"problem": "x"}) for status in statuses]
    summary = summary_json(entries)
    assert summary["exit_status"] == exit_status
    assert summary_markdown(summary).startswith("# ")


# Calls that make no sense


def test_two_models_of_one_name_are_refused_before_any_work(
    edgevision: Run, models: Path, tmp_path: Path
) -> None:
    (tmp_path / "detector.onnx").write_bytes((models / "detector.onnx").read_bytes())
    done = edgevision(
        "convert", models / "detector.onnx", tmp_path / "detector.onnx", "-o", tmp_path / "out"
    )
    assert done.returncode == 2
    assert str(models / "detector.onnx") in done.stderr
    assert str(tmp_path / "detector.onnx") in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["a.onnx", "--list", "models.toml"]])
def test_models_come_from_one_place(edgevision: Run, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "models.toml").write_text('[[model]]\nmodel = "a.onnx"\n')
    done = edgevision("convert", *arguments, "-o", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "--list FILE.toml in place of MODEL" in done.stderr


def test_a_bundle_is_no_folder_for_several(edgevision: Run, models: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text("{}")
    done = edgevision(
        "convert", models / "detector.onnx", models / "plain.onnx", "-o", tmp_path / "out"
    )
    assert done.returncode == 1
    assert "is a bundle" in done.stderr
    assert names(tmp_path / "out") == ["manifest.json"]


# Crashes and signals


def test_a_child_that_is_killed_is_that_models_failure(
    order: Callable[..., Order], tmp_path: Path
) -> None:
    """As the kernel does when there is no memory; what it was working in goes away."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from edgevision.converters import many\n"
        "def dies(job, *, quiet):\n"
        "    output = job.order.output\n"
        "    (output.parent / f'.{output.name}.abcd1234').mkdir()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "real = many._convert_here\n"
        "many._convert_here = lambda job, *, quiet: (dies if job.name == 'a' else real)(job, quiet=quiet)\n"
        "if __name__ == '__main__':\n"
        "    import pickle\n"
        "    from edgevision.progress import Progress\n"
        "    jobs = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "    many.convert_many(jobs, Path(sys.argv[2]), Progress(quiet=True), quiet=True)\n"
    )
    place = tmp_path / "out"
    (place / ".a.evb.another1").mkdir(parents=True)
    jobs = [
        Job(name, order(place / f"{name}.evb", precisions=(), calibration=None)) for name in "ab"
    ]
    (tmp_path / "jobs").write_bytes(pickle.dumps(jobs))
    (tmp_path / "main.py").write_text(script)
    subprocess.run(
        [sys.executable, tmp_path / "main.py", tmp_path / "jobs", place], check=True, timeout=120
    )
    killed, other = read(place)["models"]
    assert killed["status"] == "failed"
    assert killed["error"]["problem"] == "its process was ended by SIGKILL"
    assert "memory" in killed["error"]["hint"]
    assert other["status"] == "written"
    # What lay there before may be another's.
    assert names(place) == [".a.evb.another1", "b.evb", "summary.json", "summary.md"]


@pytest.mark.parametrize(
    ("number", "status", "whole_group"),
    [(signal.SIGINT, 130, True), (signal.SIGINT, 130, False), (signal.SIGTERM, 143, False)],
)
def test_a_signal_ends_the_one_in_hand_and_keeps_what_was_done(
    models: Path, data: Path, tmp_path: Path, number: int, status: int, whole_group: bool
) -> None:
    """``whole_group`` is Ctrl-C on a terminal: every process gets it."""
    (tmp_path / "models.toml").write_text(
        f"""
golden = "none"
[[model]]
model = "{models}/detector.onnx"
[[model]]
model = "{models}/detector.onnx"
name = "second"
precision = "int8"
calibration = "{data}/clip.avi"
[[model]]
model = "{models}/detector.onnx"
name = "third"
"""
    )
    with subprocess.Popen(
        [str(COMMAND), "convert", "--list", str(tmp_path / "models.toml"), "-o", str(tmp_path / "out")],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        seen = next((line for line in process.stderr if "calibrating on" in line), None)
        assert seen is not None, "the second is in hand"
        (os.killpg if whole_group else os.kill)(process.pid, number)
        rest = process.stderr.read()
        assert process.wait(30) == status
    assert "Traceback" not in rest
    assert names(tmp_path / "out") == ["detector.evb", "summary.json", "summary.md"]
    summary = read(tmp_path / "out")
    assert [m["status"] for m in summary["models"]] == ["written", "interrupted", "not run"]
    assert summary["verdict"] == "interrupted"


def test_the_child_ends_when_its_parent_is_killed(models: Path, data: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            str(COMMAND), "convert", str(models / "detector.onnx"), str(models / "plain.onnx"),
            "-o", str(tmp_path / "out"), "--precision", "int8", "--calibration", str(data / "clip.avi"),
        ],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert next(line for line in process.stderr if "calibrating on" in line)
    process.kill()
    process.wait(30)
    # Its standard error is closed once the child, which has it too, has ended.
    process.stderr.read()
    process.stderr.close()
    for _ in range(100):  # the folder goes away just before
        if names(tmp_path / "out") == []:
            break
        time.sleep(0.05)
    assert names(tmp_path / "out") == []


def test_what_a_killed_conversion_left_is_swept_up(tmp_path: Path) -> None:
    output = tmp_path / "a.evb"
    (tmp_path / ".a.evb.old").mkdir()  # it was about to be replaced
    (tmp_path / ".a.evb.mine0001").mkdir()
    before = leftovers(output) - {tmp_path / ".a.evb.old"}
    (tmp_path / ".a.evb.gone0002").mkdir()
    (tmp_path / "b.evb").mkdir()
    sweep(output, before)
    assert names(tmp_path) == [".a.evb.mine0001", "a.evb", "b.evb"]


def test_a_fault_of_ours_is_one_models_failure_and_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        found = many._as_data(error)
    assert found["problem"] == "a fault in edgevision: KeyError: 'x'"
    assert "Traceback" in capsys.readouterr().err
    assert many._as_data(MemoryError())["problem"] == "there is not enough memory"


def test_names_of_files_never_reach_the_terminal_raw() -> None:
    """A bundle is called like its model's file, and a file like whoever made it wants."""
    hostile = "a\x1b[31m\nb"
    job = Job(hostile, Order(Path(f"{hostile}.onnx"), Path(f"out/{hostile}.evb")))
    summary = summary_json([failed_entry(job, "failed", {"problem": "broken"})])
    for text in (summary_text(summary, Path("out")), summary_markdown(summary)):
        assert "\x1b" not in text
        assert "\nb" not in text
    assert (
        summary_text(summary, Path("out")).splitlines()[-1] == "1 model: 1 failed: out/summary.md"
    )
