"""A matrix goes on whatever becomes of a configuration: real signals, a real limit of memory, a real hang."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgevision.benchmarks.schema import schema_text

NOISE = "synthetic://noise?size=8x8"
SCHEMA = json.loads(schema_text())
#: Backends that compute nothing, well or badly: what a driver's fault, a leak or a deadlock looks like from outside.
PLUGIN = """
import os, resource, signal, time
from dataclasses import replace
import numpy as np
from edgevision.backends.fake import FakeBackend
from edgevision.errors import BackendError


def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)

def greedy():
    resource.setrlimit(resource.RLIMIT_DATA, (2**29, 2**29))
    np.ones(2**31, np.uint8)

def hang():
    time.sleep(600)

def quit():
    os._exit(7)

def slow():
    time.sleep(0.02)
    with open(os.environ["MARK"], "a") as mark:
        mark.write("x")


class Faulty(FakeBackend):
    fault, every = None, False

    def open(self, variant, options):
        def outputs(inputs, number):
            if number == 30 or (self.every and number > 5):
                type(self).fault()
            return {}
        return super().open(variant, replace(options, extra={"outputs": outputs}))

def made(name, work, every=False):
    return type(name, (Faulty,), {"fault": staticmethod(work), "every": every})

Segfault, Greedy, Hang, Quit = (made(f.__name__, f) for f in (segfault, greedy, hang, quit))
Slow = made("Slow", slow, every=True)
Plain = made("Plain", lambda: None)

class Refusing(FakeBackend):
    def check(self, variant, options):
        raise BackendError("this machine has no such thing", hint="buy one")

class Broken(Faulty):
    def open(self, variant, options):
        raise BackendError("the engine refuses the model", received="an operator")
"""
NAMES = ("segfault", "greedy", "hang", "quit", "slow", "plain", "refusing", "broken")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that registers the backends above, as an installed package would."""
    folder = tmp_path_factory.mktemp("plugins")
    (folder / "faulty_backends.py").write_text(PLUGIN)
    info = folder / "faulty_backends-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-backends\nVersion: 1\n")
    lines = [f"{name} = faulty_backends:{name.capitalize()}" for name in NAMES]
    (info / "entry_points.txt").write_text("[edgevision.backends]\n" + "\n".join(lines) + "\n")
    return folder


def started(plugins: Path, *arguments: object) -> subprocess.Popen[str]:
    """``edgevision bench …`` in a process group of its own, as a shell starts it."""
    path = os.pathsep.join([str(plugins), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", "from edgevision.cli import main; main()", "bench", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        cwd=plugins,  # in the repository's root its folders would hide the installed package
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )  # fmt: skip


def lines(folder: Path) -> list[dict[str, Any]]:
    journal = folder / "records.jsonl"
    return [json.loads(x) for x in journal.read_text().splitlines()] if journal.exists() else []


def wait_for(what: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not what() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert what(), process.communicate()


@pytest.fixture(scope="module")
def outcome(plugins: Path, model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A matrix in which nearly all goes wrong: exit status, JSON, stderr, and the report's folder."""
    folder = tmp_path_factory.mktemp("report")
    backends = "segfault,greedy,quit,refusing,broken,unheard-of,plain"
    arguments = ("--duration", 0, "--backend", backends, "--report", folder, "--json")
    process = started(plugins, model_file, NOISE, *arguments)
    out, err = process.communicate(timeout=240)
    return process.returncode, json.loads(out), err, folder


def record_of(outcome: Any, backend: str) -> dict[str, Any]:
    records: list[dict[str, Any]] = outcome[1]["records"]
    return next(record for record in records if record["backend"] == backend)


@pytest.mark.parametrize(
    ("backend", "status", "said"),
    [
        ("segfault", "crashed", "SIGSEGV"),
        ("quit", "crashed", "status 7"),
        ("greedy", "out-of-memory", "memory"),
        ("broken", "failed", "the engine refuses the model"),
        ("plain", "ok", None),
    ],
)
def test_each_fault_is_a_record_and_not_the_end(
    outcome: Any, backend: str, status: str, said: str | None
) -> None:
    record = record_of(outcome, backend)
    assert record["status"] == status
    assert (record["error"] is None) == (said is None)
    if said is not None:
        assert said in record["error"]["problem"]
        assert not record["valid"]
    assert len(record["instance"]["instance_id"]) == 12


def test_where_a_crash_happened_is_told(outcome: Any) -> None:
    received = record_of(outcome, "segfault")["error"]["received"]
    assert "Segmentation fault" in received
    assert "segfault" in received


def test_every_kind_of_record_follows_the_published_schema(outcome: Any) -> None:
    for record in outcome[1]["records"]:
        jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_what_cannot_be_is_named_and_not_run(outcome: Any) -> None:
    skipped = {one["wanted"]["backend"]: one["error"]["problem"] for one in outcome[1]["skipped"]}
    assert skipped == {
        "refusing": "this machine has no such thing",
        "unheard-of": "unknown backend 'unheard-of'",
    }
    assert {record["backend"] for record in outcome[1]["records"]}.isdisjoint(skipped)


def test_journal_holds_the_same_records_and_reports_are_made(outcome: Any) -> None:
    assert lines(outcome[3]) == outcome[1]["records"]
    names = {path.name for path in outcome[3].iterdir()}
    assert names == {"records.jsonl", "records.csv", "report.md", "report.html"}
    page = (outcome[3] / "report.md").read_text()
    assert "CRASHED" in page
    assert "SIGSEGV" in page
    assert "buy one" not in page
    assert "this machine has no such thing" in page


def test_a_matrix_with_faults_is_not_valid(outcome: Any) -> None:
    assert outcome[0] == 3


def test_what_crashes_in_one_round_is_not_run_in_the_next(
    plugins: Path, model_file: Path, tmp_path: Path
) -> None:
    arguments = ("--duration", 0, "--backend", "segfault,ort", "--runs", 2, "--report", tmp_path)
    process = started(plugins, model_file, NOISE, *arguments)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 3, err
    made = [(r["backend"], r["status"], r["repetition"]["number"]) for r in lines(tmp_path)]
    assert made == [("segfault", "crashed", 1), ("ort", "ok", 1), ("ort", "ok", 2)]
    assert "CRASHED" in out
    assert "the one of 2 runs whose p90 is in the middle" in out


def test_silence_is_a_time_out_that_says_where_it_hangs(
    plugins: Path, model_file: Path, tmp_path: Path
) -> None:
    arguments = ("--duration", 0, "--backend", "hang", "--report", tmp_path, "--timeout", 4)
    process = started(plugins, model_file, NOISE, *arguments)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "no sign of life for 4 s" in err
    (record,) = lines(tmp_path)
    assert record["status"] == "timed-out"
    jsonschema.validate(record, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_ctrl_c_keeps_the_part_that_was_measured_and_resume_goes_on(
    plugins: Path, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (
        model_file,
        NOISE,
        "--duration",
        0,
        "--backend",
        "plain,slow",
        "--report",
        tmp_path,
    )
    mark = tmp_path / "mark"
    monkeypatch.setenv("MARK", str(mark))
    process = started(plugins, *arguments, "--min-queries", 2000)
    # Into the slow one, which takes 40 s.
    wait_for(lambda: mark.exists() and mark.stat().st_size > 50, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the children too
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    first, second = lines(tmp_path)
    assert (first["status"], second["status"]) == ("ok", "interrupted")
    assert not second["valid"]
    assert "interrupted by signal 2" in second["invalid_reason"]
    assert 0 < second["queries"] < 2000
    assert (tmp_path / "report.md").exists()
    jsonschema.validate(second, SCHEMA, cls=jsonschema.Draft202012Validator)

    arguments = tuple("plain" if a == "plain,slow" else a for a in arguments)
    again = started(plugins, *arguments, "--min-queries", 2000, "--resume")
    again.communicate(timeout=60)
    assert (again.returncode, len(lines(tmp_path))) == (0, 2)  # nothing was measured again


def test_after_a_kill_resume_measures_what_is_missing(
    plugins: Path, model_file: Path, tmp_path: Path
) -> None:
    arguments = (model_file, NOISE, "--duration", 0, "--backend", "plain", "--report", tmp_path)
    process = started(plugins, *arguments, "--threads", "1,2", "--warmup", 1)
    wait_for(lambda: len(lines(tmp_path)) == 1, process)
    process.kill()
    process.communicate(timeout=60)
    wait_for_group_to_end(process.pid)
    journal = tmp_path / "records.jsonl"
    whole = journal.read_bytes().splitlines(keepends=True)[0]
    journal.write_bytes(whole + whole[: len(whole) // 2])  # what a crash in mid-line leaves

    again = started(plugins, *arguments, "--threads", "1,2", "--warmup", 1, "--resume", "--json")
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert [r["instance"]["threads"] for r in json.loads(out)["records"]] == [1, 2]
    kept, cut, fresh = journal.read_bytes().splitlines(keepends=True)
    assert kept == whole
    assert cut == whole[: len(whole) // 2] + b"\n"
    assert json.loads(fresh)["instance"]["threads"] == 2


def wait_for_group_to_end(group: int) -> None:
    """Children of a killed parent end by themselves."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise AssertionError("a child outlived its parent")
