"""One run in full: verdict, flags, histogram, timeline, stages, and how it was set up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgevision.benchmarks.report.html.charts.histogram import histogram
from edgevision.benchmarks.report.html.charts.stages import waterfall
from edgevision.benchmarks.report.html.charts.timeline import timeline
from edgevision.benchmarks.report.html.entry import Entry
from edgevision.benchmarks.report.html.environment import state
from edgevision.benchmarks.report.html.facts import dig, flat, listed, mapping, number, text
from edgevision.benchmarks.report.html.figures import NONE, digits, percent, quantity
from edgevision.benchmarks.report.html.markup import Markup, element, joined
from edgevision.benchmarks.report.html.sensors import unread
from edgevision.benchmarks.report.html.tables import pairs, swatch
from edgevision.text import counted

__all__ = ["details"]

#: Cameras that have a line of their own.
_CAMERAS = 16


def details(entry: Entry, points: int, *, opened: bool) -> Markup:
    """A part of the page that opens on a click; on paper it is open."""
    badge = element("span", entry.label, class_=f"badge {entry.verdict}")
    head = element("summary", element("h3", swatch(entry), " ", entry.name), " ", badge)
    shown = _figures(entry, points) if len(entry.samples_ms) else _nothing(entry)
    return element(
        "details",
        head,
        _reason(entry),
        _flags(entry.record),
        *shown,
        state(entry.record),
        id=f"run{entry.number}",
        class_="run",
        open=opened,
    )


def _figures(entry: Entry, points: int) -> list[Markup | None]:
    return [
        element("div", pairs(_set_up(entry)), histogram(entry), class_="two"),
        waterfall(entry) or element("p", "The record has no stages.", class_="none"),
        timeline(entry, points),
        _sensors(entry.record),
    ]


def _nothing(entry: Entry) -> list[Markup | None]:
    words = "There is nothing to draw: no query was completed."
    return [
        element("p", words, class_="none"),
        _way_out(entry.record),
        pairs(_set_up(entry)),
    ]


def _reason(entry: Entry) -> Markup | None:
    if entry.verdict == "valid":
        return None
    return element(
        "p", element("b", f"{entry.label}: "), entry.reason, class_=f"why {entry.verdict}"
    )


def _flags(record: Mapping[str, Any]) -> Markup | None:
    flags = [mapping(flag) for flag in listed(record.get("flags"))[:20]]
    if not flags:
        return None
    rows = [
        element("li", element("b", text(flag.get("kind"), 30)), " ", text(flag.get("text"), 400))
        for flag in flags
    ]
    return element("ul", *rows, class_="caveats")


def _way_out(record: Mapping[str, Any]) -> Markup | None:
    error = mapping(record.get("error"))
    items = [(key, text(error.get(key), 600)) for key in ("kind", "received", "expected", "hint")]
    known = [(key, value) for key, value in items if value]
    return pairs(known) if known else None


def _set_up(entry: Entry) -> list[tuple[str, str]]:
    record = entry.record
    items = [
        ("model", _dotted(text(dig(record, "bundle", "name")), _short(record))),
        ("variant", text(record.get("variant"))),
        ("engine", _engine(record)),
        ("computes in", text(record.get("compute"))),
        ("set up", _threads(record)),
        ("scenario", _scenario(record)),
        ("result", _result(record)),
        ("frames", _source(record)),
        ("queries", _queries(record)),
        ("load", quantity(number(record.get("load_ms")), "ms")),
        ("first inference", quantity(number(record.get("first_inference_ms")), "ms")),
        *_camera(record),
        ("energy", _energy(record)),
        ("options", flat(record.get("options"))),
        ("begun", text(record.get("started_at"), 40)),
        ("instance", text(dig(record, "instance", "instance_id"), 20)),
    ]
    return [(name, value) for name, value in items if value not in ("", NONE)]


def _camera(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What cameras lost, over all of them and of each: ages are the run's latencies."""
    camera = mapping(record.get("camera"))
    count, fps = number(camera.get("cameras")), number(camera.get("fps"))
    if count is None or fps is None:
        return []
    each = [mapping(one) for one in listed(camera.get("per_camera"))[:_CAMERAS]]
    rows = [("cameras", _dotted(f"{text(count)} of {text(fps)} frames/s", _seen(camera)))]
    numbered = [(f"camera {n}", _seen(one)) for n, one in enumerate(each, 1)]
    return rows + (numbered if len(each) > 1 else [])


def _seen(camera: Mapping[str, Any]) -> str:
    results, dropped = number(camera.get("results")), number(camera.get("dropped"))
    rate, unread = number(camera.get("drop_rate")), number(camera.get("unread"))
    ages = mapping(camera.get("age_ms"))
    known = [(name, number(ages.get(name))) for name in ("p50", "p90", "p99", "max")]
    told = ", ".join(f"{name} {digits(value)}" for name, value in known if value is not None)
    late = f", {counted(int(unread), 'frame')} of them not even read" if unread else ""
    return _dotted(
        counted(int(results), "result") if results is not None else "",
        f"{counted(int(dropped), 'frame')} dropped{f' ({percent(rate)})' if rate else ''}{late}"
        if dropped is not None
        else "",
        f"age {told} ms" if told else "",
    )


def _dotted(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _short(record: Mapping[str, Any]) -> str:
    identity = text(dig(record, "bundle", "identity"), 80)
    return f"sha256 {identity[:12]}" if identity else ""


def _engine(record: Mapping[str, Any]) -> str:
    engine = mapping(record.get("engine"))
    library = " ".join(text(engine.get(key), 60) for key in ("library", "version"))
    device = text(engine.get("device"), 60)
    return _dotted(text(record.get("backend")), library.strip(), f"on {device}" if device else "")


def _threads(record: Mapping[str, Any]) -> str:
    threads = mapping(record.get("threads"))
    hint, flying = text(record.get("hint")), number(record.get("in_flight"))
    return _dotted(
        ", ".join(f"{text(k, 20)} threads: {text(threads[k])}" for k in list(threads)[:6]),
        f"hint {hint}" if hint else "",
        f"{text(flying)} in flight" if flying else "",
    )


def _scenario(record: Mapping[str, Any]) -> str:
    return _dotted(text(record.get("scenario")), flat(record.get("scenario_options"), 200))


def _result(record: Mapping[str, Any]) -> str:
    """The scenario's own figure, with how sure it is."""
    result = mapping(record.get("result"))
    value, estimate = number(result.get("value")), number(result.get("estimate_ms"))
    if value is None:
        return ""
    metric = text(result.get("metric"), 40)
    shown = quantity(value, "ms") if metric.endswith("_ms") else digits(value)
    return _dotted(
        f"{metric.removesuffix('_ms').replace('_', ' ')} {shown}",
        f"early-stopping estimate {quantity(estimate, 'ms')}" if estimate is not None else "",
    )


def _source(record: Mapping[str, Any]) -> str:
    source = mapping(record.get("source"))
    size = "×".join(text(source[key]) for key in ("width", "height") if source.get(key))
    passes = number(source.get("passes")) or 1
    problems = len(listed(source.get("problems")))
    return _dotted(
        text(source.get("uri"), 200),
        size,
        f"opened {passes:.0f} times" if passes > 1 else "",
        f"{problems} problems" if problems else "",
    )


def _queries(record: Mapping[str, Any]) -> str:
    queries, seconds = number(record.get("queries")), number(record.get("duration_s"))
    warm = number(record.get("warmup_queries"))
    if queries is None or not (queries or seconds):  # nothing was begun
        return ""
    return _dotted(
        f"{queries:,.0f}" + (f" in {quantity(seconds, 's')}" if seconds is not None else ""),
        f"after {warm:,.0f} of warm-up" if warm is not None else "",
    )


def _energy(record: Mapping[str, Any]) -> str:
    energy = mapping(record.get("energy"))
    joules = number(energy.get("joules_per_frame"))
    if joules is not None:
        watts = quantity(number(energy.get("mean_watts")), "W")
        return _dotted(f"{quantity(joules, 'J')} a frame", watts, text(energy.get("source"), 200))
    why = text(energy.get("reason"), 300)
    return f"not known: {why}" if why else ""


def _sensors(record: Mapping[str, Any]) -> Markup | None:
    """What could not be read, and what reading cost."""
    if not mapping(record.get("timeline")):
        words = "Temperature, clock, load and power were not sampled in this run."
        return element("p", words, class_="none")
    cost = number(dig(record, "timeline", "sampler", "cpu_percent"))
    parts = [
        "" if mapping(dig(record, "timeline", "series")) else "No sensor could be read.",
        f"The sampler itself took {quantity(cost, '%')} of a core." if cost is not None else "",
    ]
    said = " ".join(part for part in parts if part)
    return joined([element("p", said, class_="none") if said else None, _not_read(record)])


def _not_read(record: Mapping[str, Any]) -> Markup | None:
    """Reasons, with the sensors that they are about."""
    silent = unread(record)
    if not silent:
        return None
    head = f"Not read: {counted(sum(map(len, silent.values())), 'sensor')}, and why"
    rows = [(", ".join(names), why or "no reason is given") for why, names in silent.items()]
    return element("details", element("summary", head), pairs(rows), class_="none")
