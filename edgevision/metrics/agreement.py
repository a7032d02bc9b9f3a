"""How far two variants of a model agree, frame by frame; the reference is what fp32 found.

The rule is the project's own: detections at a score of at least 0.35 on both sides, same class, IoU
of at least 0.5, matched one-to-one in the order of scores, F1 over all frames together (also at
0.25 and 0.5); classifications by their best class. Key points and masks have files of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgevision.metrics.boxes import iou_matrix
from edgevision.metrics.keypoints import same_keypoints
from edgevision.metrics.masks import same_masks
from edgevision.results import Classification, Detections, Keypoints, Result, Segmentation

__all__ = [
    "THRESHOLDS",
    "Agreement",
    "ClassificationAgreement",
    "Counts",
    "DetectionAgreement",
    "match",
    "same_result",
]

#: Scores from which detections count; the first is the one that decides.
THRESHOLDS = (0.35, 0.25, 0.5)
_MATCH_IOU = 0.5
#: The golden check compares two runs of one variant, so boxes must lie much closer.
_GOLDEN_IOU = 0.9


class Agreement(Protocol):
    """Adds up, frame by frame, how far a candidate agrees with the reference."""

    metric: str
    """``f1``, ``top1``, ``1-nme`` or ``miou``."""

    frames: int
    """Pairs of results added."""

    @property
    def value(self) -> float:
        """The agreement in 0…1; 1 when there was nothing to disagree on (then ``samples`` is 0)."""
        ...

    @property
    def samples(self) -> int:
        """On how much the value rests: the reference's detections or key points, or pictures."""
        ...

    def add(self, reference: Any, candidate: Any) -> None:
        """Adds one frame's results."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with ``metric``, ``value``, ``samples`` and ``frames``."""
        ...


@dataclass(slots=True)
class Counts:
    """What was matched at one threshold.

    Attributes:
        matched: Pairs of a reference and a candidate detection.
        reference: Detections of the reference.
        candidate: Detections of the candidate.
    """

    matched: int = 0
    reference: int = 0
    candidate: int = 0

    @property
    def precision(self) -> float:
        """Share of the candidate's detections that the reference has; 1 when there are none."""
        return self.matched / self.candidate if self.candidate else 1.0

    @property
    def recall(self) -> float:
        """Share of the reference's detections that the candidate has; 1 when there are none."""
        return self.matched / self.reference if self.reference else 1.0

    @property
    def f1(self) -> float:
        """``2 · matched / (reference + candidate)``; 1 when both are empty."""
        total = self.reference + self.candidate
        return 2 * self.matched / total if total else 1.0


class DetectionAgreement:
    """Micro-F1 of detections over frames, at several thresholds at once.

    Results must have been decoded at a score no higher than the lowest threshold, or what is said
    there is said about less than it seems.

    Args:
        thresholds: Scores from which detections count; the first decides.
        iou: Least overlap of a matching pair.
    """

    metric = "f1"

    def __init__(
        self, thresholds: Sequence[float] = THRESHOLDS, *, iou: float = _MATCH_IOU
    ) -> None:
        self.counts = {float(threshold): Counts() for threshold in thresholds}
        self.frames = 0
        self._main = float(thresholds[0])
        self._iou = iou

    @property
    def value(self) -> float:
        return self.f1

    @property
    def samples(self) -> int:
        """Reference detections at the main threshold."""
        return self.counts[self._main].reference

    @property
    def f1(self) -> float:
        return self.counts[self._main].f1

    @property
    def precision(self) -> float:
        return self.counts[self._main].precision

    @property
    def recall(self) -> float:
        return self.counts[self._main].recall

    def add(self, reference: Detections, candidate: Detections) -> None:
        """Adds one frame's detections."""
        self.frames += 1
        for threshold, counts in self.counts.items():
            ours, theirs = _above(reference, threshold), _above(candidate, threshold)
            counts.reference += len(ours)
            counts.candidate += len(theirs)
            counts.matched += len(match(ours, theirs, iou=self._iou))

    def to_dict(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "value": self.value,
            "samples": self.samples,
            "frames": self.frames,
            "precision": self.precision,
            "recall": self.recall,
            "f1_at": {f"{t:g}": counts.f1 for t, counts in sorted(self.counts.items())},
        }


class ClassificationAgreement:
    """Share of pictures for which the best class is the same.

    Attributes:
        frames: Pictures.
        matched: Those with the same best class.
        classes: The reference's best class, by name → in how many pictures; ``""`` for none.
    """

    metric = "top1"

    def __init__(self) -> None:
        self.frames = 0
        self.matched = 0
        self.classes: Counter[str] = Counter()

    @property
    def value(self) -> float:
        return self.matched / self.frames if self.frames else 1.0

    @property
    def samples(self) -> int:
        """Pictures."""
        return self.frames

    def add(self, reference: Classification, candidate: Classification) -> None:
        """Adds one picture; two empty results agree, an empty and a full one do not."""
        self.frames += 1
        self.classes[reference.label(0) if len(reference) else ""] += 1
        self.matched += reference.class_ids[:1].tolist() == candidate.class_ids[:1].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Also how many classes the reference gives, the commonest, and in how many pictures."""
        commonest, frames = next(iter(self.classes.most_common(1)), ("", 0))
        return {
            "metric": self.metric,
            "value": self.value,
            "samples": self.samples,
            "frames": self.frames,
            "classes": len(self.classes),
            "commonest": commonest,
            "commonest_frames": frames,
        }


def match(
    reference: Detections, candidate: Detections, *, iou: float = _MATCH_IOU
) -> list[tuple[int, int]]:
    """Pairs detections one-to-one.

    Candidates, in the order of their scores, take the best free reference of their class.

    Args:
        reference: In any order.
        candidate: In any order; of equal scores the lower index chooses first.
        iou: Least overlap of a pair.

    Returns:
        Pairs of indices ``(reference, candidate)``, best candidate first.
    """
    overlap = iou_matrix(reference.boxes_xyxy, candidate.boxes_xyxy)
    overlap[reference.class_ids[:, None] != candidate.class_ids[None, :]] = -1
    pairs: list[tuple[int, int]] = []
    if len(reference) == 0:
        return pairs
    for theirs in np.argsort(-candidate.scores, kind="stable").tolist():
        ours = int(overlap[:, theirs].argmax())
        if overlap[ours, theirs] >= iou:
            overlap[ours, :] = -1
            pairs.append((ours, theirs))
    return pairs


def same_result(
    reference: Result, candidate: Result, tolerance: float, *, threshold: float = 0.0
) -> list[str]:
    """The golden check: whether a device decodes the same result that was stored with the bundle.

    Detections: same class, IoU of at least 0.9, scores within the tolerance; one that only one side
    has is left out when its score is within the tolerance of the threshold. Classifications: the same
    best class unless the reference's best two lie within the tolerance, and scores within it. Key
    points: no farther away than the tolerance in heights of the person, scores within it. Masks: an
    IoU of at least 1 less the tolerance.

    Args:
        reference: What was stored.
        candidate: What was decoded now.
        tolerance: Largest difference of scores (0.02 for fp32, 0.05 for fp16 and bf16, 0.10 for
            int8).
        threshold: The decoder's lowest score.

    Returns:
        One line for each difference; empty when the results are the same.
    """
    if isinstance(reference, Detections) and isinstance(candidate, Detections):
        return _same_detections(reference, candidate, tolerance, threshold)
    if isinstance(reference, Classification) and isinstance(candidate, Classification):
        return _same_classes(reference, candidate, tolerance)
    if isinstance(reference, Keypoints) and isinstance(candidate, Keypoints):
        return same_keypoints(reference, candidate, tolerance, threshold)
    if isinstance(reference, Segmentation) and isinstance(candidate, Segmentation):
        return same_masks(reference, candidate, tolerance)
    return [f"a {type(candidate).__name__} where a {type(reference).__name__} was expected"]


def _above(result: Detections, threshold: float) -> Detections:
    # float32 scores are compared with the threshold as float32, so that 0.35 counts as 0.35.
    return result.select(result.scores >= np.float32(threshold))


def _same_detections(
    reference: Detections, candidate: Detections, tolerance: float, threshold: float
) -> list[str]:
    pairs = match(reference, candidate, iou=_GOLDEN_IOU)
    differences = [
        f"{_describe(reference, ours)}: score {candidate.scores[theirs]:.3f} now"
        for ours, theirs in pairs
        if not _close(reference.scores[ours], candidate.scores[theirs], tolerance)
    ]
    sure = np.float32(threshold + tolerance)
    for result, paired, what in (
        (reference, {ours for ours, _ in pairs}, "missing"),
        (candidate, {theirs for _, theirs in pairs}, "not expected"),
    ):
        alone = [i for i in range(len(result)) if i not in paired and not result.scores[i] <= sure]
        differences += [f"{_describe(result, i)}: {what}" for i in alone]
    return differences


def _same_classes(
    reference: Classification, candidate: Classification, tolerance: float
) -> list[str]:
    if len(reference) == 0 or len(candidate) == 0:
        return [] if len(reference) == len(candidate) else [_counted(reference, candidate)]
    differences = []
    if reference.class_ids[0] != candidate.class_ids[0] and not _tie(reference.scores, tolerance):
        differences.append(f"best class {candidate.label(0)!r} instead of {reference.label(0)!r}")
    now = dict(zip(candidate.class_ids.tolist(), candidate.scores.tolist(), strict=True))
    # A class that is not among the candidate's best scores no more than the last of them.
    least = float(candidate.scores[-1])
    for i, class_id in enumerate(reference.class_ids.tolist()):
        score, then = now.get(class_id), float(reference.scores[i])
        if not _close(then, min(then, least) if score is None else score, tolerance):
            shown = f"{score:.3f}" if score is not None else f"at most {least:.3f}"
            differences.append(f"{reference.label(i)} {then:.3f}: score {shown} now")
    return differences


#: Scores are float32: a difference of exactly the tolerance must not fail on its last bit.
_ROUNDING = 1e-6


def _close(a: float, b: float, tolerance: float) -> bool:
    return bool(abs(float(a) - float(b)) <= tolerance + _ROUNDING)


def _tie(scores: NDArray[np.float32], tolerance: float) -> bool:
    return len(scores) > 1 and _close(float(scores[0]), float(scores[1]), tolerance)


def _counted(reference: Classification, candidate: Classification) -> str:
    return f"{len(candidate)} classes instead of {len(reference)}"


def _describe(result: Detections, i: int) -> str:
    box = ", ".join(f"{v:.0f}" for v in result.boxes_xyxy[i].tolist())
    return f"{result.label(i)} {result.scores[i]:.3f} at ({box})"
