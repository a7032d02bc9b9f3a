"""What came of a comparison: of one configuration, and of all that both sides have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.compare.apart import RUNS_TELL
from edgevision.benchmarks.compare.effect import cliffs_delta, delta_size, shift
from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.gate import Ruling
from edgevision.benchmarks.compare.sameness import Difference
from edgevision.benchmarks.compare.series import Series
from edgevision.text import counted

__all__ = ["Comparison", "Report", "Skipped"]

_Record = Mapping[str, Any]
#: What a process has once, so that nothing can be said of its noise.
_SINGLE = ("load_ms", "first_inference_ms", "peak_rss_mb")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One configuration, base against new.

    Attributes:
        title: The configuration in one line.
        key: What matched the two.
        base: The base's records, oldest first; the last one speaks for them.
        new: Likewise.
        block: Queries in a block, where blocks of both took turns; None for runs apart from each other.
        estimates: One for each metric.
        rulings: One for each bound that was set.
        differences: What is not the same in both; refused ones only if they were allowed.
        notes: What else to know.
    """

    title: str
    key: str
    base: Sequence[_Record]
    new: Sequence[_Record]
    block: int | None
    estimates: Sequence[Estimate]
    rulings: Sequence[Ruling]
    differences: Sequence[Difference]
    notes: Sequence[str]

    @property
    def verdict(self) -> str:
        """``slower``, ``faster``, ``mixed``, ``no difference`` or ``cannot tell``."""
        told = {estimate.verdict for estimate in self.estimates}
        if {"slower", "faster"} <= told:
            return "mixed"
        median = next(e for e in self.estimates if e.metric.percentile == 0.5)
        return next((word for word in ("slower", "faster") if word in told), median.verdict)

    @property
    def floor_from(self) -> str:
        """Where the noise floor comes from: ``turns``, ``runs`` (enough of them), or ``assumed`` of too few."""
        if self.block is not None:
            return "turns"
        return "runs" if max(len(self.base), len(self.new)) >= RUNS_TELL else "assumed"

    def effect(self) -> dict[str, Any]:
        """Size of the difference between single queries: ``cliffs_delta``, ``size`` and ``shift_ms``."""
        was, now = (
            np.concatenate([Series.of(record).latency_ns for record in side])
            for side in (self.base, self.new)
        )
        delta = cliffs_delta(was, now)
        return {
            "cliffs_delta": round(delta, 4),
            "size": delta_size(delta),
            "shift_ms": round(shift(was, now) / 1e6, 4),
        }

    def stages(self) -> dict[str, dict[str, float]]:
        """Stage → median of both, ms, of all runs together; without a verdict."""
        was, now = (_stages(side) for side in (self.base, self.new))
        return {
            stage: {
                "base_p50_ms": round(float(np.median(was[stage])) / 1e6, 4),
                "new_p50_ms": round(float(np.median(now[stage])) / 1e6, 4),
            }
            for stage in was
            if stage in now and (was[stage].any() or now[stage].any())
        }

    def single_values(self) -> dict[str, dict[str, float]]:
        """What each process has but once, the median of the runs; without a verdict."""
        was, now = (_singles(side) for side in (self.base, self.new))
        return {key: {"base": was[key], "new": now[key]} for key in was if key in now}


def _stages(runs: Sequence[_Record]) -> dict[str, NDArray[np.float64]]:
    """Stage → its times in all runs, ns, float64 ``(queries,)``; those that all runs have."""
    told = [run.get("stages_ns") or {} for run in runs]
    return {
        stage: np.concatenate([np.asarray(one[stage], np.float64) for one in told])
        for stage in told[-1]
        if all(one.get(stage) for one in told)
    }


def _singles(runs: Sequence[_Record]) -> dict[str, float]:
    found = {key: [run[key] for run in runs if run.get(key) is not None] for key in _SINGLE}
    return {key: round(float(np.median(values)), 4) for key, values in found.items() if values}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A configuration that was not compared.

    Attributes:
        title: The configuration in one line.
        reason: Why.
        lost: The base measured it, and the new side failed to: no gate has passed then.
    """

    title: str
    reason: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All that was compared.

    Attributes:
        base: What the base is called.
        new: What the new side is called.
        limits: Metric → by how much it may get worse.
        allowed: Whether different things were allowed to be compared.
    """

    base: str
    new: str
    limits: Mapping[str, float]
    allowed: bool
    comparisons: Sequence[Comparison]
    skipped: Sequence[Skipped] = field(default_factory=tuple)

    @property
    def outcome(self) -> str | None:
        """Of the gate: ``failed``, ``cannot tell`` or ``passed``; None if no bound was set."""
        if not self.limits:
            return None
        outcomes = {
            ruling.outcome for comparison in self.comparisons for ruling in comparison.rulings
        }
        if "failed" in outcomes:
            return "failed"
        return "cannot tell" if "cannot tell" in outcomes or self.lost else "passed"

    @property
    def lost(self) -> int:
        """How many configurations the base has, and the new side failed to measure."""
        return sum(skipped.lost for skipped in self.skipped)

    @property
    def gate_text(self) -> str:
        """The gate's outcome in a line, so that nobody takes "cannot tell" for "passed"."""
        if self.outcome is None:
            return ""
        status = f"exit status {self.exit_status}"
        if self.lost:
            lost = f"{counted(self.lost, 'configuration')} of the base not measured anew"
            return f"{self.outcome.upper()}: {lost}; {status}"
        if self.outcome != "cannot tell":
            return f"{self.outcome.upper()}; {status}"
        return f"CANNOT TELL: a regression was neither found nor ruled out; {status}"

    @property
    def exit_status(self) -> int:
        """0; 3 if a bound was exceeded; 1 if bounds were set and something failed to be measured."""
        if self.outcome == "failed":
            return 3
        return 1 if self.limits and self.lost else 0
