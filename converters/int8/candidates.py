"""The INT8 recipes that are tried, in order, until one agrees well enough; then, which layers go back to float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import onnx

from edgevision.converters.int8.from_onnx import (
    Calibration,
    Quantized,
    calibrate,
    quantize_calibrated,
    with_histograms,
)
from edgevision.converters.int8.range_methods import needs_histogram
from edgevision.converters.int8.ranges import Feeds, Progress, silent
from edgevision.converters.int8.sensitivity import rank_layers

__all__ = ["CANDIDATES", "Candidate", "Trial", "best_candidate"]

# One candidate passed its selection frames and failed on fresh ones: stop only with some room.
_MARGIN = 0.01
# On 200 frames two scores this close are a draw, and the earlier recipe is the better guess.
_DRAW = 0.005
#: So many of the layers that cost most go back to float, one attempt after another.
_FLOATS = (1, 2, 4, 8)
#: Frames that tell how much a layer costs.
_RANKED_ON = 4


@dataclass(frozen=True)
class Candidate:
    """One recipe.

    Attributes:
        ranges: How ranges are taken, see `range_methods.METHODS`.
        rounding: Whether weights are rounded with second moments.
        floats: Layers that stay float.
    """

    ranges: str
    rounding: bool
    floats: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For reports: ``mean+rounding, 2 layers in float``."""
        recipe = self.ranges + ("+rounding" if self.rounding else "")
        count = len(self.floats)
        return recipe + (f", {count} layer{'s' * (count > 1)} in float" if count else "")


@dataclass(frozen=True)
class Trial:
    """What became of one candidate.

    Attributes:
        candidate: The recipe.
        score: Its agreement with fp32 on the selection frames.
        size_bytes: Of the model.
    """

    candidate: Candidate
    score: float
    size_bytes: int = 0


# Ordered by how often each was best over six real models; no range method wins everywhere, and
# second-order rounding, the largest gain on most, hurt one of them. The first two need no histograms.
CANDIDATES: tuple[Candidate, ...] = (
    Candidate("mean", True),
    Candidate("minmax", True),
    Candidate("mse", True),
    Candidate("p99.999", True),
    Candidate("p99.99", True),
    Candidate("mean", False),
    Candidate("minmax", False),
    Candidate("mse", False),
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
    """Measure the calibration frames, then write and score recipes until one is good.

    If none is, the layers that cost the best of them most are put back to float, as few as will do.

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
    if not candidates:
        raise ValueError("no candidates given")
    rounding = any(c.rounding for c in candidates)
    measured = calibrate(
        model, feeds, scheme=scheme, rounding=rounding, exclude=exclude, progress=progress
    )
    search = _Search(model, measured, feeds, score, target, margin, progress)
    for candidate in candidates:
        if search.found:
            break
        search.attempt(candidate)
    if not search.found:
        search.put_back()
    return search.best[1], search.trials


class _Search:
    """What was tried so far, and the best of it."""

    def __init__(
        self,
        model: onnx.ModelProto,
        measured: Calibration,
        feeds: Feeds,
        score: Callable[[Quantized], float],
        target: float,
        margin: float,
        progress: Progress,
    ) -> None:
        self._model, self._measured, self._feeds = model, measured, feeds
        self._score, self._target, self._progress = score, target, progress
        self._enough = min(target + margin, 1.0)
        self.trials: list[Trial] = []
        self.best: tuple[Trial, Quantized]

    @property
    def found(self) -> bool:
        """Whether the best is good enough to stop."""
        return bool(self.trials) and self.best[0].score >= self._enough

    def attempt(self, candidate: Candidate) -> None:
        """Writes and scores one."""
        if needs_histogram(candidate.ranges) and not self._measured.histograms:
            self._measured = with_histograms(
                self._model, self._measured, self._feeds, progress=self._progress
            )
        made = quantize_calibrated(
            self._model,
            self._measured,
            ranges=candidate.ranges,
            rounding=candidate.rounding,
            exclude=candidate.floats,
        )
        trial = Trial(candidate, self._score(made), made.model.ByteSize())
        if not self.trials or self._better(trial.score):
            self.best = trial, made
        self.trials.append(trial)

    def put_back(self) -> None:
        """Keeps the layers that cost the best recipe most in float: as few as are enough."""
        recipe = self.best[0].candidate
        # Copies: the feeds are one buffer, filled anew for each frame.
        frames = [
            {name: np.array(value) for name, value in feed.items()}
            for feed in islice(self._feeds(), _RANKED_ON)
        ]
        ranked = rank_layers(
            self._model,
            self._measured,
            frames,
            ranges=recipe.ranges,
            rounding=recipe.rounding,
            progress=self._progress,
        )
        names = [name for name, _ in ranked]
        for count in _FLOATS:
            if self.found or 2 * count > len(names):
                return
            self.attempt(Candidate(recipe.ranges, recipe.rounding, tuple(names[:count])))

    def _better(self, score: float) -> bool:
        best = self.best[0].score
        return score >= self._enough or score > best + _DRAW or best < self._target <= score
