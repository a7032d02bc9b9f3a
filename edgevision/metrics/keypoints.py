"""How far the key points of two variants lie apart, in heights of the person: 1 − NME.

The normalized mean error is the field's number for points (Sagonas et al. 2013 for faces); what normalizes
here is the height of the person. The rules around it are the project's own:

1. A point counts where the reference scores it at least 0.3, as Google's model card recommends for MoveNet.
2. A person's height is the longer side of the box around those points: one who lies down has one too. Fewer
   than two such points span no box; then all points of the person do.
3. People are paired one-to-one in the order of the candidate's scores, each with the nearest free person
   of the reference whose points lie within half a height on average, the surer ones weighing more.
4. A point's error is its distance in heights, and 1 where that is more.
5. A point that counts is *lost* (error 1) where the candidate scores it below 0.15, or has no such person. It is
   *invented* (error 1) where the candidate scores at least 0.3 and the reference less than 0.15. What lies
   between is neither: a score may tremble around 0.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.results import Keypoints

__all__ = ["SURE", "KeypointAgreement", "heights", "pair_people", "same_keypoints"]

#: Score from which a point counts, and below which it is not seen at all.
SURE = 0.3
_UNSEEN = 0.15
#: Mean distance in heights within which two people are the same one.
_SAME_PERSON = 0.5


class KeypointAgreement:
    """Mean error of key points over frames, in heights.

    Results must have been decoded at a score of 0, or people whose score trembles around it come and go.

    Attributes:
        frames: Pictures added.
        people: People of the reference with points that count.
        samples: Points of the reference that count.
        lost: Those that the candidate does not see.
        invented: Points that only the candidate sees.
    """

    metric = "1-nme"

    def __init__(self) -> None:
        self.frames = self.people = self.samples = self.lost = self.invented = 0
        self._error = 0.0

    @property
    def nme(self) -> float:
        """Mean error, 0…1, lost and invented points with 1 each; 0 when there was no point."""
        total = self.samples + self.invented
        return (self._error + self.lost + self.invented) / total if total else 0.0

    @property
    def distance(self) -> float:
        """Mean error of the points that both see, 0…1; 0 when there was none."""
        both = self.samples - self.lost
        return self._error / both if both else 0.0

    @property
    def value(self) -> float:
        """``1 − nme``."""
        return 1.0 - self.nme

    def add(self, reference: Keypoints, candidate: Keypoints) -> None:
        """Adds one picture."""
        self.frames += 1
        counts = reference.point_scores >= np.float32(SURE)
        self.people += int(np.count_nonzero(counts.any(axis=1)))
        self.samples += int(np.count_nonzero(counts))
        pairs = pair_people(reference, candidate)
        tall = heights(reference)
        for ours, theirs in pairs:
            seen = candidate.point_scores[theirs] >= np.float32(_UNSEEN)
            far = _distances(reference.points[ours], candidate.points[theirs]) / tall[ours]
            self._error += float(np.minimum(far, 1.0)[counts[ours] & seen].sum())
            self.lost += int(np.count_nonzero(counts[ours] & ~seen))
        alone = sorted(set(range(len(reference))) - {ours for ours, _ in pairs})
        self.lost += int(np.count_nonzero(counts[alone]))
        self.invented += _invented(reference, candidate, pairs)

    def to_dict(self) -> dict[str, Any]:
        """Also ``nme``, ``distance``, ``people``, ``lost`` and ``invented``."""
        return {
            "metric": self.metric,
            "value": self.value,
            "samples": self.samples,
            "frames": self.frames,
            "nme": self.nme,
            "distance": self.distance,
            "people": self.people,
            "lost": self.lost,
            "invented": self.invented,
        }


def heights(people: Keypoints) -> NDArray[np.float64]:
    """float64 ``(N,)``: each person's height in source pixels (rule 2), at least one."""
    found = np.ones(len(people))
    for i, (points, scores) in enumerate(zip(people.points, people.point_scores, strict=True)):
        sure = scores >= np.float32(SURE)
        spanning = points[sure] if np.count_nonzero(sure) >= 2 else points
        found[i] = max(1.0, float(np.ptp(spanning, axis=0).max()))
    return found


def pair_people(reference: Keypoints, candidate: Keypoints) -> list[tuple[int, int]]:
    """Pairs of indices ``(reference, candidate)`` of the same person (rule 3), best candidate first."""
    if len(reference) == 0:
        return []
    weights = reference.point_scores.astype(np.float64) + 1e-9  # of scores that are all 0, too
    weights /= weights.sum(axis=1, keepdims=True)
    apart = _distances(reference.points[:, None], candidate.points[None])
    cost = (apart * weights[:, None]).sum(axis=2) / heights(reference)[:, None]
    pairs: list[tuple[int, int]] = []
    for theirs in np.argsort(-candidate.scores, kind="stable").tolist():
        ours = int(cost[:, theirs].argmin())
        if cost[ours, theirs] <= _SAME_PERSON:
            cost[ours, :] = np.inf
            pairs.append((ours, theirs))
    return pairs


def same_keypoints(
    reference: Keypoints, candidate: Keypoints, tolerance: float, threshold: float
) -> list[str]:
    """The golden check: one line for each difference between what was stored and what was decoded now.

    Args:
        reference: What was stored.
        candidate: What was decoded now.
        tolerance: Largest difference of scores, and largest distance in heights of points that score at
            least 0.3 (see `edgevision.golden.TOLERANCE`).
        threshold: The decoder's least score. People whom only one side has are left out when their score
            lies within the tolerance of it.
    """
    pairs, tall = pair_people(reference, candidate), heights(reference)
    differences: list[str] = []
    for ours, theirs in pairs:
        differences += _same_person(reference, ours, candidate, theirs, tolerance, tall[ours])
    for result, paired, what in (
        (reference, {ours for ours, _ in pairs}, "missing"),
        (candidate, {theirs for _, theirs in pairs}, "not expected"),
    ):
        differences += [
            f"person with score {result.scores[i]:.3f}: {what}"
            for i in range(len(result))
            if i not in paired and not result.scores[i] <= threshold + tolerance
        ]
    return differences


def _same_person(
    reference: Keypoints,
    ours: int,
    candidate: Keypoints,
    theirs: int,
    tolerance: float,
    tall: float,
) -> list[str]:
    then, now = reference.point_scores[ours], candidate.point_scores[theirs]
    far = _distances(reference.points[ours], candidate.points[theirs]) / tall
    # Scores are rounded to four decimals and float32, points to two.
    moved = (far > tolerance + 0.01 / tall) & (then >= np.float32(SURE))
    other = np.abs(then - now) > tolerance + 1e-4
    names = reference.skeleton.names
    return [f"{names[i]}: {far[i]:.3f} heights away" for i in np.flatnonzero(moved)] + [
        f"{names[i]} {then[i]:.3f}: score {now[i]:.3f} now" for i in np.flatnonzero(other)
    ]


def _invented(reference: Keypoints, candidate: Keypoints, pairs: list[tuple[int, int]]) -> int:
    """Points that the candidate is sure of and the reference does not see (rule 5)."""
    unseen = np.ones(candidate.point_scores.shape, np.bool_)
    for ours, theirs in pairs:
        unseen[theirs] = reference.point_scores[ours] < np.float32(_UNSEEN)
    return int(np.count_nonzero(unseen & (candidate.point_scores >= np.float32(SURE))))


def _distances(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean distances of points ``(…, 2)``, in pixels."""
    apart: NDArray[np.float64] = np.linalg.norm(a.astype(np.float64) - b, axis=-1)
    return apart
