"""Cameras that do not wait: age of the results, dropped frames, and pixels that stay whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.benchmarks.scenarios.cameras import Cameras, Taken
from edgevision.clock import now_ns
from edgevision.errors import DataError
from edgevision.frame import Frame, Image
from edgevision.model import Model
from edgevision.percentiles import summary_ms
from edgevision.sources import Source, SourceInfo, make_source
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
run = SCENARIOS["camera"].run


def plan(**options: Any) -> Plan:
    return Plan.of("camera", **{"duration_s": 0, "min_queries": 70, "warmup": 3} | options)


class Numbered:
    """Frames filled with their own number, written into the buffer that is handed in, slowly."""

    live = False

    def __init__(self, frames: int = 10**9, fails_at: int = -1) -> None:
        self.frames, self.fails_at, self.index = frames, fails_at, 0
        self.problems: list[str] = []

    def open(self) -> SourceInfo:
        return SourceInfo("numbered", 16, 16, 100.0, self.frames)

    def read(self, into: Frame) -> bool:
        if self.index == self.fails_at:
            raise DataError("the camera was unplugged")
        if self.index == self.frames:
            return False
        if into.image.shape != (16, 16, 3):
            into.image = np.empty((16, 16, 3), np.uint8)
        into.image[:8] = self.index % 256
        time.sleep(0.0002)
        into.image[8:] = self.index % 256
        into.format, into.index = "bgr", self.index
        self.index += 1
        return True

    def cancel(self) -> None:
        self.frames = self.index

    def close(self) -> None: ...


# --- what a camera gives -----------------------------------------------------------------------------


def test_newest_frame_takes_the_place_of_one_that_nobody_took() -> None:
    cameras = Cameras(Numbered, 1, fps=500, seed=1)
    with cameras.running():
        while cameras.cameras[0].given < 10:
            time.sleep(0.001)
        frame = Frame()
        taken = cameras.take(frame)
        assert taken is not None
        (replaced,) = cameras.lost().replaced
        # All frames before the one that was taken had waited in vain; more may have come since.
        assert 9 <= frame.index <= replaced
        assert frame.captured_ns == taken.due_ns <= now_ns()


def test_frames_are_due_at_the_camera_s_pace_and_none_is_taken_twice() -> None:
    cameras = Cameras(Numbered, 2, fps=250, seed=3)
    dues: dict[int, list[int]] = {0: [], 1: []}
    indices: dict[int, list[int]] = {0: [], 1: []}
    frame = Frame()
    with cameras.running():
        while min(map(len, dues.values())) < 20:
            taken = cameras.take(frame)
            if taken is not None:
                dues[taken.camera].append(taken.due_ns)
                indices[taken.camera].append(frame.index)
                assert frame.source == f"camera-{taken.camera}"
    for camera in (0, 1):
        steps = np.diff(dues[camera])
        assert (np.abs(steps / 4e6 - np.round(steps / 4e6)) < 1e-4).all()
        assert (steps > 0).all()
        assert (np.diff(indices[camera]) > 0).all()
    assert abs((dues[0][0] - dues[1][0]) % 4_000_000) > 0  # they are not in step


def test_pixels_of_a_frame_that_was_taken_are_not_written_to() -> None:
    cameras = Cameras(Numbered, 2, fps=1000, seed=1)
    frame = Frame()
    with cameras.running():
        for _ in range(40):
            if cameras.take(frame) is None:
                continue
            before = frame.image.copy()
            assert (before == frame.index % 256).all()
            time.sleep(0.002)
            assert (frame.image == before).all()


def test_frame_that_waited_longest_is_taken_first() -> None:
    cameras = Cameras(Numbered, 3, fps=100, seed=1)
    frame = Frame()
    with cameras.running():
        while not all(camera.waiting for camera in cameras.cameras):
            time.sleep(0.001)
        waiting = {camera.number: camera.waiting for camera in cameras.cameras}
        taken = cameras.take(frame)
        assert taken is not None
        oldest = min(waiting.values(), key=lambda one: one.due_ns)
        assert taken.due_ns >= oldest.due_ns


def test_camera_that_was_served_longest_ago_is_next_though_another_frame_is_older() -> None:
    cameras = Cameras(Numbered, 3, fps=100, seed=1)
    for number, (served_ns, due_ns) in enumerate([(900, 950), (700, 990), (800, 940)]):
        one = cameras.cameras[number]
        one.served_ns, one.waiting = served_ns, Taken(number, due_ns, 0)
    order = [taken.camera for _ in range(3) if (taken := cameras.take(Frame())) is not None]
    assert order == [1, 2, 0]


def test_frames_that_could_not_be_read_in_time_are_counted() -> None:
    class Slow(Numbered):
        def read(self, into: Frame) -> bool:
            time.sleep(0.02)
            return super().read(into)

    cameras = Cameras(Slow, 1, fps=1000, seed=1)
    with cameras.running():
        while cameras.cameras[0].given < 4:
            time.sleep(0.001)
    (unread,) = cameras.lost().unread
    # Each read takes the time of 20 frames: it gives one, 19 or more are never read.
    assert unread >= 3 * 19


def test_no_frame_is_due_while_a_source_is_opened() -> None:
    opened_at: list[int] = []

    class SlowToOpen(Numbered):
        def open(self) -> SourceInfo:
            time.sleep(0.2)
            opened_at.append(now_ns())
            return super().open()

    cameras, frame, first = Cameras(SlowToOpen, 1, fps=100, seed=1), Frame(), None
    with cameras.running():
        while first is None:
            first = cameras.take(frame)
    assert first.due_ns >= opened_at[0]


def test_no_frame_is_lost_while_a_source_is_closed_and_opened_again() -> None:
    class SlowToClose(Numbered):
        def close(self) -> None:
            time.sleep(0.6)  # three frames' time

    cameras, frame = Cameras(lambda: SlowToClose(1), 1, fps=5, seed=1), Frame()
    with cameras.running():
        while cameras.cameras[0].passes < 3:
            cameras.take(frame)
        lost = cameras.lost()
    assert (lost.unread, lost.replaced) == ((0,), (0,))


def test_read_that_blocks_is_cancelled_at_the_end() -> None:
    class Blocking(Numbered):
        def __init__(self) -> None:
            super().__init__()
            self.cancelled = threading.Event()

        def read(self, into: Frame) -> bool:
            return super().read(into) if self.index < 3 else not self.cancelled.wait(60)

        def cancel(self) -> None:
            self.cancelled.set()

    cameras = Cameras(Blocking, 2, fps=500, seed=1)
    begin = time.monotonic()
    with cameras.running():
        while min(camera.given for camera in cameras.cameras) < 3:
            time.sleep(0.001)
    assert time.monotonic() - begin < 30  # it would wait for a minute


# --- the scenario ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_results_age_from_when_their_frame_was_due(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=2, delay_s=0.004)
    measured = run(model, lambda: MemorySource(pictures), plan(fps=200, cameras=2), sign)
    assert measured.invalid_reason is None
    assert measured.total_ns.min() >= 4_000_000
    assert (measured.stages_ns.sum(axis=1) == measured.total_ns).all()
    assert (measured.stages_ns >= 0).all()
    assert (measured.begins_ns >= 0).all()
    assert measured.result is not None
    assert measured.result["metric"] == "p90_ms"


def test_what_the_pipeline_does_not_get_round_to_is_dropped_and_counted(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(delay_s=0.01)  # 100 a second at the most, of 400
    measured = run(model, lambda: MemorySource(pictures), plan(fps=200, cameras=2), sign)
    camera = measured.camera
    assert camera is not None
    assert (camera["fps"], camera["cameras"], camera["results"]) == (200, 2, 70)
    assert camera["age_ms"] == summary_ms(measured.total_ns)
    assert camera["drop_rate"] == round(camera["dropped"] / (camera["dropped"] + 70), 6)
    assert camera["drop_rate"] > 0.5
    each = camera["per_camera"]
    assert all(25 <= one["results"] <= 45 for one in each)  # they were served in turn
    assert sum(one["results"] for one in each) == 70
    assert sum(one["dropped"] for one in each) == camera["dropped"]
    # Frames that came while queries counted are results or dropped; some waited when it ended.
    came = measured.ran_ns / 1e9 * 400
    assert camera["dropped"] + 70 == pytest.approx(came, rel=0.15, abs=8)


def test_source_that_ends_is_shown_again(open_fake: OpenFake, sign: SimpleNamespace) -> None:
    def make() -> Source:
        return SyntheticSource("synthetic://noise?size=8x8&frames=9")

    measured = run(open_fake(), make, plan(fps=500), sign)
    assert measured.invalid_reason is None
    assert measured.passes > 1
    assert [flag["kind"] for flag in measured.flags] == ["looped"]


def test_camera_that_fails_makes_the_run_invalid(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    measured = run(open_fake(), lambda: Numbered(fails_at=20), plan(fps=300), sign)
    assert measured.invalid_reason is not None
    assert measured.invalid_reason.startswith("the camera was unplugged, after ")


def test_too_few_results_are_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    asked = plan(fps=1000, min_queries=63)
    measured = run(open_fake(), lambda: MemorySource(pictures), asked, sign)
    assert measured.invalid_reason == (
        "the result of camera is p90, which needs 64 queries; 63 were run"
    )


def test_interrupted_run_ends_all_threads_and_is_invalid(
    open_fake: OpenFake,
    pictures: list[Image],
    sign: SimpleNamespace,
    ends: Callable[[int, int], Any],
) -> None:
    before = threading.active_count()
    asked = plan(fps=300, cameras=3)
    model = open_fake(outputs=ends(2, 20))
    measured = run(model, lambda: MemorySource(pictures), asked, sign)
    assert measured.invalid_reason is not None
    assert measured.invalid_reason.startswith("interrupted by signal 2 after ")
    assert threading.active_count() == before


def test_losses_of_a_run_without_results_begin_at_zero_and_not_at_the_machine_s_start(
    open_fake: OpenFake,
    pictures: list[Image],
    sign: SimpleNamespace,
    ends: Callable[[int, int], Any],
) -> None:
    model, asked = open_fake(outputs=ends(2, 20)), plan(fps=300, warmup=50)
    camera = run(model, lambda: MemorySource(pictures), asked, sign).camera
    assert camera is not None
    assert (camera["results"], camera["dropped"], camera["over_time"]["begin_s"]) == (0, 0, 0)


def test_real_detector_keeps_up_with_a_slow_camera(
    test_data: Path, sign: SimpleNamespace, real_detector: Model
) -> None:
    clip = str(test_data / "video" / "vtest.avi")
    asked = plan(fps=4, cameras=2, min_queries=10, warmup=2)
    measured = run(real_detector, lambda: make_source(clip), asked, sign)
    camera = measured.camera
    assert camera is not None
    assert camera["results"] == 10
    assert {one["results"] for one in camera["per_camera"]} <= set(range(1, 10))
    assert measured.info is not None
    assert (measured.info.width, measured.flags) == (768, ())
    assert measured.stages_ns[:, 0].min() > 0  # decoding is in the age
