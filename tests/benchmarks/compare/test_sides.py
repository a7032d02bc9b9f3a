"""What is compared with what, what is refused, and what comes out: exit status, table, Markdown, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevision.benchmarks.compare.markdown import report_markdown
from edgevision.benchmarks.compare.report_json import report_json
from edgevision.benchmarks.compare.sides import compare_sides
from edgevision.benchmarks.compare.text import report_text
from edgevision.cli import main
from edgevision.errors import DataError

MakeRecord = Callable[..., dict[str, Any]]
Quiet = Callable[..., Any]
Write = Callable[[str, Any], Path]


def compare(*arguments: str | Path) -> int:
    """Exit status of ``edgevision compare …``."""
    with pytest.raises(SystemExit) as caught:
        main(["compare", *map(str, arguments)])
    return int(caught.value.code or 0)


@pytest.fixture
def pair(make_record: MakeRecord, write: Write, quiet: Quiet) -> tuple[Path, Path]:
    """A base, and a new record that takes 30 % longer."""
    identity = {"name": "street", "identity": "b" * 64}
    return (
        write("base.json", make_record(quiet(1))),
        write("new.json", make_record(quiet(2, 13), bundle=identity)),
    )


def test_real_regression_exits_3_and_names_the_metric(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*pair, "--max-regression", "p50=5%,fps=50%") == 3
    shown = capsys.readouterr().out
    assert "SLOWER" in shown
    assert re.search(
        r"gate +p50 at most 5 % worse: FAILED, worse by \+29\.\d % to \+30\.\d %", shown
    )
    assert "fps at most 50 % worse: PASSED" in shown


def test_regression_within_the_bound_passes(pair: tuple[Path, Path]) -> None:
    assert compare(*pair, "--max-regression", "p50=50%") == 0
    assert compare(*pair) == 0


def test_a_gate_that_cannot_tell_says_so_and_passes(
    make_record: MakeRecord, write: Write, quiet: Quiet, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [write(f"{n}.json", make_record(quiet(n, 10 + n, 100))) for n in (0, 5)]
    assert compare(*files, "--max-regression", "p99=5%") == 0
    shown = capsys.readouterr().out
    assert "CANNOT TELL, p99 takes 662 queries; there are 100" in shown
    last = shown.splitlines()[-1]
    assert "CANNOT TELL: a regression was neither found nor ruled out; exit status 0" in last
    assert compare(*files, "--max-regression", "p99=5%", "--markdown") == 0
    third = capsys.readouterr().out.splitlines()[2]
    assert third.startswith("❔ **CANNOT TELL: a regression was neither found nor ruled out")
    assert compare(*files, "--max-regression", "p99=5%", "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert data["gate"] == "cannot tell"
    assert data["gate_text"].startswith("CANNOT TELL: a regression was neither found")


def test_same_file_twice_is_no_difference(pair: tuple[Path, Path]) -> None:
    record = json.loads(pair[0].read_text())
    report = compare_sides([record], [record])
    assert report.comparisons[0].verdict == "no difference"
    assert report.comparisons[0].notes == ["base and new are one and the same record"]


def test_where_the_noise_floor_comes_from_is_said(make_record: MakeRecord, quiet: Quiet) -> None:
    runs = [make_record(quiet(seed)) for seed in range(6)]
    few, enough = (compare_sides(runs[:count], runs[5:]) for count in (1, 5))
    text = " ".join(report_text(few).split())
    assert "NO DIFFERENCE (p50: none beyond ±13.3 %)" in text
    assert "taken to vary by 4 %, so that up to ±13.3 % may be noise" in text
    assert "edgevision bench --runs 5 of both, or --vs" in text
    assert "±13.3 %" in report_markdown(few)
    measured = " ".join(report_text(enough).split())
    assert "differ among themselves: 5 of the base, 1 of the new" in measured
    assert "--runs" not in measured
    found = [report_json(report)["comparisons"][0]["noise_floor_from"] for report in (few, enough)]
    assert found == ["assumed", "runs"]


def test_runs_that_wandered_more_than_is_assumed_say_so(make_record: MakeRecord) -> None:
    """Levels 10 … 17 for 100 queries each: 2.89 is the square of 17 ÷ 10, by more than which two may well differ."""
    wild = make_record(np.repeat(np.arange(10.0, 18.0), 100))
    text = " ".join(report_text(compare_sides([wild], [wild])).split())
    assert "more where these runs wandered more themselves" in text
    assert "none beyond ×2.9" in text


def test_single_runs_do_not_fail_a_gate_for_what_runs_differ_by(
    make_record: MakeRecord, quiet: Quiet
) -> None:
    slower = compare_sides(
        [make_record(quiet(1))], [make_record(quiet(2, 11.5))], limits={"p50": 0.05}
    )
    assert (slower.outcome, slower.exit_status) == ("cannot tell", 0)
    shown = " ".join(report_text(slower).split())
    assert "noise alone makes ±13.3 %, more than the bound" in shown


def test_flags_of_all_runs_are_told_once_a_kind(make_record: MakeRecord, quiet: Quiet) -> None:
    flags = [[{"kind": "busy", "text": f"others used {n} %"}] for n in (20, 30, 40)]
    runs = [make_record(quiet(n), flags=flag) for n, flag in enumerate([*flags, []])]
    (comparison,) = compare_sides(runs, [make_record(quiet(9))]).comparisons
    assert comparison.notes == ["base: others used 40 % (such in 3 of 4 runs)"]


def test_runs_that_are_invalid_are_left_out_and_counted(
    make_record: MakeRecord, quiet: Quiet
) -> None:
    broken = make_record(quiet(1), valid=False, invalid_reason="too few queries")
    runs = [make_record(quiet(0)), broken, make_record(quiet(2))]
    (comparison,) = compare_sides(runs, [make_record(quiet(3))]).comparisons
    assert len(comparison.base) == 2
    assert comparison.notes == ["base: records left out, being INVALID: 1"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_it_does_not_matter_which_of_several_runs_is_invalid(
    place: int, make_record: MakeRecord, quiet: Quiet
) -> None:
    runs = [
        make_record(quiet(n), repetition={"number": n + 1, "of": 3}, request_id="a")
        for n in range(3)
    ]
    runs[place] |= {"valid": False, "invalid_reason": "too few queries"}
    (comparison,) = compare_sides([make_record(quiet(9))], runs).comparisons
    assert len(comparison.new) == 2
    assert comparison.notes == ["new: records left out, being INVALID: 1"]


@pytest.mark.parametrize(
    "change",
    [
        {"repetition": None},  # a later run that was asked for alone
        {"status": "crashed", "error": {"problem": "SIGSEGV"}},
    ],
)
def test_a_last_run_that_is_broken_is_not_passed_over(
    change: dict[str, Any], make_record: MakeRecord, quiet: Quiet
) -> None:
    broken = {"valid": False, "invalid_reason": "too few queries"} | change
    runs = [
        make_record(quiet(n), repetition={"number": n + 1, "of": 3}, request_id="a")
        for n in range(3)
    ]
    with pytest.raises(DataError, match="nothing that can be compared"):
        compare_sides([make_record(quiet(9))], [*runs[:2], runs[2] | broken])


@pytest.mark.parametrize("text", ["p99", "p98=5%"])
def test_senseless_bound_is_a_usage_error(text: str, pair: tuple[Path, Path]) -> None:
    assert compare(*pair, "--max-regression", text) == 2


def test_markdown_and_json_exclude_each_other(pair: tuple[Path, Path]) -> None:
    assert compare(*pair, "--markdown", "--json") == 2


def test_unlike_records_are_refused_or_marked(
    make_record: MakeRecord, write: Write, quiet: Quiet, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = make_record([1])["environment"] | {"cpu": {"name": "Cortex-A78AE"}}
    files = (
        write("base.json", make_record(quiet(1))),
        write("new.json", make_record(quiet(2), environment=environment)),
    )
    assert compare(*files) == 1
    refused = capsys.readouterr().err
    assert "environment.cpu.name: Zen 4 → Cortex-A78AE" in refused
    assert "--allow-different" in refused
    assert compare(*files, "--allow-different") == 0
    shown = capsys.readouterr().out
    assert "DIFFERENT       environment.cpu.name" in shown
    assert "allowed by --allow-different" in shown
    assert compare(*files, "--allow-different", "--markdown") == 0
    assert "No like with like" in capsys.readouterr().out


def test_invalid_record_is_refused_or_marked(
    make_record: MakeRecord, write: Write, quiet: Quiet, capsys: pytest.CaptureFixture[str]
) -> None:
    invalid = make_record(quiet(2), valid=False, invalid_reason="interrupted by signal 2")
    files = write("base.json", make_record(quiet(1))), write("new.json", invalid)
    assert compare(*files) == 1
    assert "new.json is INVALID: interrupted by signal 2" in capsys.readouterr().err
    assert compare(*files, "--allow-different") == 0
    assert "new: INVALID: interrupted by signal 2" in capsys.readouterr().out


def test_matrix_is_matched_by_configuration(make_record: MakeRecord, quiet: Quiet) -> None:
    base = [make_record(quiet(1)), make_record(quiet(2), variant="int8"),
            make_record(quiet(3), variant="fp16")]  # fmt: skip
    crashed = make_record([], variant="fp16", status="crashed", valid=False,
                          error={"problem": "signal 11"})  # fmt: skip
    new = [make_record(quiet(4, 20), variant="int8"), make_record(quiet(5)), crashed,
           make_record(quiet(6), variant="bf16")]  # fmt: skip
    report = compare_sides(base, new)
    verdicts = {c.new[-1]["variant"]: c.verdict for c in report.comparisons}
    assert verdicts == {"fp32": "no difference", "int8": "slower"}
    skipped = {s.title.split()[0]: (s.reason, s.lost) for s in report.skipped}
    assert skipped == {"fp16": ("new crashed: signal 11", True), "bf16": ("not in base", False)}
    assert report.exit_status == 0


def test_two_models_in_one_history_are_two(make_record: MakeRecord, quiet: Quiet) -> None:
    other = {"name": "garments", "identity": "c" * 64}
    base = [make_record(quiet(1)), make_record(quiet(2, 5), bundle=other)]
    new = [make_record(quiet(3, 5), bundle=other), make_record(quiet(4))]
    report = compare_sides(base, new)
    assert [c.verdict for c in report.comparisons] == ["no difference", "no difference"]


def test_gate_does_not_pass_what_was_not_measured(make_record: MakeRecord, quiet: Quiet) -> None:
    base = [make_record(quiet(1)), make_record(quiet(2), variant="int8")]
    report = compare_sides(base, [make_record(quiet(3))], limits={"p50": 0.5})
    assert (report.outcome, report.exit_status) == ("cannot tell", 1)
    assert report.gate_text == (
        "CANNOT TELL: 1 configuration of the base not measured anew; exit status 1"
    )


def test_one_against_one_of_another_configuration_is_refused(
    make_record: MakeRecord, quiet: Quiet
) -> None:
    with pytest.raises(DataError) as caught:
        compare_sides([make_record(quiet(1))], [make_record(quiet(2), variant="int8")])
    assert caught.value.received == "variant: fp32 → int8"


def test_history_counts_runs_of_the_same_thing_only(make_record: MakeRecord, quiet: Quiet) -> None:
    older = make_record(quiet(0, 50), bundle={"name": "street", "identity": "0" * 64})
    slow_machine = make_record(quiet(1, 90), threads={"engine": 1, "opencv": 1})
    same = [make_record(quiet(seed)) for seed in range(2, 8)]
    slow_machine["instance"] = older["instance"] = {"instance_id": "1"}
    for record in same:
        record["instance"] = {"instance_id": "1"}
    (comparison,) = compare_sides([older, slow_machine, *same], [same[0]]).comparisons
    assert len(comparison.base) == 6
    assert "base: older records of something else left out: 2" in comparison.notes


def test_records_that_took_turns_are_compared_pair_by_pair(make_record: MakeRecord) -> None:
    rng = np.random.default_rng(1)
    level = 10 * np.exp(np.cumsum(rng.normal(0, 0.03, 1600)))
    turns = {"run": "r", "block_queries": 2}
    blocks = level.reshape(-1, 2, 2)
    base = make_record(blocks[:, 0].ravel(), interleaved=turns | {"side": "A"})
    new = make_record(blocks[:, 1].ravel() * 1.1, interleaved=turns | {"side": "B"}, variant="int8")
    (comparison,) = compare_sides([base], [new]).comparisons
    assert comparison.block == 2
    assert comparison.verdict == "slower"
    assert not compare_sides([base], [base]).comparisons[0].block
    other = make_record(level, interleaved=turns | {"side": "B", "run": "another"})
    assert compare_sides([base], [other]).comparisons[0].block is None


def test_table_is_narrow_and_foreign_text_is_harmless(
    make_record: MakeRecord, quiet: Quiet
) -> None:
    evil = {"name": "\x1b[31m<b>|x", "identity": "a" * 64}
    flags = [{"kind": "throttled", "text": "throttled <script>" + "y" * 300}]
    records = [make_record(quiet(n), bundle=evil, flags=flags) for n in (1, 2)]
    report = compare_sides(records[:1], records[1:], names=("<i>", "n|ew"), limits={"p99.9": 0.1})
    text, markdown = report_text(report), report_markdown(report)
    assert max(map(len, text.splitlines())) <= 100 or "y" * 80 in text
    assert "\x1b" not in text + markdown
    assert "<b>" not in markdown
    assert "<i>" not in markdown
    assert "<script>" not in markdown
    assert markdown.count("<details>") == markdown.count("</details>") == 1
    assert "p99.9" in text


def test_markdown_begins_with_what_a_reviewer_needs(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*pair, "--markdown", "--max-regression", "p50=5%") == 3
    head, _, details = capsys.readouterr().out.partition("<details>")
    assert "### Benchmark: new.json against base.json" in head
    assert "❌ **FAILED; exit status 3** (at most worse: p50 5 %)" in head
    assert re.search(r"\| \*\*\+(29|30)\.\d %\*\* \|", head)
    assert len(head.splitlines()) < 10
    assert "noise floor" in details


def test_json_has_its_keys(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*pair, "--json", "--max-regression", "p50=5%") == 3
    data = json.loads(capsys.readouterr().out)
    assert list(data) == [
        "schema", "base", "new", "confidence", "allow_different", "max_regression", "gate",
        "gate_text", "exit_status", "comparisons", "not_compared",
    ]  # fmt: skip
    (one,) = data["comparisons"]
    assert list(one) == [
        "instance", "instance_id", "verdict", "method", "block_queries", "noise_floor_from", "base",
        "new", "metrics", "effect", "stages", "single_values", "gate", "differences", "notes",
    ]  # fmt: skip
    assert list(one["metrics"]) == ["p50", "p90", "p95", "p99", "p99.9", "mean", "fps"]
    median = one["metrics"]["p50"]
    assert list(median) == [
        "unit", "base", "new", "change_percent", "low_percent", "high_percent",
        "noise_floor_percent", "verdict", "reason",
    ]  # fmt: skip
    assert median["low_percent"] < 30 < median["high_percent"]
    assert one["metrics"]["p99.9"]["reason"] == "p99.9 takes 6636 queries; there are 800"
    assert one["gate"] == [
        {
            "metric": "p50",
            "limit_percent": 5.0,
            "outcome": "failed",
            "reason": one["gate"][0]["reason"],
        }
    ]
    assert one["stages"]["compute"]["new_p50_ms"] == pytest.approx(13, rel=0.01)
    assert one["effect"]["size"] == "large"
    assert one["effect"]["shift_ms"] == pytest.approx(3, rel=0.05)


def test_stages_and_single_values_are_those_of_all_runs(make_record: MakeRecord) -> None:
    base = [make_record(np.full(20, 10.0 * n), load_ms=50.0 * n) for n in (1, 2, 3)]
    (comparison,) = compare_sides(base, [make_record(np.full(20, 20.0))]).comparisons
    assert comparison.stages()["compute"] == {"base_p50_ms": 20.0, "new_p50_ms": 20.0}
    assert comparison.single_values()["load_ms"] == {"base": 100.0, "new": 50.0}


def test_json_of_what_cannot_be_told_is_null(make_record: MakeRecord) -> None:
    report = compare_sides([make_record([1.0])], [make_record([2.0])])
    data = report_json(report)["comparisons"][0]
    assert data["verdict"] == "cannot tell"
    assert data["metrics"]["p50"]["change_percent"] is None
    json.dumps(data, allow_nan=False)
