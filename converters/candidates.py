"""The INT8 recipes that are tried, in order, until one agrees well enough."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx

from edgevision.converters.int8_from_onnx import Quantized, calibrate, quantize_calibrated
from edgevision.converters.ranges import Feeds, Progress, silent

__all__ = ["CANDIDATES", "Candidate", "Trial", "best_candidate"]

# One candidate passed its selection frames and failed on fresh ones: stop only with some room.
_MARGIN = 0.01
# On 200 frames two scores this close are a draw, and the earlier recipe is the better guess.
_DRAW = 0.005


@dataclass(frozen=True)
class Candidate:
    """One recipe: how ranges are taken, and whether weights are rounded with second moments."""

    ranges: str
    rounding: bool

    @property
    def name(self) -> str:
        """For reports: ``mean+rounding``."""
        return self.ranges + ("+rounding" if self.rounding else "")


@dataclass(frozen=True)
class Trial:
    """What became of one candidate."""

    candidate: Candidate
    score: float


# Ordered by how often each was best over six real models; no range method wins everywhere, and
# second-order rounding, the largest gain on most, hurt one of them.
CANDIDATES: tuple[Candidate, ...] = (
    Candidate("mean", True),
    Candidate("minmax", True),
    Candidate("mean", False),
    Candidate("minmax", False),
)


def best_candidate(
    model: onnx.ModelProto,
    feeds: Feeds,
    score: Callable[[Quantized], float],
    *,
    scheme: str,
    target: float,
    margin: float = _MARGIN,
    candidates: Sequence[Candidate] = CANDIDATES,
    exclude: Collection[str] = (),
    progress: Progress = silent,
) -> tuple[Quantized, list[Trial]]:
    """Measure the calibration frames once, then write and score recipes until one is good.

    Args:
        model: From `clean`.
        feeds: Calibration frames; see `calibrate`.
        score: Agreement of a quantized model with fp32 on held-back frames, higher is better.
            Use the task's own metric: signal-to-noise ranks recipes wrongly on some models.
        scheme: ``x86`` or ``trt``.
        target: What the chosen one must reach in the end.
        margin: How far above ``target`` a recipe must score for the rest to be skipped.
        candidates: The recipes, best guess first.
        exclude: Names of nodes to keep in float.
        progress: Told the stage, how far it is, and of how much.

    Returns:
        The best-scoring model, which may still miss ``target`` (of those that score alike, the
        earlier), and the trials in order.
    """
    measured = calibrate(
        model,
        feeds,
        scheme=scheme,
        rounding=any(c.rounding for c in candidates),
        exclude=exclude,
        progress=progress,
    )
    best: tuple[float, Quantized] | None = None
    trials: list[Trial] = []
    for done, candidate in enumerate(candidates, 1):
        made = quantize_calibrated(
            model, measured, ranges=candidate.ranges, rounding=candidate.rounding
        )
        value = score(made)
        enough = value >= target + margin
        if best is None or enough or value > best[0] + _DRAW or best[0] < target <= value:
            best = value, made
        trials.append(Trial(candidate, value))
        progress("candidates", done, len(candidates))
        if enough:
            break
    if best is None:
        raise ValueError("no candidates given")
    return best[1], trials
