"""The proof: its verdicts, its numbers, and the measuring of speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevision.converters.prove import Proof, check_finite, compare_speed, prove
from edgevision.errors import ModelError
from edgevision.geometry import Transform
from edgevision.results import (
    NOTHING,
    Classification,
    Detections,
    Keypoints,
    Result,
    Segmentation,
)
from edgevision.runs import runs_of
from edgevision.skeleton import COCO_17

LABELS = ("a", "b")


@dataclass
class Fake:
    """Stands in for a loaded model: gives the results it was told, one a picture."""

    results: list[Result]
    tensors: list[Any] = field(default_factory=list)
    task: str = "detect"
    at: int = 0

    @property
    def variant(self) -> Any:
        return SimpleNamespace(spec=SimpleNamespace(task=self.task))

    @property
    def pipeline(self) -> Any:
        return SimpleNamespace(outputs=["out"], examine=self.examine)

    def examine(self, image: object) -> tuple[Result, dict[str, Any]]:
        result = self.results[self.at]
        values = self.tensors[self.at] if self.tensors else [1.0, 1.0]
        self.at += 1
        return result, {"out": np.array(values)}


def boxes(count: int, *, score: float = 0.9, shift: float = 0.0) -> Detections:
    """Boxes of 10×10 pixels in a row, far apart."""
    left = np.arange(count, dtype=np.float32) * 100 + np.float32(shift)
    corners = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    return Detections(corners, np.full(count, score, np.float32), np.zeros(count, np.int32), LABELS)


def best(class_id: int) -> Classification:
    return Classification(np.array([class_id], np.int32), np.array([0.9], np.float32), LABELS)


def proven(
    reference: list[Result],
    candidate: list[Result],
    least: float = 0.95,
    task: str = "detect",
    *,
    expected: list[Any] | None = None,
    actual: list[Any] | None = None,
) -> Proof:
    def frames() -> Iterator[Any]:
        yield from (np.zeros((2, 2, 3), np.uint8) for _ in reference)

    return prove(
        Fake(reference, expected or [], task=task),  # type: ignore[arg-type]
        Fake(candidate, actual or [], task=task),  # type: ignore[arg-type]
        frames(),
        total=len(reference),
        least=least,
        stage="proving",
        progress=lambda stage, done, total: None,
    )


def test_all_found_is_a_pass() -> None:
    proof = proven([boxes(2)] * 50, [boxes(2)] * 50, least=1.0)
    assert (proof.verdict, proof.value) == ("pass", 1.0)
    assert proof.agreement["samples"] == 100
    assert proof.agreement["frames"] == 50
    assert proof.outputs == {"out": {"cosine": pytest.approx(1.0), "sqnr_db": None}}


@pytest.mark.parametrize(
    ("frames", "detections", "verdict"),
    [
        (50, 100, "pass"),
        (49, 100, "insufficient"),
        (50, 99, "insufficient"),
        (49, 1000, "insufficient"),
        (1000, 99, "insufficient"),
        (1, 0, "insufficient"),
        (0, 0, "insufficient"),
    ],
)
def test_too_little_data_is_no_pass(frames: int, detections: int, verdict: str) -> None:
    each = [boxes(detections // max(frames, 1))] * frames
    rest = detections - sum(map(len, each))
    if each:
        each[-1] = boxes(len(each[-1]) + rest)
    assert proven(each, each, least=0.0).verdict == verdict


def classes(*counts: int) -> list[Result]:
    """As many pictures of each class as said."""
    return [best(class_id) for class_id, count in enumerate(counts) for _ in range(count)]


@pytest.mark.parametrize(
    ("pictures", "verdict"),
    [
        ((25, 25), "pass"),
        ((25, 24), "insufficient"),  # too few
        ((50, 0), "insufficient"),  # a constant would pass
        ((45, 5), "pass"),  # 90 %
        ((46, 4), "insufficient"),  # 92 %
        ((0, 1000), "insufficient"),
        ((901, 99), "insufficient"),
        ((900, 100), "pass"),
    ],
)
def test_a_classifier_needs_pictures_of_several_classes(
    pictures: tuple[int, int], verdict: str
) -> None:
    proof = proven(classes(*pictures), classes(*pictures), task="classify")
    assert (proof.verdict, proof.value) == (verdict, 1.0)


def test_a_constant_classifier_is_no_pass() -> None:
    fp32 = classes(48, 2)
    proof = proven(fp32, [best(0)] * 50, task="classify")
    assert proof.value == 0.96
    assert proof.verdict == "insufficient"
    found = {k: proof.agreement[k] for k in ("classes", "commonest", "commonest_frames")}
    assert found == {"classes": 2, "commonest": "a", "commonest_frames": 48}


def test_a_classifier_is_measured_by_its_best_class() -> None:
    fp32 = classes(50, 50)
    proof = proven(fp32, classes(44, 56), task="classify")
    assert (proof.verdict, proof.value, proof.agreement["metric"]) == ("fail", 0.94, "top1")


def person(*, shift: float = 0.0, points: int = 17) -> Keypoints:
    """Someone 100 pixels tall, of whom so many points are sure."""
    y = np.linspace(0, 100, 17)
    places = np.stack([y * 0 + shift, y], axis=1)[None].astype(np.float32)
    scores = (np.arange(17) % 17 < points)[None] * np.float32(0.9)
    return Keypoints(places, scores, scores.mean(axis=1), COCO_17)


def test_key_points_are_measured_in_heights() -> None:
    good = proven([person()] * 50, [person(shift=4)] * 50, task="keypoints")
    assert (good.verdict, good.value) == ("pass", pytest.approx(0.96))
    assert good.agreement["nme"] == pytest.approx(0.04)
    assert (good.agreement["metric"], good.agreement["samples"]) == ("1-nme", 850)
    assert proven([person()] * 50, [person(shift=6)] * 50, task="keypoints").verdict == "fail"


@pytest.mark.parametrize(
    ("frames", "points", "verdict"),
    [(50, 2, "pass"), (49, 17, "insufficient"), (50, 1, "insufficient"), (50, 0, "insufficient")],
)
def test_too_few_key_points_are_no_pass(frames: int, points: int, verdict: str) -> None:
    each: list[Result] = [person(points=points)] * frames
    assert proven(each, each, task="keypoints").verdict == verdict


def mask(columns: int) -> Segmentation:
    picture = np.full((10, 100), NOTHING, np.uint8)
    picture[:, :columns] = 0
    return Segmentation(*runs_of(picture), Transform.identity(10, 100), LABELS)


def test_masks_are_measured_by_their_overlap() -> None:
    good = proven([mask(50)] * 50, [mask(48)] * 50, task="segment")
    assert (good.verdict, good.value, good.agreement["metric"]) == ("pass", 0.96, "miou")
    assert proven([mask(50)] * 50, [mask(47)] * 50, task="segment").verdict == "fail"


@pytest.mark.parametrize(
    ("shown", "empty", "verdict"),
    [(50, 0, "pass"), (50, 50, "pass"), (49, 0, "insufficient"), (49, 51, "insufficient")],
)
def test_masks_need_pictures_in_which_something_is_seen(
    shown: int, empty: int, verdict: str
) -> None:
    each: list[Result] = [mask(50)] * shown + [mask(0)] * empty
    assert proven(each, each, task="segment").verdict == verdict


# Values that are no numbers, sizes that follow the data


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_fp32_output_that_is_not_finite_is_refused_by_name(bad: float) -> None:
    outputs = [[1.0, 1.0]] * 49 + [[1.0, bad]]
    with pytest.raises(ModelError, match="'out' is not finite") as caught:
        proven([boxes(2)] * 50, [boxes(2)] * 50, expected=outputs, actual=outputs)
    assert "1 of 2 values" in caught.value.received


def test_a_variant_that_is_not_finite_fails_whatever_it_finds() -> None:
    proof = proven([boxes(2)] * 50, [boxes(2)] * 50, actual=[[1.0, np.nan]] * 50)
    assert (proof.verdict, proof.value) == ("fail", 1.0)
    assert proof.outputs["out"]["skipped"] == 50


@pytest.mark.parametrize(
    ("array", "fine"),
    [
        (np.zeros(0, np.float32), True),
        (np.array([True, False]), True),
        (np.array([1, 2], np.int64), True),
        (np.array([65504], np.float16), True),
        (np.array([np.inf], np.float16), False),
        (np.array(np.nan, np.float32), False),
    ],
)
def test_outputs_of_every_kind_can_be_checked(array: Any, fine: bool) -> None:
    if fine:
        check_finite({"out": array})
    else:
        with pytest.raises(ModelError, match="'out'"):
            check_finite({"fine": np.ones(1), "out": array})


def test_an_output_of_another_size_is_left_out_and_counted() -> None:
    actual = [[1.0, 1.0]] * 47 + [[1.0]] * 2 + [[]]
    proof = proven([boxes(2)] * 50, [boxes(2)] * 50, actual=actual)
    assert proof.verdict == "pass"
    assert proof.outputs == {
        "out": {"cosine": pytest.approx(1.0), "sqnr_db": None, "sizes_differ": 3}
    }


def test_the_least_agreement_is_itself_a_pass() -> None:
    # 90 of 100 found, nothing else: precision 1, recall 0.9, F1 = 1.8 / 1.9.
    candidate: list[Result] = [boxes(2)] * 40 + [boxes(1)] * 10
    proof = proven([boxes(2)] * 50, candidate)
    assert proof.agreement["recall"] == pytest.approx(0.9)
    assert proof.agreement["precision"] == 1.0
    assert proof.value == pytest.approx(1.8 / 1.9, abs=1e-6)
    assert proof.verdict == "fail"
    assert proven([boxes(2)] * 50, candidate, least=180 / 190).verdict == "pass"


def test_boxes_that_moved_too_far_are_not_found() -> None:
    # 10×10 boxes moved by 3: IoU 7 / 13; by 4: 6 / 14.
    assert proven([boxes(2)] * 50, [boxes(2, shift=3)] * 50).value == 1.0
    assert proven([boxes(2)] * 50, [boxes(2, shift=4)] * 50).value == 0.0


def test_what_scores_below_the_threshold_does_not_decide() -> None:
    proof = proven([boxes(2)] * 50, [boxes(2, score=0.3)] * 50)
    assert (proof.value, proof.verdict) == (0.0, "fail")
    assert proof.agreement["f1_at"] == {"0.25": 1.0, "0.35": 0.0, "0.5": 0.0}


def test_speed_is_the_ratio_of_medians_to_the_first() -> None:
    clock: list[str] = []

    def fake(name: str) -> Any:
        def wait() -> None:
            clock.append(name)
            for _ in range(20_000 if name == "slow" else 1_000):
                pass

        slot = SimpleNamespace(submit=lambda: None, wait=wait)
        return SimpleNamespace(pipeline=SimpleNamespace(loaded_slot=lambda image: slot))

    found = compare_speed(
        {"slow": fake("slow"), "fast": fake("fast")},
        np.zeros((2, 2, 3), np.uint8),
        lambda stage, done, total: None,
    )
    rounds = [tuple(clock[i : i + 2]) for i in range(0, len(clock), 2)]
    assert set(rounds) == {("slow", "fast"), ("fast", "slow")}, (
        "in turn, now one first and now the other"
    )
    assert found["slow"]["speedup"] == 1.0
    assert found["fast"]["speedup"] > 2
    assert (found["slow"]["won"], found["fast"]["won"] > 0.9) == (0.0, True)
    assert found["slow"]["latency_ms"]["p50"] > found["fast"]["latency_ms"]["p50"] > 0


def test_progress_is_told() -> None:
    told: list[tuple[str, int, int | None]] = []
    prove(
        Fake([boxes(1)] * 3),  # type: ignore[arg-type]
        Fake([boxes(1)] * 3),  # type: ignore[arg-type]
        [np.zeros((2, 2, 3), np.uint8)] * 3,
        total=3,
        least=0.9,
        stage="x: proving",
        progress=lambda *said: told.append(said),
    )
    assert told == [("x: proving", 1, 3), ("x: proving", 2, 3), ("x: proving", 3, 3)]
