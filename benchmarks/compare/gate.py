"""The bounds of ``--max-regression``, and whether a comparison stays within them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgevision.benchmarks.compare.estimate import Estimate, noise_text
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.errors import UsageError

__all__ = ["Ruling", "judge", "judge_all", "parse_limits"]

_LIMIT = re.compile(r"\s*([a-z][a-z0-9.]*)\s*=\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")
_MOST_PERCENT = 1000.0
_EXPECTED = "METRIC=PERCENT%, joined by commas, such as p99=5%,fps=3%"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a bound says of a comparison.

    Attributes:
        metric: Its name.
        limit: By how much it may get worse, as a fraction.
        outcome: ``passed``, ``failed`` or ``cannot tell``.
        reason: In words.
    """

    metric: str
    limit: float
    outcome: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "limit_percent": round(100 * self.limit, 6),
            "outcome": self.outcome,
            "reason": self.reason,
        }


def parse_limits(text: str) -> dict[str, float]:
    """``p99=5%,fps=3%`` → ``{"p99": 0.05, "fps": 0.03}``: by so much each may get worse.

    Raises:
        UsageError: It says something else.
    """
    limits: dict[str, float] = {}
    for part in text.split(","):
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise _wrong(part, _EXPECTED)
        name, percent = match[1], float(match[2])
        if name not in METRICS:
            raise _wrong(part, f"one of {', '.join(METRICS)}")
        if name in limits:
            raise _wrong(part, f"one bound for {name}")
        most = 100.0 if METRICS[name].higher_is_better else _MOST_PERCENT
        if percent >= most:
            raise _wrong(part, f"0 % or more, less than {most:g} %")
        limits[name] = percent / 100
    return limits


def judge(estimate: Estimate, limit: float) -> Ruling:
    """Failed only if the change is real, and neither chance nor noise can have made what is beyond the bound.

    What the change may be is its interval, and all that is no further from it than the noise floor: of two runs apart
    the interval knows nothing of what happened between them. Passed if all of that is within the bound.
    """
    metric = estimate.metric
    if estimate.change is None:
        return Ruling(metric.name, limit, "cannot tell", estimate.untold or "")
    bound = -math.log1p(-limit) if metric.higher_is_better else math.log1p(limit)
    least, most = estimate.worse
    if estimate.verdict == "slower" and least > bound:
        return Ruling(metric.name, limit, "failed", f"worse by {_range(estimate)}")
    if estimate.verdict == "faster":
        return Ruling(metric.name, limit, "passed", f"better by {_range(estimate)}")
    if most <= bound:
        return Ruling(metric.name, limit, "passed", "within the bound")
    reason = (
        f"the interval is {_range(estimate)}, and noise alone makes {noise_text(estimate.floor)}"
    )
    if estimate.floor >= bound:
        reason += ", more than the bound"
    return Ruling(metric.name, limit, "cannot tell", reason)


def judge_all(estimates: list[Estimate], limits: Mapping[str, float]) -> list[Ruling]:
    """A ruling for each bound."""
    by_name = {estimate.metric.name: estimate for estimate in estimates}
    return [judge(by_name[name], limit) for name, limit in limits.items()]


def _range(estimate: Estimate) -> str:
    ends = (100 * math.expm1(end) for end in (estimate.low, estimate.high))
    return " to ".join(f"{end:+.1f} %".replace("-", "−") for end in ends)


def _wrong(part: str, expected: str) -> UsageError:
    return UsageError(
        "--max-regression cannot be read", received=part.strip() or "nothing", expected=expected
    )
