"""A comparison as a table for people, and as Markdown for a pull request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edgevision.benchmarks.compare.apart import RUNS_TELL, SPREAD, assumed_floor
from edgevision.benchmarks.compare.comparison import Comparison, Report
from edgevision.benchmarks.compare.estimate import CONFIDENCE, Estimate, noise_text
from edgevision.benchmarks.terminal import named, wrapped
from edgevision.text import counted

__all__ = ["facts", "headline", "percent", "report_text", "shown"]

_row = partial(named, column=16)
_INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"


def report_text(report: Report) -> str:
    """The whole table, at most 100 columns."""
    parts = [_comparison(report, comparison) for comparison in report.comparisons]
    rest = [line for s in report.skipped for line in _row("not compared", f"{s.title}: {s.reason}")]
    if report.outcome is not None:
        rest += _row("gate", report.gate_text)
    return "\n\n".join("\n".join(part) for part in [*parts, rest] if part)


def shown(report: Report, comparison: Comparison) -> list[Estimate]:
    """The estimates worth a line: all but a far percentile that nobody asked for and that cannot be told."""
    return [
        e
        for e in comparison.estimates
        if e.untold is None or e.metric.name in report.limits or e.metric.least <= 662
    ]


def facts(report: Report, comparison: Comparison) -> list[tuple[str, str]]:
    """What is said beside the table: kind and text."""
    lines = [
        ("base", _side(report.base, comparison.base)),
        ("new", _side(report.new, comparison.new)),
    ]
    lines.append(("how", _how(comparison)))
    lines += [("noise floor", text) for text in _floor(comparison)]
    effect = comparison.effect()
    size = f"Cliff's delta {_signed(effect['cliffs_delta'], 2)} ({effect['size']})"
    lines.append(("single queries", f"typically {_signed(effect['shift_ms'], 3)} ms; {size}"))
    reasons = [e.untold for e in shown(report, comparison) if e.untold]
    lines += [("cannot tell", reason) for reason in dict.fromkeys(reasons)]
    for difference in comparison.differences:
        refused = difference.refused and comparison.block is None
        lines.append(("DIFFERENT" if refused else "differs", str(difference)))
    if any(d.refused for d in comparison.differences) and comparison.block is None:
        lines.append(("", "allowed by --allow-different: this is no like with like"))
    return lines + [("note", note) for note in comparison.notes]


def headline(comparison: Comparison) -> str:
    """The verdict; where there is no difference, also from where on one of the median would have been seen."""
    verdict = comparison.verdict.upper()
    median = next(e for e in comparison.estimates if e.metric.percentile == 0.5)
    if comparison.verdict != "no difference" or median.change is None:
        return verdict
    return f"{verdict} (p50: none beyond {noise_text(median.resolution)})"


def percent(log_ratio: float | None, digits: int = 1) -> str:
    """``+5.0 %``; a dash for nothing."""
    if log_ratio is None or math.isnan(log_ratio):
        return "—"
    return f"{_signed(100 * math.expm1(log_ratio), digits)} %"


def _comparison(report: Report, comparison: Comparison) -> list[str]:
    lines = [*wrapped(f"{comparison.title} · {headline(comparison)}"), ""]
    head = (
        f"{'':<14}{'base':>12}{'new':>12}{'change':>10}{_INTERVAL:>22}{'noise floor':>14}  verdict"
    )
    lines += [head, *(_estimate(estimate) for estimate in shown(report, comparison)), ""]
    for name, text in facts(report, comparison):
        lines += _row(name, text)
    lines += _stages(comparison)
    for ruling in comparison.rulings:
        limit = f"{ruling.metric} at most {100 * ruling.limit:g} % worse"
        lines += _row("gate", f"{limit}: {ruling.outcome.upper()}, {ruling.reason}")
    return lines


def _estimate(estimate: Estimate) -> str:
    values = "".join(f"{_value(value):>12}" for value in (estimate.base, estimate.new))
    told = estimate.change is not None
    ends = f"{percent(estimate.low)} … {percent(estimate.high)}" if told else "—"
    floor = noise_text(estimate.floor) if told else "—"
    name = f"{estimate.metric.name} {estimate.metric.unit}"
    return (
        f"{name:<14}{values}{percent(estimate.change):>10}{ends:>22}{floor:>14}  {estimate.verdict}"
    )


def _stages(comparison: Comparison) -> list[str]:
    told = [
        f"{stage} {times['base_p50_ms']:.3f} → {times['new_p50_ms']:.3f}"
        for stage, times in comparison.stages().items()
        if max(times.values()) >= 0.0005
    ]
    return _row("stages, p50 ms", ", ".join(told)) if told else []


def _how(comparison: Comparison) -> str:
    if comparison.block is None:
        return "runs apart from each other"
    pairs = (
        min(len(side[-1]["samples_ns"]) for side in (comparison.base, comparison.new))
        // comparison.block
    )
    return f"blocks of {comparison.block} {'query' if comparison.block == 1 else 'queries'} took turns, {pairs:,} pairs"


def _floor(comparison: Comparison) -> list[str]:
    """Where the floor of runs apart comes from, and how to get a finer one."""
    counts = len(comparison.base), len(comparison.new)
    if comparison.floor_from == "turns":
        return []
    if comparison.floor_from == "runs":
        return [
            f"from how much runs of one side differ among themselves: {counts[0]} of the base, {counts[1]} of the new"
        ]
    least = assumed_floor(*counts)
    wander = any(e.change is not None and e.floor > least * 1.001 for e in comparison.estimates)
    assumed = f"{100 * SPREAD:g} %, so that up to {noise_text(least)} may be noise"
    more = "; more where these runs wandered more themselves" if wander else ""
    return [
        f"with so few runs nobody knows how much they vary here. They are taken to vary by {assumed}{more}",
        f"for a finer one: edgevision bench --runs {RUNS_TELL} of both, or --vs, which takes turns",
    ]


def _side(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    last = records[-1]
    bundle = last.get("bundle") or {}
    queries = sum(len(record["samples_ns"]) for record in records)
    identity = str(bundle.get("identity") or "")[:12]
    what = f"{bundle.get('name', '?')} {identity} {last.get('variant', '')}".replace("  ", " ")
    where = "" if name in ("base", "new") else f"{name}: "
    return f"{where}{what}, {counted(len(records), 'run')}, {queries:,} queries"


def _value(value: float | None) -> str:
    return "—" if value is None else f"{value:,.3f}"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")
