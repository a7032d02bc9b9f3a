"""Lists on the command line, as a user gives them, on a tiny classifier and on NanoDet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import onnx
import pytest
from onnx import helper

from edgevision import presets
from edgevision.benchmarks.record import record_from_json
from edgevision.benchmarks.schema import schema_text
from edgevision.cli import main
from edgevision.metadata import KEY, variant_metadata
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

NOISE = "synthetic://noise?size=8x8"
QUICK = ["--duration", "0", "--min-queries", "64"]


def bench(*arguments: str | Path) -> int:
    """Exit status of ``edgevision bench …``."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *map(str, arguments)])
    return int(caught.value.code or 0)


def test_matrix_shows_a_table_and_writes_all_records(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "all.json"
    lists = ["--threads", "1,2", "--compute", "fp32,bf16", "--backend", "ort"]
    assert bench(model_file, NOISE, *QUICK, *lists, "--output", output) == 0
    shown = capsys.readouterr()
    assert "skipped: ort · bf16 · threads 1" in shown.err
    assert shown.err.index("skipped") < shown.err.index("1/2 fp32 · ort")
    assert "threads" in shown.out
    assert shown.out.count("VALID") == 2
    assert f"written: {output}" in shown.out
    data = json.loads(output.read_text())
    assert data["matrix_schema"] == 1
    assert [record["threads"]["engine"] for record in data["records"]] == [1, 2]
    assert [one["wanted"]["compute"] for one in data["skipped"]] == ["bf16", "bf16"]
    for record in data["records"]:
        jsonschema.validate(record, json.loads(schema_text()))


def test_one_configuration_with_a_report_is_shown_as_one(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(model_file, NOISE, *QUICK, "--report", tmp_path, "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["valid"]
    (line,) = (tmp_path / "records.jsonl").read_text().splitlines()
    assert record_from_json(json.loads(line)).to_json() == data


def test_record_of_a_child_is_asked_for_as_that_of_this_process(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(model_file, NOISE, *QUICK, "--json")
    here = json.loads(capsys.readouterr().out)
    bench(model_file, NOISE, *QUICK, "--json", "--report", tmp_path)
    child = json.loads(capsys.readouterr().out)
    assert here["instance"] == child["instance"]
    assert here["request_id"] == child["request_id"] != ""
    assert set(here) == set(child)


def test_resume_measures_again_what_was_asked_otherwise(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [model_file, NOISE, "--duration", "0", "--report", tmp_path]
    count = lambda: len((tmp_path / "records.jsonl").read_text().splitlines())  # noqa: E731
    assert bench(*arguments, "--min-queries", "64") == 0
    assert bench(*arguments, "--min-queries", "64", "--resume") == 0
    assert count() == 1
    assert bench(*arguments, "--min-queries", "65", "--resume") == 0
    assert count() == 2
    assert bench(*arguments, "--min-queries", "64") == 0  # without it a history grows
    assert count() == 3


def test_runs_are_made_in_rounds_there_and_back_and_compare_takes_all(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / "all.json", tmp_path / "report"
    lists = ["--threads", "1,2", "--runs", "3", "--report", report, "--output", output]
    assert bench(model_file, NOISE, *QUICK, *lists) == 0
    shown = capsys.readouterr()
    assert "4/6 fp32 · ort · 2 threads · latency · single-stream, run 2 of 3" not in shown.err
    assert "4/6 fp32 · ort · 1 thread · latency · single-stream, run 2 of 3" in shown.err
    records = json.loads(output.read_text())["records"]
    told = [(r["threads"]["engine"], r["repetition"]["number"]) for r in records]
    assert told == [(1, 1), (2, 1), (2, 2), (1, 2), (1, 3), (2, 3)]
    assert {r["repetition"]["of"] for r in records} == {3}
    for record in records:
        jsonschema.validate(record, json.loads(schema_text()))
    assert [json.loads(x) for x in (report / "records.jsonl").open()] == records

    table = [line for line in shown.out.splitlines() if "fp32" in line and "VALID" in line]
    assert len(table) == 2  # one row a configuration: the run in the middle
    rows = list(csv.DictReader((report / "records.csv").open()))
    assert [(row["threads"], row["run"]) for row in rows] == [(str(t), str(n)) for t, n in told]
    assert {row["runs"] for row in rows} == {"3"}
    for page in ("report.md", "report.html"):
        assert "of 3 runs whose p90 is in the middle" in (report / page).read_text()

    with pytest.raises(SystemExit) as caught:
        main(["compare", str(output), str(report), "--json"])
    assert not caught.value.code
    compared = json.loads(capsys.readouterr().out)["comparisons"]
    assert [one["base"]["runs"] for one in compared] == [3, 3]


def test_one_configuration_in_several_runs_has_a_process_for_each(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "runs.json"
    assert bench(model_file, NOISE, *QUICK, "--runs", "3", "--output", output) == 0
    shown = capsys.readouterr().out
    records = json.loads(output.read_text())["records"]
    values = sorted(record["result"]["value"] for record in records)
    assert f"{values[1]:,.3f} ms" in shown  # the whole table is that of the one in the middle
    assert "the one of 3 runs whose p90 is in the middle" in shown
    assert f"theirs are {values[0]:,.2f} to {values[2]:,.2f} ms" in shown
    assert all(record["load_ms"] > 0 and record["warmup_queries"] == 10 for record in records)


def test_resume_makes_the_runs_that_are_missing(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [model_file, NOISE, *QUICK, "--report", tmp_path]
    assert bench(*arguments, "--runs", "2") == 0
    assert bench(*arguments, "--runs", "4", "--resume") == 0
    assert "1/4 fp32 · ort · latency · single-stream, run 1 of 2" in capsys.readouterr().err
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").open()]
    assert [record["repetition"]["number"] for record in records] == [1, 2, 3, 4]
    assert bench(*arguments, "--runs", "4", "--resume") == 0
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4
    assert "the one of 4 runs" in capsys.readouterr().out


def test_resume_goes_on_with_the_runs_that_were_made_last(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Measured anew, and interrupted in the second of three runs: what was measured before is another set."""
    arguments = [model_file, NOISE, *QUICK, "--report", tmp_path, "--runs", "3"]
    journal = tmp_path / "records.jsonl"
    assert bench(*arguments) == bench(*arguments) == 0
    *whole, cut, _ = [json.loads(line) for line in journal.open()]
    cut |= {"status": "interrupted", "valid": False, "invalid_reason": "interrupted by signal 2"}
    journal.write_text("".join(json.dumps(record) + "\n" for record in [*whole, cut]))
    capsys.readouterr()
    assert bench(*arguments, "--resume") == 0
    made = [json.loads(line) for line in journal.open()][5:]
    assert [record["repetition"]["number"] for record in made] == [2, 3]
    last_three = sorted(record["result"]["value"] for record in [whole[3], *made])
    assert f"{last_three[1]:,.3f} ms" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "records.csv").open()))
    assert sorted(float(row["result"]) for row in rows) == last_three


def test_resume_takes_records_whose_memory_is_in_mebibytes(
    model_file: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "records.jsonl"
    assert bench(model_file, NOISE, *QUICK, "--report", tmp_path) == 0
    record = json.loads(journal.read_text())
    record["environment"]["memory_mb"] = int(record["environment"]["memory_mb"] * 1e6) >> 20
    journal.write_text(json.dumps(record) + "\n")
    assert bench(model_file, NOISE, *QUICK, "--report", tmp_path, "--resume") == 0
    assert len(journal.read_text().splitlines()) == 1


def test_what_failed_is_not_run_again(model_file: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.png"
    report = tmp_path / "report"
    assert bench(model_file, absent, *QUICK, "--runs", "3", "--report", report) == 1
    assert len((report / "records.jsonl").read_text().splitlines()) == 1


def test_two_that_take_turns_are_not_run_several_times(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(model_file, NOISE, *QUICK, "--vs", model_file, "--runs", "2") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "--vs lets two take turns within one run" in told
    assert "leave --runs out" in told


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["--threads", "1,,2"], "empty part"),
        (["--threads", "1,many"], "many"),
        (["--hint", "latency,fast"], "fast"),
        (["--scenario", "single-stream,rush-hour"], "rush-hour"),
        (["--size", "12by13"], "height x width"),
        (["--size", "0x8"], "1 to 16384"),
        (["--batch", "0"], "0"),
        (["--runs", "0"], "1<=x<=1000"),
        (["--resume"], "--report"),
        (["--backend", "nonsense,rubbish"], "none of these combinations"),
        (["--backend", "nonsense", "--report", "{}"], "unknown backend"),
        (["--backend", "nonsense", "--threads", "1,2"], "edgevision: unknown backend"),
        (["--fps", "5"], "--fps"),
    ],
)
def test_senseless_list_is_a_usage_error(
    wrong: list[str],
    told: str,
    model_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [one.format(tmp_path) for one in wrong]
    assert bench(model_file, NOISE, *QUICK, *given) == 2
    assert told in capsys.readouterr().err


def test_source_that_is_not_there_fails_as_it_does_alone(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report"
    assert bench(model_file, tmp_path / "absent.mp4", *QUICK, "--report", report) == 1
    assert "there is no" in capsys.readouterr().err
    assert json.loads((report / "records.jsonl").read_text())["status"] == "failed"


def test_model_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    assert bench(tmp_path / "absent.evb", NOISE, *QUICK, "--report", tmp_path / "report") == 1
    assert not (tmp_path / "report").exists()


def test_resume_tries_again_what_failed(model_file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    arguments = [model_file, picture, *QUICK, "--report", tmp_path / "report"]
    assert bench(*arguments) == 1
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    assert bench(*arguments, "--resume") == 0
    lines = (tmp_path / "report/records.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["failed", "ok"]


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "A record of edgevision bench"


def test_real_detector_with_two_hints(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(test_data / "models/nanodet.onnx")
    labels = (test_data / "labels/coco-80.txt").read_text().split("\n")[:80]
    told = presets.load("nanodet")
    spec = ModelSpec(
        told["task"],
        InputSpec.from_dict(told["input"]),
        OutputSpec.from_dict(told["output"]),
        tuple(labels),
    )
    helper.set_model_props(model, {KEY: variant_metadata("fp32", "fp32", spec)})
    path = tmp_path / "nanodet.onnx"
    onnx.save(model, path)
    arguments = ["--hint", "latency,throughput", "--size", "416,320", "--warmup", "1"]
    video = test_data / "video/vtest.avi"
    assert bench(path, video, *QUICK, *arguments, "--report", tmp_path / "r", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert [r["hint"] for r in data["records"]] == ["latency", "throughput"]
    assert all(r["valid"] and r["queries"] >= 64 for r in data["records"])
    told = {one["error"]["problem"] for one in data["skipped"]}
    assert told == {"fp32 takes pictures of 416x416, not of 320x320"}
    assert "nanodet" in (tmp_path / "r/report.html").read_text()
