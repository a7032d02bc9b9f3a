"""What is asked of a run: the scenario, its terms, and the options that belong to it alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from edgevision.errors import UsageError

__all__ = ["ENGINE_ALONE", "OPTIONS", "SCENARIO_NAMES", "Plan"]

SCENARIO_NAMES = ("single-stream", "multi-stream", "server", "offline", "camera")
#: Scenarios of which the engine alone can be timed: the others are about how frames arrive.
ENGINE_ALONE = ("single-stream", "multi-stream", "offline")
#: Scenario → the options that it alone understands, with their defaults; None: there is none.
OPTIONS: dict[str, dict[str, Any]] = {
    "single-stream": {},
    "multi-stream": {"samples_per_query": 8},
    "server": {"target_qps": None, "latency_bound_ms": None, "seed": 1},
    "offline": {},
    "camera": {"fps": 30.0, "cameras": 1, "seed": 1},
}
#: The percentile that is a scenario's result, as in MLPerf; a camera's is not in MLPerf.
_PERCENTILE = {"multi-stream": 0.99, "server": 0.99}
#: Enough queries for that percentile; for p99 with one overrun.
_MIN_QUERIES = {"multi-stream": 662, "server": 662}
_LONGEST_S = 1e7
_RANGES = {
    "samples_per_query": (1, 4096),
    "target_qps": (1e-3, 1e6),
    "latency_bound_ms": (1e-3, 1e9),
    "seed": (0, 2**63 - 1),
    "fps": (1e-3, 1000),
    "cameras": (1, 64),
    "cooldown": (0, 1_000_000),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of a run; `Plan.of` knows each scenario's defaults.

    Attributes:
        scenario: How work is sent, one of `SCENARIO_NAMES`.
        inference_only: Time only the engine, on one frame that was loaded before.
        duration_s: The counted queries together last at least so long, seconds.
        min_queries: And there are at least so many of them.
        warmup: Queries that come first and are not counted.
        percentile: The one that is this scenario's result: MLPerf's for single-stream is p90.
        cooldown: Queries that come last and are not counted, so that those before them do not run
            on an emptying machine; None is as many as can be in flight beside one query.
        samples_per_query: Frames in a query of ``multi-stream``.
        target_qps: Arrivals a second of ``server``; None searches the highest rate that is valid.
        latency_bound_ms: What the percentile of ``server`` must not exceed, milliseconds.
        seed: Of the arrivals of ``server``, and of when each ``camera`` begins.
        fps: Frames a second of each ``camera``.
        cameras: How many of them.

    Raises:
        UsageError: It cannot be run.
    """

    scenario: str = "single-stream"
    inference_only: bool = False
    duration_s: float = 10.0
    min_queries: int = 100
    warmup: int = 10
    percentile: float = 0.9
    cooldown: int | None = None
    samples_per_query: int | None = None
    target_qps: float | None = None
    latency_bound_ms: float | None = None
    seed: int | None = None
    fps: float | None = None
    cameras: int | None = None

    @classmethod
    def of(cls, scenario: str, **given: Any) -> Plan:
        """A scenario's plan: what is given and not None, else the scenario's default.

        Raises:
            UsageError: It cannot be run, or an option belongs to another scenario.
        """
        own = {"percentile": _PERCENTILE.get(scenario, 0.9)}
        own |= {"min_queries": _MIN_QUERIES.get(scenario, 100)} | OPTIONS.get(scenario, {})
        return cls(scenario, **own | {k: v for k, v in given.items() if v is not None})

    def __post_init__(self) -> None:
        from edgevision.percentiles import (
            LEAST_SAMPLES,  # numpy: the command line only asks for names
        )

        if self.scenario not in SCENARIO_NAMES:
            raise UsageError(
                f"there is no scenario {self.scenario!r}", expected=", ".join(SCENARIO_NAMES)
            )
        if not 0 <= self.duration_s <= _LONGEST_S:
            raise UsageError(
                "a run cannot last that long",
                received=f"--duration {self.duration_s}",
                expected=f"seconds: 0 to {_LONGEST_S:g}, which is four months",
            )
        if self.min_queries < 1 or self.warmup < 0 or self.percentile not in LEAST_SAMPLES:
            raise UsageError(f"this plan cannot be run: {self}", expected="at least one query")
        if self.inference_only and self.scenario not in ENGINE_ALONE:
            raise UsageError(
                f"{self.scenario} is about how frames arrive, so the engine alone cannot run it",
                received="--inference-only",
                expected=f"one of the scenarios {', '.join(ENGINE_ALONE)}",
            )
        for name, value in self.options().items():
            _check_option(self.scenario, name, value)
        if self.scenario == "server" and self.latency_bound_ms is None:
            raise UsageError(
                "server needs a bound: it is what decides whether a rate can be served",
                expected="--latency-bound MS, which p99 must not exceed",
                hint="a frame's deadline in your application, such as --latency-bound 50",
            )

    def options(self) -> dict[str, Any]:
        """The scenario's own options that are set, by name."""
        names = [field.name for field in fields(self)][_OWN:]
        return {n: value for n in names if (value := getattr(self, n)) is not None}


#: Where in a plan the options that belong to single scenarios begin; ``cooldown`` is the first checked.
_OWN = [field.name for field in fields(Plan)].index("cooldown")


def _check_option(scenario: str, name: str, value: float) -> None:
    least, most = _RANGES[name]
    if name != "cooldown" and name not in OPTIONS[scenario]:
        of = [other for other, options in OPTIONS.items() if name in options]
        raise UsageError(
            f"{scenario} has no option {_flag(name)}",
            expected=f"it belongs to the scenario {' or '.join(of)}",
        )
    if not (math.isfinite(value) and least <= value <= most):
        raise UsageError(
            f"{_flag(name)} is out of range",
            received=f"{value:g}",
            expected=f"{least:g} to {most:g}",
        )


def _flag(name: str) -> str:
    return "--" + name.removesuffix("_ms").replace("_", "-")
