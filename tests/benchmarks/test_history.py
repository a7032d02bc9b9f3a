"""The file of records: grows by whole lines, and a line that a crash cut harms no other."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.history import append_record, by_configuration, read_history
from edgevision.errors import OutputError


def record(number: int, **more: Any) -> dict[str, Any]:
    data = {"schema": 1, "bundle": {"name": "b"}, "source": {}, "environment": {}, "number": number}
    return data | {"instance": {"instance_id": str(number)}} | more


def numbers(path: Path) -> list[int]:
    return [one["number"] for one in read_history(path).records]


def test_records_come_back_in_the_order_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    assert read_history(path).records == []
    for number in range(3):
        append_record(path, record(number, text="ümlaut\nand line\u2028ends"))
    assert numbers(path) == [0, 1, 2]
    assert len(path.read_bytes().splitlines()) == 3


@given(cut=st.integers(1, 200))
def test_a_line_cut_anywhere_costs_that_record_alone(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("history") / "records.jsonl"
    append_record(path, record(0))
    append_record(path, record(1))
    data = path.read_bytes()
    lost = min(cut, len(data) // 2 - 1)
    path.write_bytes(data[:-lost])
    assert numbers(path) in ([0], [0, 1])  # only its line's end may be missing
    append_record(path, record(2))
    assert numbers(path)[0] == 0
    assert numbers(path)[-1] == 2
    history = read_history(path)
    assert len(history.records) + len(history.damaged) == 3


@pytest.mark.parametrize(
    "line", [b"[1, 2]", b"{}", b'{"schema": 1}', b"\xff\xfe", b'{"schema": "x"}']
)
def test_what_is_no_record_is_left_out_and_counted(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, record(0))
    with path.open("ab") as file:
        file.write(line + b"\n\n")
    append_record(path, record(1))
    assert numbers(path) == [0, 1]
    assert read_history(path).damaged == [2]


def _append_many(path: Path, first: int) -> None:
    for number in range(first, first + 20):
        append_record(path, record(number, padding="x" * 20_000))


def test_several_processes_may_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, 100 * n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    history = read_history(path)
    assert history.damaged == []
    assert sorted(numbers(path)) == [100 * n + m for n in range(3) for m in range(20)]


def test_full_disk_takes_the_half_line_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, record(0))
    before, write = path.read_bytes(), os.write

    def full(file: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(file, bytes(data)[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        append_record(path, record(1))
    assert path.read_bytes() == before


def test_records_stand_by_configuration_in_the_order_they_were_made() -> None:
    told = [record(0), record(1), record(0, again=True), record(0, source={"uri": "other"})]
    assert by_configuration(told) == [[told[0], told[2]], [told[1]], [told[3]]]
    assert by_configuration([]) == []
