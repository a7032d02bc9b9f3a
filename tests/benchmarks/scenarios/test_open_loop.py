"""What a query of an open loop took: from when it was due until it was done, every moment once."""

from __future__ import annotations

import numpy as np
import pytest

from edgevision.benchmarks.scenarios import open_loop
from edgevision.benchmarks.scenarios.open_loop import DueRing
from edgevision.benchmarks.terms import KeptStages
from edgevision.clock import STAGES

MS = 1_000_000
TOTAL = len(STAGES)


def stamped(**stages: int) -> list[int]:
    """A row as the pipeline stamps it, milliseconds."""
    row = [stages.get(stage, 0) * MS for stage in STAGES]
    return [*row, sum(row)]


def kept_of(monkeypatch: pytest.MonkeyPatch, done_ms: int, row: list[int], *told_ms: int) -> dict[str, float]:  # fmt: skip
    """Stage → milliseconds of the one query that a ring was told of, complete at ``done_ms``."""
    monkeypatch.setattr(open_loop, "now_ns", lambda: done_ms * MS)
    kept = KeptStages()
    ring = DueRing(kept)
    due, asked, outside, queue = (value * MS for value in told_ms)
    ring.began(due, asked, outside, queue)
    ring.add(row)
    (stages,), (total,) = kept.stages_ns(), kept.total_ns()
    assert stages.sum() == total
    assert (stages >= 0).all()
    named = dict(zip(STAGES, (stages / MS).tolist(), strict=True))
    return {name: value for name, value in named.items() if value} | {"total": total / MS}


def test_query_that_waited_for_the_pipeline_counts_from_when_it_was_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Due at 100, asked for at 150, read in 2, computed in 10.
    found = kept_of(monkeypatch, 162, stamped(read=2, compute=10), 100, 150, 0, 50)
    assert found == {"queue": 50, "read": 2, "compute": 10, "total": 62}


def test_what_the_pipeline_waited_for_the_query_is_in_no_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Asked for at 70, due at 100, done at 112: the pipeline's stamp of reading holds 30 of waiting.
    found = kept_of(monkeypatch, 112, stamped(read=32, compute=10), 100, 70, 30, 0)
    assert found == {"read": 2, "compute": 10, "total": 12}


def test_time_in_which_the_thread_was_held_up_as_it_asked_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stamps began at 138, but the scheduler let the pipeline ask only at 150: 12 are in `read` and in `queue`."""
    found = kept_of(monkeypatch, 162, stamped(read=14, compute=10), 100, 150, 0, 50)
    assert found == {"queue": 50, "read": 2, "compute": 10, "total": 62}


def test_ends_of_queries_are_in_order_though_threads_are_held_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = KeptStages()
    ring = DueRing(kept)
    for due, asked, done, read in ((100, 150, 162, 14), (101, 162, 165, 1)):
        monkeypatch.setattr(open_loop, "now_ns", lambda now=done: now * MS)
        ring.began(due * MS, asked * MS, 0, (asked - due) * MS)
        ring.add(stamped(read=read, compute=done - asked - 2 if read > 1 else 2))
    assert (np.diff(kept.ends_ns()) == 3 * MS).all()
