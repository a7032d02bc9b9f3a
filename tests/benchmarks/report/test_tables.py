"""Several records as a table, CSV and Markdown: the same figures, the fastest first, nothing hidden."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest

from edgevision.benchmarks.record import Record
from edgevision.benchmarks.report.comma import csv_text
from edgevision.benchmarks.report.folder import claim_folder, write_reports
from edgevision.benchmarks.report.markdown import markdown_text
from edgevision.benchmarks.report.table import table_text
from edgevision.errors import OutputError

Data = dict[str, Any]


@pytest.fixture
def records(record: Record) -> list[Data]:
    """A slow one, a fast one, one that is faster but INVALID, and one that crashed."""
    base = record.to_json()
    base["flags"] = [{"kind": "busy", "text": "others were at work"}]

    def made(variant: str, fps: float | None, **more: Any) -> Data:
        latency = {"mean": 1.0, "p50": 1.5, "p90": 2.25, "p95": None, "p99": None, "max": 9.0}
        same = {"variant": variant, "throughput_fps": fps, "latency_ms": latency}
        return {**base, **same, "peak_rss_mb": 123.4, **more}

    crashed = {"status": "crashed", "valid": False, "invalid_reason": "crashed: SIGSEGV"}
    nothing = dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"))
    return [
        made("slow", 10.0),
        made("fast", 1234.5),
        made("short", 2000.0, valid=False, invalid_reason="too few queries"),
        made("gone", None, **crashed, latency_ms=nothing, peak_rss_mb=None, flags=[]),
    ]


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line[:1].isdigit() and ":" not in line]


def test_the_fastest_valid_one_comes_first_and_those_without_numbers_last(
    records: list[Data],
) -> None:
    found = rows(table_text(records))
    assert [row[:2] for row in found] == [
        ["1", "fast"], ["2", "slow"], ["3", "short"], ["4", "gone"]
    ]  # fmt: skip
    assert found[0][2:] == ["ort", "VALID", "1,234.5", "1.500", "2.250", "—", "123", "busy"]
    assert found[2][3:5] == ["INVALID", "2,000.0"]
    assert found[3][3:] == ["CRASHED", "—", "—", "—", "—", "—", "—"]


def test_a_reason_and_a_flag_stand_once_with_the_rows_they_are_about(records: list[Data]) -> None:
    text = table_text(records, [("x", "y")])
    assert "1, 2, 3: others were at work" in text
    assert "3: too few queries" in text
    assert "4: crashed: SIGSEGV" in text
    assert "not measured: 1 combination" in text


def test_columns_are_aligned(records: list[Data]) -> None:
    lines = table_text(records).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("#"))
    ends = {line.index("1,234.5") + 7 for line in lines[start : start + 2] if "1,234.5" in line}
    assert ends == {lines[start].index("frames/s") + 8}


def test_what_is_the_same_in_all_stands_above_and_what_differs_is_a_column(
    records: list[Data],
) -> None:
    head = table_text(records).splitlines()
    assert "latency" in head[0]
    assert "hint" not in head[2].split()
    records[0]["hint"] = "throughput"
    head = table_text(records).splitlines()
    assert "latency" not in head[0]
    assert "hint" in head[2].split()


def test_what_says_nothing_without_its_title_stands_above_with_it(records: list[Data]) -> None:
    head = table_text(records).splitlines()[0]
    assert "compute fp32 · hint latency" in head


def test_a_run_has_the_same_number_in_every_report(records: list[Data], tmp_path: Path) -> None:
    html, page, _ = write_reports(claim_folder(tmp_path).parent, records, "Bench")
    order = [row[1] for row in rows(table_text(records))]
    assert order == ["fast", "slow", "short", "gone"]
    assert re.findall(r"^\| \d \| (\w+)", page.read_text("utf-8"), re.MULTILINE) == order
    linked = re.findall(r'href="#run(\d)">(\w+) · ort</a></th>', html.read_text("utf-8"))
    assert linked == [(str(n), name) for n, name in enumerate(order, 1)]


def test_names_from_outside_reach_neither_the_terminal_nor_markdown_as_they_are(
    records: list[Data],
) -> None:
    records[0]["variant"] = "\x1b[31m|<script>alert(1)</script>"
    assert "\x1b" not in table_text(records)
    page = markdown_text(records, "<b>title</b>")
    assert "<script>" not in page.replace("\\<", "")
    assert "# \\<b\\>title\\</b\\>" in page


def test_csv_has_every_record_in_the_order_it_was_measured(records: list[Data]) -> None:
    found = list(csv.DictReader(io.StringIO(csv_text(records))))
    assert [row["variant"] for row in found] == ["slow", "fast", "short", "gone"]
    assert found[1]["throughput_fps"] == "1234.5"
    assert found[1]["p90_ms"] == "2.25"
    assert found[1]["p99_ms"] == ""
    assert found[3]["throughput_fps"] == ""
    assert found[3]["verdict"] == "CRASHED"
    assert found[2]["invalid_reason"] == "too few queries"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x"])
def test_csv_holds_no_formula(records: list[Data], text: str) -> None:
    records[0]["variant"] = text
    (first, *_) = csv.DictReader(io.StringIO(csv_text(records)))
    assert first["variant"] == "'" + text


@pytest.mark.parametrize(
    ("cpu", "told"),
    [
        (None, None),
        ({"cores": 8}, "8 cores"),
        ({"cores": 8, "cores_usable": 2}, "2 of 8 cores"),
        ({"cores": None, "cores_usable": 2}, "2 cores"),
    ],
)
def test_markdown_tells_of_a_machine_what_is_known(
    records: list[Data], cpu: Data | None, told: str | None
) -> None:
    for one in records:
        one["environment"] = {"cpu": cpu, "os": {"kernel": "6.1"}}
    page = markdown_text(records, "Bench")
    assert page.endswith(f"## Machine\n\n- {told + ', ' if told else ''}6.1\n")


def test_markdown_takes_no_name_for_an_entity_or_a_formula(records: list[Data]) -> None:
    records[0]["variant"] = "&lt;b&gt; $x^2$"
    assert "\\&lt;b\\&gt; \\$x^2\\$" in markdown_text(records, "Bench")


def test_only_failures_make_every_report(records: list[Data], tmp_path: Path) -> None:
    gone = [{**records[3], "variant": f"v{n}"} for n in range(3)]
    assert table_text(gone).count("CRASHED") == 3
    assert markdown_text(gone, "Bench").count("CRASHED") == 3
    assert [row["status"] for row in csv.DictReader(io.StringIO(csv_text(gone)))] == ["crashed"] * 3
    for place in write_reports(claim_folder(tmp_path).parent, gone, "Bench"):
        assert "SIGSEGV" in place.read_text(encoding="utf-8")


def test_markdown_table_is_complete_and_tells_the_machine(records: list[Data]) -> None:
    page = markdown_text(records, "Bench", [("int8 · trt", "there is no engine")])
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(records)
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "- int8 · trt: there is no engine" in page
    assert records[0]["environment"]["os"]["kernel"] in page
    assert "## Timed" in page


def test_folder_is_made_and_reports_are_written_again(tmp_path: Path, records: list[Data]) -> None:
    folder = tmp_path / "a" / "b"
    assert claim_folder(folder) == folder / "records.jsonl"
    for _ in range(2):
        places = write_reports(folder, records, "Bench")
        assert {place.name for place in places} == {"report.html", "report.md", "records.csv"}
        assert all(place.stat().st_size for place in places)
    assert {path.name for path in folder.iterdir()} == {p.name for p in places} | {"records.jsonl"}


def test_place_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot be written"):
        claim_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
