"""A comparison as Markdown: a few lines for a pull request, the rest folded away."""

from __future__ import annotations

from edgevision.benchmarks.compare.comparison import Comparison, Report
from edgevision.benchmarks.compare.estimate import CONFIDENCE, Estimate, noise_text
from edgevision.benchmarks.compare.text import facts, percent, shown
from edgevision.text import markdown

__all__ = ["report_markdown"]

_MARKS = {
    "slower": "🔺",
    "faster": "🔽",
    "mixed": "🔺🔽",
    "no difference": "▫️",
    "cannot tell": "❔",
}
_OUTCOMES = {"passed": "✅", "failed": "❌", "cannot tell": "❔"}
#: In the line that is always seen.
_HEADLINE = ("p50", "p99", "fps")


def report_markdown(report: Report) -> str:
    """GitHub's and GitLab's Markdown; whatever comes from a record is escaped."""
    lines = [f"### Benchmark: {markdown(report.new)} against {markdown(report.base)}", ""]
    if report.outcome is not None:
        bounds = ", ".join(f"{name} {100 * limit:g} %" for name, limit in report.limits.items())
        mark = _OUTCOMES[report.outcome]
        lines += [f"{mark} **{report.gate_text}** (at most worse: {bounds})", ""]
    if any(_not_alike(comparison) for comparison in report.comparisons):
        lines += ["⚠️ **No like with like**: allowed by `--allow-different`, see the details.", ""]
    lines += [
        "| configuration | " + " | ".join(_HEADLINE) + " | verdict |",
        "|" + " --- |" * (len(_HEADLINE) + 2),
        *(_headline(comparison) for comparison in report.comparisons),
    ]
    lines += [
        f"| {markdown(s.title)} |" + " — |" * len(_HEADLINE) + f" {markdown(s.reason)} |"
        for s in report.skipped
    ]
    for comparison in report.comparisons:
        lines += ["", *_details(report, comparison)]
    return "\n".join(lines) + "\n"


def _headline(comparison: Comparison) -> str:
    found = {estimate.metric.name: estimate for estimate in comparison.estimates}
    cells = [_change(found[name]) for name in _HEADLINE]
    verdict = f"{_MARKS[comparison.verdict]} {comparison.verdict}"
    return f"| {markdown(comparison.title)} | " + " | ".join(cells) + f" | {verdict} |"


def _change(estimate: Estimate) -> str:
    """The change if there is one; else within what it would have been seen."""
    if estimate.change is None:
        return "—"
    if estimate.verdict == "no difference":
        return f"within {noise_text(estimate.resolution)}"
    return f"**{percent(estimate.change)}**"


def _details(report: Report, comparison: Comparison) -> list[str]:
    lines = [
        f"<details><summary>{markdown(comparison.title)}</summary>",
        "",
        f"| | base | new | change | {100 * CONFIDENCE:.0f} % interval | noise floor | verdict |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *(_row(estimate) for estimate in shown(report, comparison)),
        "",
    ]
    lines += [f"- {name or '⚠️'}: {markdown(text, 600)}" for name, text in facts(report, comparison)]
    for ruling in comparison.rulings:
        limit = f"{ruling.metric} at most {100 * ruling.limit:g} % worse"
        lines.append(f"- gate: {limit}: **{ruling.outcome}**, {markdown(ruling.reason)}")
    return [*lines, "", "</details>"]


def _row(estimate: Estimate) -> str:
    metric = estimate.metric
    values = [
        ("—" if value is None else f"{value:,.3f}") for value in (estimate.base, estimate.new)
    ]
    told = estimate.change is not None
    ends = f"{percent(estimate.low)} … {percent(estimate.high)}" if told else "—"
    floor = noise_text(estimate.floor) if told else "—"
    cells = [
        f"{metric.name} {metric.unit}",
        *values,
        percent(estimate.change),
        ends,
        floor,
        estimate.verdict,
    ]
    return "| " + " | ".join(cells) + " |"


def _not_alike(comparison: Comparison) -> bool:
    return comparison.block is None and any(d.refused for d in comparison.differences)
