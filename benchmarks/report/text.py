"""A record as a table for people: plain text, at most 100 columns."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import cast

from edgevision.benchmarks.record import Record
from edgevision.benchmarks.sampling.summary import summary
from edgevision.benchmarks.sampling.timeline import Timeline
from edgevision.benchmarks.terminal import named, wrapped
from edgevision.percentiles import LEAST_SAMPLES
from edgevision.text import counted

__all__ = ["report_text"]

_row = partial(named, column=17)
_BAR = 40
_OVERLAP = "queries overlap: latency and the stage 'compute' include waiting for a free thread"
#: Metrics of a result that are no latency: what they are called, and their unit.
_METRICS = {"qps": ("rate", "queries/s"), "samples_per_s": ("rate", "frames/s")}
_LATENCIES = ("mean", "p50", "p90", "p95", "p99", "max")


def report_text(record: Record) -> str:
    """The whole table; of a configuration that gave no numbers, what became of it."""
    if record.error is not None and not record.queries:
        return "\n".join(_failure(record, record.error))
    parts = [_head(record), _figures(record), _latency(record), _stages(record)]
    parts += [_sampled(record), _notes(record)]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _failure(record: Record, error: Mapping[str, str]) -> list[str]:
    lines = [
        *wrapped(f"{record.bundle['name']} · {record.scenario} · INVALID: {record.status}"),
        *_row("variant", f"{record.variant} ({record.precision})"),
        *_row("backend", f"{record.backend}, compute {record.compute}, hint {record.hint}"),
        *_row("problem", error["problem"]),
    ]
    for name in ("received", "expected"):
        lines += [line for text in error[name].splitlines() for line in _row(name, text)]
    return lines + (_row("try", error["hint"]) if error["hint"] else [])


def _head(record: Record) -> list[str]:
    verdict = "VALID" if record.valid else f"INVALID: {record.invalid_reason}"
    engine, threads = record.engine, record.threads["engine"]
    library = f"{engine['library']} {engine['version']} on {engine['device']}"
    plural = "" if threads == 1 else "s"
    overlap = f", {record.in_flight} in flight" if record.in_flight > 1 else ""
    scenario = record.scenario + overlap
    return [
        *wrapped(f"{record.bundle['name']} · {scenario} · {verdict}"),
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
        *_result(record),
        *_row("throughput", "—" if fps is None else f"{fps:,.1f} frames/s"),
        *_row("load", "—" if record.load_ms is None else f"{record.load_ms:,.1f} ms"),
        *_row("first inference", "—" if first is None else f"{first:,.1f} ms"),
        *_row(
            "peak memory", "—" if record.peak_rss_mb is None else f"{record.peak_rss_mb:,.0f} MB"
        ),
        *_floor(record),
    ]


def _result(record: Record) -> list[str]:
    """The scenario's own figure, and what a camera lost."""
    result, camera = record.result, record.camera
    lines: list[str] = []
    if result is not None and result["value"] is not None:
        name, unit = _METRICS.get(result["metric"], (result["metric"].removesuffix("_ms"), "ms"))
        estimate = result["estimate_ms"]
        p = f"p{100 * result['percentile']:g}" if result["percentile"] is not None else ""
        claim = f"; {p} at confidence 0.99: {_ms(estimate)} ms" if estimate is not None else ""
        lines += _row("result", f"{name} {result['value']:,.3f} {unit}{claim}")
    if camera is not None:
        rate = camera["drop_rate"]
        lost = "" if rate is None else f" ({100 * rate:.1f} %)"
        lines += _row(
            "cameras",
            f"{camera['cameras']} of {camera['fps']:g} frames/s: {counted(camera['results'], 'result')}, "
            f"{counted(camera['dropped'], 'frame')} dropped{lost}",
        )
    return lines


def _floor(record: Record) -> list[str]:
    """The least time that the machine could take for one inference, and how far that is."""
    floor = record.floor
    if floor is None:
        return []
    if floor["floor_ms"] is None:
        return _row("floor", f"— {floor['reason']}")
    ratio = floor["measured_over_floor"]
    times = "" if ratio is None else f"; measured {ratio:,.2f}× that, {floor['measured']}"
    least = f"{_ms(floor['floor_ms'])} ms by {floor['bound']} in {floor['precision']}"
    return _row("floor", f"{least} ({floor['machine']}, {floor['mode']}){times}")


def _latency(record: Record) -> list[str]:
    values = record.latency_ms
    lines = [
        f"{'latency' if record.camera is None else 'age':<12}"
        + "".join(f"{name:>11}" for name in _LATENCIES),
        f"{'ms':<12}" + "".join(f"{_ms(values[name]):>11}" for name in _LATENCIES),
    ]
    missing = [name for name in _LATENCIES if name.startswith("p") and values[name] is None]
    if missing:
        need = ", ".join(f"{name} {LEAST_SAMPLES[int(name[1:]) / 100]}" for name in missing)
        lines += wrapped(f"— too few queries to quote it; needed: {need}")
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


def _sampled(record: Record) -> list[str]:
    """What the machine did meanwhile."""
    rows = summary(cast("Timeline | None", record.timeline), record.energy)
    return [line for name, text in rows for line in _row(name, text)]


def _notes(record: Record) -> list[str]:
    lines = [
        *_row("timed", str(record.boundary["timed"])),
        *_row("not timed", str(record.boundary["not_timed"])),
    ]
    if record.hint == "throughput":
        lines += _row("note", _OVERLAP)
    lines += [line for flag in record.flags for line in _row("flag", flag["text"])]
    problems = record.source["problems"]
    lines += [line for problem in problems[:5] for line in _row("problem", problem)]
    if len(problems) > 5:
        lines += _row("", f"… and {len(problems) - 5} more problems, all of them in the record")
    return lines


def _source(record: Record) -> str:
    source = record.source
    if "uri" not in source:
        return "none"
    text = f"{source['uri']}, {source['width']}×{source['height']}"
    return text + (f", opened {source['passes']} times" if source["passes"] > 1 else "")


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:,.3f}"


def _share(percent: float) -> str:
    return f"{percent:>7.1f} %  {'█' * round(percent * _BAR / 100)}".rstrip()
