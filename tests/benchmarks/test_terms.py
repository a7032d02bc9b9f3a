"""Samples that are all kept, and when a run begins to count and may end."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from edgevision.benchmarks.terms import KeptStages, Plan, Terms
from edgevision.clock import STAGES


def test_no_sample_of_a_long_run_is_lost() -> None:
    kept = KeptStages()
    row = np.zeros(len(STAGES) + 1, np.int64)
    count = 2 * 4096 + 5
    for number in range(count):
        row[0], row[-1] = number, 2 * number
        kept.add(row)
    assert kept.count == count
    assert (kept.stages_ns()[:, 0] == np.arange(count)).all()
    assert (kept.total_ns() == 2 * np.arange(count)).all()


def test_no_samples_are_an_empty_table() -> None:
    assert KeptStages().stages_ns().shape == (0, len(STAGES))
    assert KeptStages().total_ns().shape == (0,)


def test_part_done_is_that_of_the_term_that_lags_behind(sign: SimpleNamespace) -> None:
    kept = KeptStages()
    terms = Terms(Plan(duration_s=0, min_queries=4, warmup=1), kept, sign)
    row = np.zeros(len(STAGES) + 1, np.int64)
    parts = []
    while terms.may_begin():
        terms.begun()
        kept.add(row)
        parts.append(terms.part_done())
    assert parts == [0.0, 0.25, 0.5, 0.75, 1.0]
