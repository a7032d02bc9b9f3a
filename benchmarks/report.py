"""A record as a table for people: plain text, at most 100 columns."""

from __future__ import annotations

import textwrap

from edgevision.benchmarks.record import Record
from edgevision.percentiles import LEAST_SAMPLES
from edgevision.text import printable

__all__ = ["report_text"]

_WIDTH = 100
_BAR = 40
_OVERLAP = "queries overlap: latency and the stage 'compute' include waiting for a free thread"
_LATENCIES = ("mean", "p50", "p90", "p95", "p99", "max")


def report_text(record: Record) -> str:
    """The whole table."""
    parts = [_head(record), _figures(record), _latency(record), _stages(record), _notes(record)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _head(record: Record) -> list[str]:
    verdict = "VALID" if record.valid else f"INVALID: {record.invalid_reason}"
    engine, threads = record.engine, record.threads["engine"]
    library = f"{engine['library']} {engine['version']} on {engine['device']}"
    plural = "" if threads == 1 else "s"
    overlap = f", {record.in_flight} in flight" if record.in_flight > 1 else ""
    scenario = record.scenario + overlap
    return [
        *_wrapped(f"{record.bundle['name']} · {scenario} · {verdict}"),
        *_row("variant", f"{record.variant} ({record.precision})"),
        *_row("backend", f"{record.backend}: {library}"),
        *_row("compute", f"{record.compute}, {threads} thread{plural}, hint {record.hint}"),
        *_row("frames", _source(record)),
    ]


def _figures(record: Record) -> list[str]:
    fps, first = record.throughput_fps, record.first_inference_ms
    queries = (
        f"{record.queries:,} in {record.duration_s:.1f} s, after {len(record.warmup_ns)} of warm-up"
    )
    return [
        *_row("queries", queries),
        *_row("throughput", "—" if fps is None else f"{fps:,.1f} frames/s"),
        *_row("load", f"{record.load_ms:,.1f} ms"),
        *_row("first inference", "—" if first is None else f"{first:,.1f} ms"),
        *_row("peak memory", f"{record.peak_rss_mb:,.0f} MB"),
    ]


def _latency(record: Record) -> list[str]:
    values = record.latency_ms
    lines = [
        f"{'latency':<12}" + "".join(f"{name:>11}" for name in _LATENCIES),
        f"{'ms':<12}" + "".join(f"{_ms(values[name]):>11}" for name in _LATENCIES),
    ]
    missing = [name for name in _LATENCIES if name.startswith("p") and values[name] is None]
    if missing:
        need = ", ".join(f"{name} {LEAST_SAMPLES[int(name[1:]) / 100]}" for name in missing)
        lines += _wrapped(f"— too few queries to quote it; needed: {need}")
    return lines


def _stages(record: Record) -> list[str]:
    """Mean and median of each stage that took any time, and its share of the end-to-end time."""
    total = float(record.samples_ns.sum())
    if not total:
        return []
    lines = [f"{'stage':<12}{'mean ms':>11}{'p50 ms':>11}{'share':>9}"]
    for stage, samples in record.stages_ns.items():
        share = 100 * float(samples.sum()) / total
        values = record.stages_ms[stage]
        if share >= 0.005:
            times = f"{_ms(values['mean']):>11}{_ms(values['p50']):>11}"
            lines.append(f"{stage:<12}{times}{_share(share)}")
    return lines


def _notes(record: Record) -> list[str]:
    lines = [
        *_row("timed", str(record.boundary["timed"])),
        *_row("not timed", str(record.boundary["not_timed"])),
    ]
    if record.hint == "throughput":
        lines += _row("note", _OVERLAP)
    lines += _busy(record)
    problems = record.source["problems"]
    lines += [line for problem in problems[:5] for line in _row("problem", problem)]
    if len(problems) > 5:
        lines += _row("", f"… and {len(problems) - 5} more problems, all of them in the record")
    return lines


def _busy(record: Record) -> list[str]:
    """A warning if others kept half of the machine's cores or more busy before the run."""
    load, cores = record.environment["start"]["load_average"], record.environment["cpu"]["cores"]
    if not load or not cores or load[0] < cores / 2:
        return []
    return _row(
        "note", f"the machine was busy before the run: load average {load[0]:.1f} on {cores} cores"
    )


def _source(record: Record) -> str:
    source = record.source
    if "uri" not in source:
        return "none"
    text = f"{source['uri']}, {source['width']}×{source['height']}"
    return text + (f", opened {source['passes']} times" if source["passes"] > 1 else "")


def _row(name: str, text: str) -> list[str]:
    return _wrapped(text, f"{name:<17}") or [name]


def _wrapped(text: str, first: str = "") -> list[str]:
    return textwrap.wrap(
        printable(text, 300),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * (len(first) or 4),
        break_on_hyphens=False,
    )


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:,.3f}"


def _share(percent: float) -> str:
    return f"{percent:>7.1f} %  {'█' * round(percent * _BAR / 100)}".rstrip()
