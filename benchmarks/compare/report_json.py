"""A comparison as JSON. Keys are only ever added."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgevision.benchmarks.compare.comparison import Comparison, Report
from edgevision.benchmarks.compare.estimate import CONFIDENCE, Estimate

__all__ = ["SCHEMA", "report_json"]

SCHEMA = 1


def report_json(report: Report) -> dict[str, Any]:
    """JSON-ready; percentages are of the base, negative where the new value is smaller."""
    return {
        "schema": SCHEMA,
        "base": report.base,
        "new": report.new,
        "confidence": CONFIDENCE,
        "allow_different": report.allowed,
        "max_regression": {name: round(100 * limit, 6) for name, limit in report.limits.items()},
        "gate": report.outcome,
        "gate_text": report.gate_text,
        "exit_status": report.exit_status,
        "comparisons": [_comparison(comparison) for comparison in report.comparisons],
        "not_compared": [
            {"instance": s.title, "reason": s.reason, "lost": s.lost} for s in report.skipped
        ],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "instance": comparison.title,
        "instance_id": comparison.key,
        "verdict": comparison.verdict,
        "method": "apart" if comparison.block is None else "interleaved",
        "block_queries": comparison.block,
        "noise_floor_from": comparison.floor_from,
        "base": _side(comparison.base),
        "new": _side(comparison.new),
        "metrics": {e.metric.name: _metric(e) for e in comparison.estimates},
        "effect": comparison.effect(),
        "stages": comparison.stages(),
        "single_values": comparison.single_values(),
        "gate": [ruling.to_json() for ruling in comparison.rulings],
        "differences": [difference.to_json() for difference in comparison.differences],
        "notes": list(comparison.notes),
    }


def _side(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    last = records[-1]
    return {
        "bundle": dict(last.get("bundle") or {}),
        "variant": last.get("variant"),
        "started_at": last.get("started_at"),
        "runs": len(records),
        "queries": sum(len(record["samples_ns"]) for record in records),
    }


def _metric(estimate: Estimate) -> dict[str, Any]:
    return {
        "unit": estimate.metric.unit,
        "base": _rounded(estimate.base),
        "new": _rounded(estimate.new),
        "change_percent": _percent(estimate.change),
        "low_percent": _percent(estimate.low),
        "high_percent": _percent(estimate.high),
        "noise_floor_percent": _percent(estimate.floor),
        "verdict": estimate.verdict,
        "reason": estimate.untold,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _percent(log_ratio: float | None) -> float | None:
    if log_ratio is None or math.isnan(log_ratio):
        return None
    return round(100 * math.expm1(log_ratio), 3)
