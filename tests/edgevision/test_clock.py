from __future__ import annotations

import numpy as np
import pytest

from edgevision.clock import STAGES, StageRing, now_ns


def test_stages_are_those_of_the_design():
    assert STAGES == ("read", "queue", "load", "h2d", "compute", "d2h", "decode", "sink")


def test_time_never_goes_back():
    times = [now_ns() for _ in range(100)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("count", "kept"), [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [1, 2, 3]), (8, [5, 6, 7])]
)
def test_the_ring_keeps_the_latest_oldest_first(count, kept):
    ring = StageRing(3)
    for number in range(count):
        ring.add(np.full(len(STAGES) + 1, number))
    assert ring.count == count
    assert ring.total_ns().tolist() == kept
    assert ring.stages_ns().shape == (len(kept), len(STAGES))
    assert ring.stages_ns()[:, 0].tolist() == kept


def test_what_the_ring_hands_out_is_a_copy():
    ring = StageRing(2)
    ring.add(np.ones(len(STAGES) + 1, np.int64))
    ring.total_ns()[:] = 9
    ring.stages_ns()[:] = 9
    assert ring.total_ns().tolist() == [1]
