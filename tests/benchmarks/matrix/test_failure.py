"""What became of a process that gave no numbers, told from how it ended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from edgevision.benchmarks.matrix.child import Ended
from edgevision.benchmarks.matrix.failure import (
    error_data,
    error_from,
    oom_kills,
    status_and_error,
)
from edgevision.errors import BackendError, DependencyError, EdgevisionError, UsageError

NOTHING = {"received": "", "expected": "", "hint": ""}


@pytest.mark.parametrize(
    ("ended", "kills", "status", "said"),
    [
        (Ended(status=-signal.SIGSEGV), 0, "crashed", "SIGSEGV"),
        (Ended(status=-signal.SIGABRT, words="terminate: std::bad_alloc"), 0, "out-of-memory", "SIGABRT"),
        (Ended(status=-signal.SIGKILL), 1, "out-of-memory", "SIGKILL"),
        (Ended(status=-signal.SIGKILL), None, "out-of-memory", "SIGKILL"),
        (Ended(status=-signal.SIGKILL), 0, "crashed", "SIGKILL"),  # somebody's kill -9
        (Ended(status=3), 0, "crashed", "status 3"),
        (Ended(status=-200), 0, "crashed", "signal 200"),
        (Ended(silent=30.0), 0, "timed-out", "30 s"),
        (Ended(stopped=True), 0, "interrupted", "interrupted"),
        (Ended(error={"kind": "BackendError", "problem": "no", **NOTHING}), 0, "failed", "no"),
        (Ended(error=error_data(MemoryError("Unable to allocate 2 GiB"))), 0, "out-of-memory", "memory"),
        (Ended(error=error_data(BackendError("CUDA: out of memory"))), 0, "out-of-memory", "CUDA"),
    ],
)  # fmt: skip
def test_ending_becomes_a_status(ended: Ended, kills: int | None, status: str, said: str) -> None:
    found, error = status_and_error(ended, kills)
    assert found == status
    assert said in error["problem"]
    assert set(error) == {"kind", "problem", "received", "expected", "hint"}


@pytest.mark.parametrize("kind", [UsageError, DependencyError, EdgevisionError])
def test_an_error_survives_the_way_through_json(kind: type[EdgevisionError]) -> None:
    error = kind("it failed", received="this", expected="that", hint="do it")
    again = error_from(error_data(error))
    assert (type(again), str(again)) == (kind, str(error))


def test_foreign_error_is_named_and_is_no_class_of_ours() -> None:
    data = error_data(ZeroDivisionError("division by zero"))
    assert data["problem"] == "ZeroDivisionError: division by zero"
    assert type(error_from(data)) is EdgevisionError


def test_foreign_error_says_where_it_was_raised_and_not_in_whose_folder() -> None:
    def divide() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        divide()
    received = error_data(caught.value)["received"]
    line = divide.__code__.co_firstlineno + 1
    assert received == f"raised in test_failure.py, line {line}, in divide"


def test_kernel_s_count_is_read_where_it_tells(tmp_path: Path) -> None:
    assert oom_kills(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 5\noom_kill 17\nzone_reclaim 0\n")
    assert oom_kills(tmp_path) == 17
