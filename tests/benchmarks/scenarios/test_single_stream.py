"""What a run measures, when it begins to count, when it ends, and when it is not valid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.run import measure
from edgevision.benchmarks.scenarios import SCENARIOS, Measurement
from edgevision.benchmarks.terms import Plan
from edgevision.clock import STAGES
from edgevision.errors import BackendError, DataError, UsageError
from edgevision.frame import Frame, Image
from edgevision.model import Model, open_model
from edgevision.sources import Source, SourceInfo
from edgevision.sources.images import ImagesSource
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
SIDE = 8
SHORT = Plan(duration_s=0, min_queries=70, warmup=3)
CLASSES = 3 * SIDE * SIDE


def noise(frames: int) -> Callable[[], Source]:
    return lambda: SyntheticSource(f"synthetic://noise?size={SIDE}x{SIDE}&frames={frames}")


single_stream = SCENARIOS["single-stream"].run


def alone(model: Model, image: Image, plan: Plan, sign: SimpleNamespace) -> Measurement:
    plan = replace(plan, inference_only=True)
    return single_stream(model, lambda: MemorySource([image]), plan, sign)


def signals_at(
    sign: SimpleNamespace, run: int
) -> Callable[[Mapping[str, Any], int], Mapping[str, Any]]:
    """Fake outputs; during the given run a signal comes."""

    def outputs(_inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        if number == run:
            sign.number = 2
        return {"scores": np.zeros((1, CLASSES), np.float32)}

    return outputs


class Failing(MemorySource):
    """Breaks when a given frame is read."""

    def __init__(self, images: list[Image], at: int) -> None:
        super().__init__(images)
        self.at = at

    def read(self, into: Frame) -> bool:
        if self._index == self.at:
            raise DataError("the camera was unplugged")
        return super().read(into)


class Empty(MemorySource):
    """Opens, and has no frame."""

    def read(self, into: Frame) -> bool:
        return False


# --- end to end ------------------------------------------------------------------------------------


def test_run_goes_on_until_the_least_number_of_queries_when_the_duration_is_shorter(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = single_stream(open_fake(), lambda: MemorySource(pictures), SHORT, sign)
    assert len(measured.total_ns) == 70
    assert measured.stages_ns.shape == (70, len(STAGES))
    assert measured.invalid_reason is None


def test_run_goes_on_until_the_duration_when_the_queries_are_done_sooner(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    plan = Plan(duration_s=0.2, min_queries=1, warmup=0)
    measured = single_stream(open_fake(), lambda: MemorySource(pictures), plan, sign)
    assert len(measured.total_ns) > 1
    assert measured.ran_ns >= 0.19e9  # the last query may have been complete just before the end


def test_warm_up_and_first_inference_are_kept_apart(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake()
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert len(measured.warmup_ns) == 3
    assert measured.first_inference_ns is not None
    assert measured.first_inference_ns > 0
    assert model._session.runs == 1 + 3 + 70


def test_latency_and_its_compute_stage_are_at_least_the_engine_s_delay(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(delay_s=0.002)
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert measured.total_ns.min() >= 2_000_000
    assert measured.stages_ns[:, STAGES.index("compute")].min() >= 2_000_000
    assert measured.first_inference_ns >= 2_000_000


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_stages_add_up_to_the_whole(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=3)
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert (measured.stages_ns.sum(axis=1) == measured.total_ns).all()
    assert (measured.stages_ns >= 0).all()


def test_queries_that_do_not_overlap_take_no_longer_than_the_run(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = single_stream(open_fake(), lambda: MemorySource(pictures), SHORT, sign)
    assert measured.total_ns.sum() <= measured.ran_ns


def test_queries_begun_during_warm_up_are_not_counted_when_slots_overlap(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint="throughput", threads=4)
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert len(measured.warmup_ns) == 3 + 3  # three complete, and three more under way by then
    assert len(measured.total_ns) >= 70
    # As many again come for cool-down, so that the last ones that count have company.
    assert model._session.runs == 1 + len(measured.warmup_ns) + len(measured.total_ns) + 3


def test_the_model_keeps_its_own_ring(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake()
    ring = model.pipeline.ring
    single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert model.pipeline.ring is ring
    assert ring.count == 0


# --- sources ---------------------------------------------------------------------------------------


def test_source_that_ends_is_opened_again_until_the_terms_are_met(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    measured = single_stream(open_fake(), noise(7), SHORT, sign)
    assert len(measured.total_ns) == 70
    assert measured.passes == 11  # 3 of warm-up and 70, seven a pass: 10.4
    assert measured.invalid_reason is None


def test_opening_a_source_again_is_in_no_query_s_time_and_not_in_the_run_s(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    make = noise(20)

    def slowly() -> Source:
        time.sleep(0.02)
        return make()

    plan = Plan(duration_s=0, min_queries=70, warmup=0)
    begin = time.monotonic_ns()
    measured = single_stream(open_fake(), slowly, plan, sign)
    wall_ns = time.monotonic_ns() - begin
    assert measured.passes == 4
    assert measured.total_ns.sum() <= measured.ran_ns <= wall_ns - 5 * 20_000_000


def test_single_picture_is_enough(
    open_fake: OpenFake, sign: SimpleNamespace, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), np.zeros((5, 9, 3), np.uint8))
    measured = single_stream(open_fake(), lambda: ImagesSource(str(path)), SHORT, sign)
    assert len(measured.total_ns) == 70
    assert measured.passes == 73
    assert measured.info == SourceInfo(str(path), 9, 5, 0.0, 1)


def test_problems_of_a_source_are_told_once_however_often_it_is_opened(
    open_fake: OpenFake, sign: SimpleNamespace, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((5, 9, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    measured = single_stream(open_fake(), lambda: ImagesSource(str(tmp_path)), SHORT, sign)
    assert measured.problems == ("b.png cannot be decoded and was skipped",)


# --- not valid -------------------------------------------------------------------------------------


def test_interrupted_run_is_invalid_and_keeps_what_it_has(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(outputs=signals_at(sign, run=1 + 3 + 19))  # the twentieth counted query
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert measured.invalid_reason == "interrupted by signal 2 after 20 counted queries"
    assert len(measured.total_ns) == 20


def test_run_interrupted_during_warm_up_counts_nothing(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(outputs=signals_at(sign, run=1))
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert measured.invalid_reason == "interrupted by signal 2 after 0 counted queries"
    assert (len(measured.warmup_ns), len(measured.total_ns), measured.ran_ns) == (1, 0, 0)


def test_too_few_queries_for_the_scenario_s_percentile_are_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    plan = Plan(duration_s=0, min_queries=63, warmup=0)
    measured = single_stream(open_fake(), lambda: MemorySource(pictures), plan, sign)
    assert measured.invalid_reason == (
        "the result of single-stream is p90, which needs 64 queries; 63 were run"
    )


def test_engine_that_fails_in_mid_run_makes_it_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(fail_at=1 + 3 + 12)
    measured = single_stream(model, lambda: MemorySource(pictures), SHORT, sign)
    assert measured.invalid_reason is not None
    assert measured.invalid_reason.startswith("the fake engine failed at run 16")
    assert measured.invalid_reason.endswith("after 12 counted queries")
    assert len(measured.total_ns) == 12


def test_engine_that_fails_at_once_is_an_error(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    with pytest.raises(BackendError):
        single_stream(open_fake(fail_at=0), lambda: MemorySource(pictures), SHORT, sign)


def test_source_that_fails_in_mid_run_makes_it_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = single_stream(open_fake(), lambda: Failing(pictures, at=13), SHORT, sign)
    assert measured.invalid_reason == "the camera was unplugged, after 10 counted queries"


def test_source_that_is_gone_when_opened_again_makes_the_run_invalid(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    def once_more() -> Iterator[Source]:
        yield noise(9)()
        yield noise(9)()
        raise DataError("there is no clip.mp4")

    sources = once_more()
    measured = single_stream(open_fake(), lambda: next(sources), SHORT, sign)
    assert measured.invalid_reason == "there is no clip.mp4, after 6 counted queries"


class Damaged(MemorySource):
    """Announces 795 frames and gives nine."""

    def open(self) -> SourceInfo:
        self._index = 0
        return replace(super().open(), frames=795)

    def read(self, into: Frame) -> bool:
        return self._index < 9 and super().read(into)


def test_looped_source_is_told_by_the_frames_it_gave_not_by_those_it_announced(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = single_stream(open_fake(), lambda: Damaged(pictures), SHORT, sign)
    ((flag),) = measured.flags
    assert flag["kind"] == "looped"
    assert flag["text"].startswith(
        "the source of 9 frames is shorter than the run, which took 73: "
    )
    assert "it was shown again, 8 times" in flag["text"]


def test_source_that_is_empty_when_opened_again_does_not_run_for_ever(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    sources = iter([noise(9)(), noise(9)(), Empty(pictures)])
    measured = single_stream(open_fake(), lambda: next(sources), SHORT, sign)
    assert measured.invalid_reason == (
        "the source gave no frame when it was opened again, after 6 counted queries"
    )


@pytest.mark.parametrize("inference", [False, True])
def test_source_without_a_frame_makes_the_run_invalid(
    inference: bool, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    plan = Plan(inference_only=inference, duration_s=0)
    record = measure(open_fake(), lambda: Empty(pictures), plan, sign)
    assert record.invalid_reason == "the source gave no frame"
    assert (record.queries, record.throughput_fps, record.first_inference_ms) == (0, None, None)


@pytest.mark.parametrize(
    "wrong", [{"duration_s": float("nan")}, {"duration_s": float("inf")}, {"duration_s": -1.0},
              {"min_queries": 0}, {"warmup": -1}, {"percentile": 0.42}],
)  # fmt: skip
def test_plan_that_cannot_be_run_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Plan(**wrong)


# --- the engine alone ------------------------------------------------------------------------------


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_inference_only_times_nothing_but_the_engine(
    hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=2, delay_s=0.001)
    measured = alone(model, pictures[1], SHORT, sign)
    compute = STAGES.index("compute")
    assert len(measured.total_ns) >= 70
    assert measured.total_ns.min() >= 1_000_000
    assert (measured.stages_ns[:, compute] == measured.total_ns).all()
    assert not np.delete(measured.stages_ns, compute, axis=1).any()


def test_inference_only_runs_on_the_one_frame_it_loaded(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    seen = set()

    def outputs(inputs: Mapping[str, Any], _number: int) -> Mapping[str, Any]:
        seen.add(inputs["image"].tobytes())
        return {}

    alone(open_fake(outputs=outputs), pictures[1], SHORT, sign)
    assert seen == {np.full((1, 3, SIDE, SIDE), np.float32(100) * np.float32(1 / 255)).tobytes()}


def test_inference_only_that_fails_in_mid_run_is_invalid(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    measured = alone(open_fake(fail_at=9), pictures[0], SHORT, sign)
    assert measured.invalid_reason is not None
    assert len(measured.total_ns) == 9 - 1 - 3


def test_progress_is_told_between_queries_and_never_falls(
    open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    told: list[float] = []
    plan = Plan(duration_s=1.2, min_queries=10, warmup=2)
    single_stream(open_fake(), lambda: MemorySource(pictures), plan, sign, told.append)
    assert len(told) >= 2
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1


def test_overlap_on_a_source_too_short_for_it_is_invalid(
    model_file: Path, sign: SimpleNamespace
) -> None:
    plan = Plan(duration_s=0, min_queries=200, warmup=0)
    with open_model(model_file, hint="throughput", threads=2) as model:
        short = single_stream(model, noise(10), plan, sign)
        long = single_stream(model, noise(60), plan, sign)
        once = single_stream(model, noise(500), plan, sign)
    assert "only 10 frames" in str(short.invalid_reason)
    assert "3 queries in flight" in str(short.invalid_reason)
    assert (long.invalid_reason, once.invalid_reason) == (None, None)
