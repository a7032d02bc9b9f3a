"""Frames that cameras lost, by when they were due: none is forgotten, and hours take no more room than minutes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.benchmarks.scenarios.losses import MOST_BINS, Losses, Lost
from edgevision.frame import Image
from edgevision.model import Model

MS, S = 1_000_000, 1_000_000_000
NONE = np.empty(0, np.int64)


def test_a_frame_is_counted_in_the_bin_in_which_it_was_due() -> None:
    losses = Losses(2, 33 * MS)  # five frames take 165 ms, so a bin is 200 ms
    losses.begin(10 * S)
    losses.replaced(0, 10 * S + 450 * MS)
    losses.unread(1, [10 * S, 10 * S + 199 * MS, 10 * S + 200 * MS])
    lost = losses.until(10 * S + 900 * MS)
    assert (lost.replaced, lost.unread, lost.bin_ns) == ((1, 0), (0, 3), 200 * MS)
    assert lost.dropped == ((0, 0, 1, 0, 0), (2, 1, 0, 0, 0))


def test_what_was_due_before_counting_began_is_in_the_first_bin() -> None:
    losses = Losses(1, MS)
    losses.begin(5 * S)
    losses.replaced(0, 5 * S - 20 * MS)
    assert losses.until(5 * S).dropped == ((1,),)


def test_what_was_lost_before_counting_began_is_forgotten() -> None:
    losses = Losses(1, MS)
    losses.begin(0)
    losses.replaced(0, 3600 * S)  # makes long bins
    losses.begin(3600 * S)
    assert losses.until(3600 * S) == Lost((0,), (0,), 3600 * S, 100 * MS, ((0,),))


def test_bins_of_slow_cameras_hold_frames_enough_for_a_share() -> None:
    assert Losses(1, S).until(0).bin_ns >= 5 * S


@given(
    dues_s=st.lists(st.tuples(st.integers(0, 2), st.floats(0, 36_000)), max_size=60),
    end_s=st.floats(0, 40_000),
)
def test_hours_fit_in_as_many_bins_and_no_frame_is_lost_in_them(
    dues_s: list[tuple[int, float]], end_s: float
) -> None:
    losses = Losses(3, 33 * MS)
    losses.begin(S)
    dues = [(camera, S + int(due * S)) for camera, due in dues_s]
    for camera, due in dues:
        losses.replaced(camera, due)
    end = max([S + int(end_s * S), *(due for _, due in dues)])
    lost = losses.until(end)
    count = len(lost.dropped[0])
    assert count <= MOST_BINS
    assert (count - 1) * lost.bin_ns <= end - S < count * lost.bin_ns
    for camera in range(3):
        places = [(due - S) // lost.bin_ns for number, due in dues if number == camera]
        assert lost.dropped[camera] == tuple(np.bincount(places, minlength=count).tolist())


def test_results_stand_beside_the_losses_on_the_record_s_time_axis() -> None:
    losses = Losses(2, 33 * MS)
    losses.begin(10 * S)
    losses.replaced(1, 10 * S + 250 * MS)
    lost = losses.until(10 * S + 500 * MS)
    due = np.array([10 * S - 5 * MS, 10 * S + 100 * MS, 10 * S + 210 * MS])
    told = lost.over_time(due, np.array([0, 1, 1]), origin_ns=10 * S - 5 * MS)
    assert told == {
        "begin_s": 0.005,
        "bin_s": 0.2,
        "per_camera": [
            {"results": [1, 0, 0], "dropped": [0, 0, 0]},
            {"results": [1, 1, 0], "dropped": [0, 1, 0]},
        ],
    }


def test_run_in_which_nothing_came_has_bins_too() -> None:
    losses = Losses(1, 33 * MS)
    losses.begin(S)
    told = losses.until(S).over_time(NONE, NONE, 0)
    assert told["per_camera"] == [{"results": [0], "dropped": [0]}]


def test_bins_of_a_real_run_add_up_to_its_totals(
    open_fake: Callable[..., Model], pictures: list[Image], sign: object
) -> None:
    plan = Plan.of("camera", duration_s=0.5, min_queries=70, warmup=3, fps=200, cameras=3)
    model = open_fake(delay_s=0.004)
    measured = SCENARIOS["camera"].run(model, lambda: MemorySource(pictures), plan, sign)
    assert measured.camera is not None
    over_time = measured.camera["over_time"]
    for one, binned in zip(measured.camera["per_camera"], over_time["per_camera"], strict=True):
        assert sum(binned["results"]) == one["results"] > 0
        assert sum(binned["dropped"]) == one["dropped"] > 0
        # No bin but the first, with what had waited, has more frames than its camera gives in that time.
        came = np.add(binned["results"], binned["dropped"])[1:]
        assert (came <= 200 * over_time["bin_s"] + 1).all()
