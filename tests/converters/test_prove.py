"""The proof: its verdicts, its numbers, and the measuring of speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgevision.converters.prove import Proof, compare_speed, prove
from edgevision.results import Classification, Detections, Result

LABELS = ("a", "b")


@dataclass
class Fake:
    """Stands in for a loaded model: gives the results it was told, one a picture."""

    results: list[Result]
    tensors: list[float] = field(default_factory=list)
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
        value = self.tensors[self.at] if self.tensors else 1.0
        self.at += 1
        return result, {"out": np.array([value, 1.0])}


def boxes(count: int, *, score: float = 0.9, shift: float = 0.0) -> Detections:
    """Boxes of 10×10 pixels in a row, far apart."""
    left = np.arange(count, dtype=np.float32) * 100 + np.float32(shift)
    corners = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=1)
    return Detections(corners, np.full(count, score, np.float32), np.zeros(count, np.int32), LABELS)


def best(class_id: int) -> Classification:
    return Classification(np.array([class_id], np.int32), np.array([0.9], np.float32), LABELS)


def proven(
    reference: list[Result], candidate: list[Result], least: float = 0.95, task: str = "detect"
) -> Proof:
    def frames() -> Iterator[Any]:
        yield from (np.zeros((2, 2, 3), np.uint8) for _ in reference)

    return prove(
        Fake(reference, task=task),  # type: ignore[arg-type]
        Fake(candidate, task=task),  # type: ignore[arg-type]
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


def test_a_classifier_needs_pictures_only() -> None:
    assert proven([best(0)] * 50, [best(0)] * 50, task="classify").verdict == "pass"
    assert proven([best(0)] * 49, [best(0)] * 49, task="classify").verdict == "insufficient"


def test_a_classifier_is_measured_by_its_best_class() -> None:
    proof = proven([best(0)] * 100, [best(0)] * 94 + [best(1)] * 6, task="classify")
    assert (proof.verdict, proof.value, proof.agreement["metric"]) == ("fail", 0.94, "top1")


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
    assert clock == ["slow", "fast"] * (len(clock) // 2), "taken in turn"
    assert found["slow"]["speedup"] == 1.0
    assert found["fast"]["speedup"] > 2
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
