"""The INT8 recipes that are tried, in order, until one agrees well enough; then, which layers go back to float."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import onnx

from edgevision.converters.int8.cache import CalibrationCache
from edgevision.converters.int8.from_onnx import Quantized
from edgevision.converters.int8.measured import Measured
from edgevision.converters.int8.put_back import float_sets, int8_layers, last_layers
from edgevision.converters.int8.range_methods import TUNED
from edgevision.converters.int8.ranges import Feeds
from edgevision.converters.int8.work import int8_share, multiply_adds
from edgevision.progress import Tell, silent

__all__ = ["CANDIDATES", "Candidate", "Trial", "best_candidate"]

# On 200 frames two scores this close are a draw, and the earlier recipe is the better guess: half the margin.
_DRAW = 0.5
#: After so many recipes it is tried what else may help all of them: last layers in float, equalized channels.
_PLAIN_FIRST = 2
#: About so many layers go back to float, one attempt after another.
_FLOATS = (1, 2, 4, 6, 8, 10, 14, 20)
#: The last layers in float must close this much of the gap to what is asked, since every recipe behind pays for it.
_LAST_LAYERS_GAIN = 0.5


@dataclass(frozen=True)
class Candidate:
    """One recipe.

    Attributes:
        ranges: How ranges are taken, see `range_methods.METHODS`.
        rounding: Whether weights are rounded with second moments.
        floats: Layers that stay float.
        equalized: Whether the channels of activations are brought to like ranges first, see `equalize`.
    """

    ranges: str
    rounding: bool
    floats: tuple[str, ...] = ()
    equalized: bool = False

    @property
    def name(self) -> str:
        """For reports: ``mean+rounding, 2 layers in float``."""
        recipe = self.ranges + "+rounding" * self.rounding + "+equalized" * self.equalized
        count = len(self.floats)
        return recipe + (f", {count} layer{'s' * (count > 1)} in float" if count else "")


@dataclass(frozen=True)
class Trial:
    """What became of one candidate.

    Attributes:
        candidate: The recipe.
        score: Its agreement with fp32 on the selection frames.
        size_bytes: Of the model.
        int8_share: Of all multiply-adds, those that run in INT8, 0…1: what it costs, as far as can be told
            without running it.
        speedup: Measured against fp32 on this machine; None where nobody asked.
    """

    candidate: Candidate
    score: float
    size_bytes: int = 0
    int8_share: float = 1.0
    speedup: float | None = None


# Ordered by how often each was best over six real models, and by what it takes: the first two need no histograms,
# the fourth is the only one that runs the network for each tensor. No range method wins everywhere, and second-order
# rounding, the largest gain on most, hurt one of them.
CANDIDATES: tuple[Candidate, ...] = (
    Candidate("mean", True),
    Candidate("minmax", True),
    Candidate("mse", True),
    Candidate(TUNED, True),
    Candidate("mean", False),
    Candidate("mse", False),
)


def best_candidate(
    model: onnx.ModelProto,
    feeds: Feeds,
    score: Callable[[Quantized], float],
    *,
    scheme: str,
    target: float,
    margin: float,
    speedup: Callable[[Quantized], float] | None = None,
    candidates: Sequence[Candidate] = CANDIDATES,
    exclude: Collection[str] = (),
    cache: CalibrationCache | None = None,
    progress: Tell = silent,
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
        margin: How far above ``target`` a recipe must score for the rest to be skipped: one recipe passed what
            it was chosen by and failed on fresh pictures.
        speedup: Measures a quantized model's speed against fp32, for the trials.
        candidates: The recipes, best guess first.
        exclude: Names of nodes to keep in float.
        cache: Where the measurements may lie already, and are kept.
        progress: Told the stage, how far it is, and of how much.

    Returns:
        The best-scoring model, which may still miss ``target`` (of those that score alike, the
        earlier), and the trials in order.
    """
    if not candidates:
        raise ValueError("no candidates given")
    measured = Measured(
        model,
        feeds,
        scheme=scheme,
        rounding=any(c.rounding for c in candidates),
        exclude=exclude,
        cache=cache,
        progress=progress,
    )
    search = _Search(measured, score, speedup, target, margin)
    for number, candidate in enumerate(candidates):
        if number == _PLAIN_FIRST:
            search.try_last_layers()
            search.try_equalized()
        search.attempt(candidate)
    search.put_back()
    return search.best[1], search.trials


class _Search:
    """What was tried so far, and the best of it. Once something is good enough, nothing more is tried."""

    def __init__(
        self,
        measured: Measured,
        score: Callable[[Quantized], float],
        speedup: Callable[[Quantized], float] | None,
        target: float,
        margin: float,
    ) -> None:
        self._measured = self._plain = measured
        self._score, self._speedup = score, speedup
        self._target = target
        self._work = multiply_adds(
            measured.model, int8_layers(measured.model, measured.calibration)
        )
        self._enough = min(target + margin, 1.0)
        self._draw = _DRAW * margin
        self._floats: tuple[str, ...] = ()  # what every further recipe keeps in float
        self.trials: list[Trial] = []
        self.best: tuple[Trial, Quantized]

    @property
    def found(self) -> bool:
        """Whether the best is good enough to stop."""
        return bool(self.trials) and self.best[0].score >= self._enough

    def attempt(self, candidate: Candidate) -> None:
        """Writes and scores one, with what was found to help so far."""
        if self.found:
            return
        floats = tuple(sorted({*candidate.floats, *self._floats}))
        candidate = replace(candidate, floats=floats, equalized=self._measured is not self._plain)
        made = self._measured.quantized(
            ranges=candidate.ranges, rounding=candidate.rounding, floats=floats
        )
        made.report["equalized"] = candidate.equalized
        trial = Trial(
            candidate,
            self._score(made),
            made.model.ByteSize(),
            int8_share(self._work, floats),
            None if self._speedup is None else self._speedup(made),
        )
        if not self.trials or self._better(trial):
            self.best = trial, made
        self.trials.append(trial)

    def try_last_layers(self) -> None:
        """Keeps the layers that give the answers in float, if that helps: scores and coordinates lie far apart.

        BlazeFace's scores reach from −6600 to 2: in 255 steps, every face is lost.
        """
        before = self.best[0]
        names = last_layers(self._measured.model, self._measured.calibration)
        if self.found or 2 * len(names) > len(self._work):
            return
        self.attempt(replace(before.candidate, floats=names))
        gap = self._enough - before.score
        if self.trials[-1].score > before.score + max(self._draw, _LAST_LAYERS_GAIN * gap):
            self._floats = names

    def try_equalized(self) -> None:
        """Equalizes the channels of activations, unless that does harm: it costs no time where it runs."""
        before = self.best[0]
        other = None if self.found else self._measured.equalized()
        if other is None:
            return
        self._measured = other
        self.attempt(before.candidate)
        if self.trials[-1].score < before.score - self._draw:
            self._measured = self._plain

    def put_back(self) -> None:
        """Keeps the layers that cost the best recipe most in float: as few as are enough."""
        if self.found:
            return
        recipe = self.best[0].candidate
        self._floats = recipe.floats
        self._draw = 0.0  # more layers in float are no other recipe, but the same with less noise
        harm = self._measured.harm(ranges=recipe.ranges, rounding=recipe.rounding)
        model, calibration = self._measured.model, self._measured.calibration
        for names in float_sets(model, calibration, harm, _FLOATS, self._floats):
            self.attempt(replace(recipe, floats=names))

    def _better(self, trial: Trial) -> bool:
        """A draw is the earlier one's, but for tuned ranges: they were chosen for less noise."""
        score, best = trial.score, self.best[0].score
        lead = -self._draw if trial.candidate.ranges == TUNED else self._draw
        return score >= self._enough or score > best + lead or best < self._target <= score
