"""What was tried for a variant, and which of it nothing else beats: accuracy, size, cost and speed side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgevision.converters.conversion import Conversion, Made
from edgevision.converters.int8.candidates import Trial
from edgevision.converters.int8.range_methods import METHODS
from edgevision.converters.report.accuracy import metric_name
from edgevision.converters.report.json_file import recipe
from edgevision.text import score_text, size_text

__all__ = ["trial_times", "trials_section", "unbeaten"]

#: Words in the names of recipes.
_WORDS = {
    "rounding": "rounds weights by what the pictures make of them, not to the nearest",
    "equalized": "brings the channels of an activation to like ranges first",
}
_COLUMNS = (
    "*in int8*: the share of all multiply-adds, which tells the cost without running it. *Speed*: against fp32, on "
    "this machine, a few rounds each. ●: nothing that was tried is better in one of score and speed and as good in "
    "the other."
)
# A few rounds on a shared machine: speeds that differ by less are the same.
_AS_FAST = 0.03


def trials_section(made: Made, conversion: Conversion) -> str:
    """The Pareto table of a variant; empty where there was nothing to choose from."""
    if not made.trials:
        return ""
    rows = [
        f"| | recipe tried | {_metric(made)} on the {_part(conversion)} pictures | size | in int8 | speed |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    best = unbeaten(made.trials)
    chosen = " (shipped)" if made.passed else " (the best found)"
    for number, trial in enumerate(made.trials):
        mark = chosen if trial.candidate.name == recipe(made) else ""
        speed = "–" if trial.speedup is None else f"{trial.speedup:.2f}×"
        rows.append(
            f"| {'●' if number in best else ''} | {trial.candidate.name}{mark} | {score_text(trial.score)} "
            f"| {size_text(trial.size_bytes)} | {trial.int8_share:.1%} | {speed} |"
        )
    tried = dict.fromkeys(trial.candidate.ranges for trial in made.trials)
    ranges = "; ".join(f"`{name}` {METHODS[name]}" for name in tried)
    names = " ".join(trial.candidate.name for trial in made.trials)
    others = [f"`{word}` {meaning}." for word, meaning in _WORDS.items() if word in names]
    rows += ["", " ".join([f"As the range of an activation, {ranges}.", *others, _COLUMNS])]
    return "\n".join(rows)


def unbeaten(trials: Sequence[Trial]) -> set[int]:
    """Positions of the trials that no other beats; where speeds were not measured, cost stands for them."""

    def speed(trial: Trial) -> float:
        return trial.int8_share if trial.speedup is None else trial.speedup

    def beats(one: Trial, other: Trial) -> bool:
        slower = speed(one) < speed(other) * (1 - _AS_FAST)
        faster = speed(one) > speed(other) * (1 + _AS_FAST)
        return not slower and one.score >= other.score and (faster or one.score > other.score)

    return {
        number
        for number, trial in enumerate(trials)
        if not any(beats(other, trial) for other in trials)
    }


def trial_times(made: Made) -> list[dict[str, Any]]:
    """Speeds of the trials, for ``timings.json``: they are no part of the report that is the same every time."""
    return [{"recipe": t.candidate.name, "speedup": t.speedup} for t in made.trials]


def _metric(made: Made) -> str:
    if made.proof is not None and made.proof.accuracy is not None:
        return metric_name(made.proof.accuracy["metric"])
    return "agreement"


def _part(conversion: Conversion) -> str:
    own = conversion.data is not None and conversion.data.selection.count > 0
    return "selection" if own or conversion.validation is not None else "calibration"
