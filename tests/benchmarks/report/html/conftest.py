"""Records as a file holds them, with every key that the page shows, and a strict reader of the page."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from edgevision.percentiles import summary_ms

Data = dict[str, Any]

VOID = {"meta", "input", "br"}
#: What a paragraph, a caption or an inline element must not hold: a browser would close it before.
BLOCKS = {"div", "p", "ul", "dl", "table", "section", "figure", "details", "h2", "h3", "header"}
ONLY_IN = {"li": {"ul"}, "dt": {"dl"}, "dd": {"dl"}, "tr": {"thead", "tbody"}, "td": {"tr"}}
ONLY_IN |= {"th": {"tr"}, "caption": {"table"}, "figcaption": {"figure"}, "summary": {"details"}}
ONLY_HOLDS = {"ul": {"li"}, "dl": {"dt", "dd"}, "tr": {"th", "td"}, "tbody": {"tr"}}
CLOSED_BY_BLOCKS = {"p", "span", "a", "b", "small", "caption", "button"}


class StrictPage(HTMLParser):
    """Reads a page and refuses what a validator would: nesting, attributes, ids, links.

    Attributes:
        text: All text outside of style and script.
        found: Tag → the attributes of each of them.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.found: dict[str, list[dict[str, str | None]]] = {}
        self._stack: list[str] = []
        assert page.startswith("<!doctype html>\n<html ")
        self.feed(page)
        self.close()
        assert self._stack == []
        ids = [a["id"] for tags in self.found.values() for a in tags if "id" in a]
        assert len(ids) == len(set(ids))
        for link in self.found.get("a", []):
            assert str(link.get("href", "#" + ids[0]))[:1] == "#"
            assert str(link.get("href", "#" + ids[0]))[1:] in ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, names)
        assert not [name for name in names if name.startswith("on") or name in ("style", "src")]
        parent = self._stack[-1] if self._stack else ""
        assert parent in ONLY_IN.get(tag, {parent}), f"{tag} in {parent}"
        assert tag in ONLY_HOLDS.get(parent, {tag}), f"{tag} in {parent}"
        assert not (tag in BLOCKS and CLOSED_BY_BLOCKS & set(self._stack)), (
            f"{tag} in {self._stack}"
        )
        self.found.setdefault(tag, []).append(dict(attrs))
        if tag not in VOID:
            self._stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._stack):
            self.text += data + " "


@pytest.fixture
def read_page() -> Callable[[str], StrictPage]:
    return StrictPage


@pytest.fixture
def make() -> Callable[..., Data]:
    """Makes a record; keywords replace its keys."""

    def make_it(queries: int = 700, seed: int = 0, **keys: Any) -> Data:
        return {**_record(queries, seed), **keys}

    return make_it


def _record(queries: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    samples = (10e6 + rng.lognormal(14, 0.8, queries)).astype(np.int64)
    begins = np.cumsum(samples) - samples
    seconds = float(begins[-1] + samples[-1]) / 1e9
    compute = samples * 9 // 10
    return {
        "schema": 1,
        "started_at": "2026-03-04T05:06:07+00:00",
        "status": "ok",
        "error": None,
        "scenario": "single-stream",
        "valid": True,
        "invalid_reason": None,
        "boundary": {"kind": "end-to-end", "timed": "read to result", "not_timed": "warm-up"},
        "bundle": {"name": "garments", "identity": "ab" * 32},
        "variant": "int8-x86",
        "precision": "int8",
        "backend": "ort",
        "compute": "int8",
        "engine": {"library": "onnxruntime", "version": "1.2.3", "device": "cpu"},
        "hint": "latency",
        "in_flight": 1,
        "threads": {"engine": 2, "opencv": 1},
        "options": {},
        "source": {"uri": "clip.mp4", "width": 768, "height": 576, "passes": 1, "problems": []},
        "queries": queries,
        "warmup_queries": 10,
        "duration_s": seconds,
        "throughput_fps": queries / seconds,
        "latency_ms": summary_ms(samples),
        "stages_ms": {"load": summary_ms(samples - compute), "compute": summary_ms(compute)},
        "load_ms": 123.4,
        "first_inference_ms": 45.6,
        "peak_rss_mb": 159.0,
        "energy": {
            "joules": 100.0,
            "joules_per_frame": 100.0 / queries,
            "mean_watts": 18.5,
            "source": "RAPL",
        },
        "floor": {
            "floor_ms": 4.0,
            "measured_over_floor": 2.5,
            "bound": "compute",
            "precision": "int8",
            "machine": "a machine",
            "flops": 1e9,
            "bytes": 2e7,
            "flops_per_s": 4e11,
            "bytes_per_s": 2e10,
        },
        "accuracy": {
            "metric": "map50_95",
            "value": 0.6395,
            "reference": 0.6425,
            "samples": 2148,
            "verdict": "pass",
        },
        "flags": [],
        "environment": {
            "os": {"name": "An OS", "kernel": "6.1"},
            "cpu": {"name": "A Processor", "cores": 2, "governor": None},
            "memory_mb": 8192,
            "start": {"load_average": [0.1, 0.1, 0.1], "throttled": None},
            "end": {"load_average": [0.9, 0.3, 0.2], "throttled": None},
        },
        "timeline": _timeline(seconds),
        "samples_ns": samples.tolist(),
        "begins_ns": begins.tolist(),
    }


def _timeline(seconds: float) -> Data:
    times = np.linspace(-1, seconds, 60)
    values = {
        "temperature_c.package": ("°C", 50 + times),
        "clock_mhz": ("MHz", np.where(times > 1, 2000.0, 3000.0)),
        "power_w": ("W", np.full(60, 18.0)),
        "cpu_percent": ("%", np.full(60, 80.0)),
        "throttled": ("causes", (times > 1).astype(float)),
    }
    return {
        "interval_s": 0.1,
        "t_s": times.tolist(),
        "series": {
            name: {"unit": unit, "values": found.tolist()} for name, (unit, found) in values.items()
        },
        "missing": {"gpu_percent": "no NVIDIA driver"},
        "sampler": {"cpu_percent": 0.4, "rss_mb": 11.0, "samples": 60},
    }
