"""Whatever `bench` writes is read back, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.compare.records import _problem, instance_key, read_records, title
from edgevision.errors import DataError

MakeRecord = Callable[..., dict[str, Any]]
Write = Callable[[str, Any], Path]


def test_one_record(make_record: MakeRecord, write: Write) -> None:
    assert read_records(write("a.json", make_record([1, 2]))) == [make_record([1, 2])]


def test_a_matrix_a_list_and_lines_are_the_same_records(
    make_record: MakeRecord, write: Write
) -> None:
    records = [make_record([1]), make_record([2], variant="int8")]
    matrix = {"matrix_schema": 1, "skipped": [], "records": records}
    lines = "\n".join(json.dumps(record) for record in records) + "\n\n"
    for name, content in (("m.json", matrix), ("l.json", records), ("h.jsonl", lines)):
        assert read_records(write(name, content)) == records


def test_a_line_that_a_crash_cut_is_left_out_and_said(
    make_record: MakeRecord, write: Write
) -> None:
    whole = json.dumps(make_record([1]))
    said: list[str] = []
    file = write("h.jsonl", f"{whole}\n{whole[:40]}\n{whole}\n{whole[:40]}")
    assert len(read_records(file, said.append)) == 2
    assert said == [f"{file}: left out, being cut or no record: line 2, 4"]


def test_a_whole_history_is_read_without_a_word(make_record: MakeRecord, write: Write) -> None:
    said: list[str] = []
    lines = "\n".join([json.dumps(make_record([1]))] * 2)
    assert len(read_records(write("h.jsonl", lines), said.append)) == 2
    assert not said


def test_a_bundle_s_manifest_is_no_record(write: Write) -> None:
    with pytest.raises(DataError, match="it has no 'samples_ns'"):
        read_records(write("manifest.json", {"schema": 1, "name": "street", "variants": []}))


def test_a_report_s_folder_is_its_records(
    make_record: MakeRecord, write: Write, tmp_path: Path
) -> None:
    write("records.jsonl", json.dumps(make_record([1])))
    assert len(read_records(tmp_path)) == 1


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "nonsense", "[1]", "null", '"x"', "{" * 5000, '{"records": 3}',
     '{"schema": "1"}', '{"schema": 1, "samples_ns": [1.5]}', '{"schema": 1, "samples_ns": {"a": 1}}',
     '{"schema": 1, "environment": []}', '{"schema": 1, "duration_s": "long"}',
     '{"schema": 1, "duration_s": NaN}', '{"schema": 1, "samples_per_query": -1}',
     '{"schema": 1, "samples_ns": [99999999999999999999]}', '{"schema": 1, "stages_ns": {"load": 3}}'],
)  # fmt: skip
def test_what_is_no_record_is_said(content: str, write: Write) -> None:
    with pytest.raises(DataError, match=r"no record|holds no"):
        read_records(write("a.json", content))


def test_missing_and_binary_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_records(tmp_path / "absent.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text"):
        read_records(tmp_path / "b.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["environment", "samples_ns", "stages_ns", "duration_s", "threads"]),
        json_values,
    )
)
def test_no_json_breaks_the_check(item: dict[str, Any]) -> None:
    problem = _problem({"schema": 1, "samples_ns": []} | item)
    assert problem is None or problem.startswith("its ")


def test_configuration_is_what_tells_instances_apart(make_record: MakeRecord) -> None:
    one = make_record([1], instance={"instance_id": "0123456789ab"})
    assert instance_key(one) == "0123456789ab"
    assert instance_key(make_record([1])) == instance_key(make_record([2]))
    assert instance_key(make_record([1])) != instance_key(make_record([1], hint="throughput"))


def test_title_says_what_is_not_the_default(make_record: MakeRecord) -> None:
    record = make_record([1], compute="bf16", instance={"batch": 4, "size": [320, 480]})
    assert title(record) == (
        "fp32 · ort · bf16 · batch 4 · 320x480 · 2 threads · latency · single-stream"
    )
