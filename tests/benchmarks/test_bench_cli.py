"""The verb ``bench`` as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgevision.backends.fake import FakeSlot
from edgevision.cli import main

NOISE = "synthetic://noise?size=8x8"
QUICK = ["--duration", "0"]


def bench(*arguments: str | Path) -> int:
    """Exit status of ``edgevision bench …``."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *map(str, arguments)])
    return int(caught.value.code or 0)


def test_valid_run_prints_a_table_and_writes_its_record(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.json"
    assert bench(model_file, NOISE, *QUICK, "--output", output) == 0
    shown = capsys.readouterr().out
    assert "tiny · single-stream · VALID" in shown
    assert f"written: {output}" in shown
    data = json.loads(output.read_text())
    assert data["valid"]
    assert (data["queries"], data["warmup_queries"]) == (100, 10)
    assert data["source"]["uri"] == NOISE


def test_json_alone_goes_to_stdout(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(model_file, NOISE, *QUICK, "--json", "--threads", "2", "--hint", "throughput") == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert (data["hint"], data["options"]["threads"]) == ("throughput", 2)
    assert captured.err == ""


def test_an_engine_that_computes_nothing_is_never_valid(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(model_file, NOISE, *QUICK, "--backend", "fake") == 3
    assert "INVALID: the backend 'fake' computes nothing" in capsys.readouterr().out


def test_what_the_user_left_alone_is_no_option_of_the_record(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(model_file, NOISE, *QUICK, "--json")
    assert json.loads(capsys.readouterr().out)["options"] == {}


def test_numbers_are_shown_even_where_the_record_cannot_be_written(
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert bench(model_file, NOISE, *QUICK, "--output", tmp_path / "b.json") == 1
    shown = capsys.readouterr()
    assert "throughput" in shown.out
    assert "No space left" in shown.err


def bench_into(stdout: int, *arguments: str | Path) -> int:
    """Exit status of ``edgevision bench …`` in a process of its own that writes there."""
    code = "from edgevision.cli import main; main()"
    command = [sys.executable, "-c", code, "bench", *map(str, arguments)]
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.DEVNULL, cwd="/", check=False)
    return done.returncode


@pytest.mark.parametrize("several", [False, True])
def test_reader_who_has_left_takes_neither_the_files_nor_the_exit_status(
    several: bool, model_file: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    output, report = tmp_path / "b.json", tmp_path / "report"
    # Too few queries for a p90, so that the status is one of its own.
    arguments = [model_file, NOISE, *QUICK, "--min-queries", "20", "--output", output]
    more = ["--report", report, "--hint", "latency,throughput"] if several else ["--json"]
    assert bench_into(writing, *arguments, *more) == 3
    os.close(writing)
    data = json.loads(output.read_text())
    assert {one["queries"] for one in data.get("records", [data])} <= {20, 21, 22}
    assert not several or (report / "report.html").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("more", [[], ["--runs", "2"], ["--vs", "{model}"]], ids=str)
def test_stdout_on_a_full_disk_does_not_take_the_files(
    more: list[str], model_file: Path, tmp_path: Path
) -> None:
    output, report = tmp_path / "b.json", tmp_path / "report"
    more = [part.format(model=model_file) for part in more]
    with Path("/dev/full").open("w") as full:
        arguments = [model_file, NOISE, *QUICK, "--output", output, *more]
        arguments += ["--report", report] if more else []
        assert bench_into(full.fileno(), *arguments) == 1
    assert json.loads(output.read_text())
    assert not more or len([*report.iterdir()]) == 4


def test_inference_only_is_marked(model_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(model_file, NOISE, *QUICK, "--inference-only") == 0
    assert "single-stream-inference-only" in capsys.readouterr().out


def test_invalid_run_exits_3_and_is_recorded_as_such(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.json"
    assert bench(model_file, NOISE, *QUICK, "--min-queries", "20", "--output", output) == 3
    assert "INVALID: the result of single-stream is p90" in capsys.readouterr().out
    assert not json.loads(output.read_text())["valid"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_run_with_an_invalid_record(
    number: signal.Signals,
    status: int,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wait, waits = FakeSlot.wait, []

    def wait_and_signal(self: FakeSlot, timeout_s: float | None = None) -> object:
        waits.append(1)
        if len(waits) == 40:
            signal.raise_signal(number)
        return wait(self, timeout_s)

    monkeypatch.setattr(FakeSlot, "wait", wait_and_signal)
    output = tmp_path / "b.json"
    arguments = ["--backend", "fake", "--duration", "60", "--output", output]
    assert bench(model_file, NOISE, *arguments) == status
    data = json.loads(output.read_text())
    assert data["invalid_reason"] == f"interrupted by signal {int(number)} after 29 counted queries"
    assert data["queries"] == 29
    assert data["status"] == "interrupted"


def test_existing_output_is_refused_before_anything_runs(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.json"
    output.write_text("mine")
    assert bench(tmp_path / "no-model.onnx", NOISE, "--output", output) == 1
    assert "--force" in capsys.readouterr().err
    assert output.read_text() == "mine"
    assert bench(model_file, NOISE, *QUICK, "--output", output, "--force") == 0
    assert json.loads(output.read_text())["valid"]


def test_run_that_fails_leaves_no_output(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b.json"
    assert bench(model_file, tmp_path / "absent.mp4", *QUICK, "--output", output) == 1
    assert "there is no" in capsys.readouterr().err
    assert not output.exists()


def test_model_without_golden_frames_asks_for_a_source(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(model_file, *QUICK) == 2
    assert "SOURCE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--duration", "nan"], ["--duration", "-1"], ["--min-queries", "0"],
              ["--scenario", "server"], ["--warmup", "x"]],
)  # fmt: skip
def test_senseless_option_is_a_usage_error(wrong: list[str], model_file: Path) -> None:
    assert bench(model_file, NOISE, "--backend", "fake", *wrong) == 2


def test_importing_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, edgevision.benchmarks.cli\n"
        "print(sorted({'numpy', 'cv2', 'onnx', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout.strip() == "[]"
