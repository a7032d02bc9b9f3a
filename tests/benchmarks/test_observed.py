"""What the sampler saw of a whole benchmark, in its record."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

from edgevision.benchmarks import run
from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.record import json_text
from edgevision.benchmarks.report.text import report_text
from edgevision.benchmarks.sampling.sampler import Sampler
from edgevision.benchmarks.schema import schema_text
from edgevision.model import Model


@pytest.fixture
def samplers(monkeypatch: pytest.MonkeyPatch) -> list[Sampler]:
    """Every sampler that a run starts."""
    made: list[Sampler] = []

    class Noted(Sampler):
        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            made.append(self)

    monkeypatch.setattr(run, "Sampler", Noted)
    return made


def lost(data: dict[str, Any]) -> str:
    """The text of the flag that the sampler was lost; there is one."""
    (text,) = [flag["text"] for flag in data["flags"] if flag["kind"] == "sampler-lost"]
    return str(text)


def test_record_holds_what_was_sampled(
    open_fake: Callable[..., Model], pictures: list[Any], sign: SimpleNamespace
) -> None:
    plan = Plan(duration_s=0.3, min_queries=64, warmup=3)
    record = run.measure(open_fake(), lambda: MemorySource(pictures), plan, sign)
    data = json.loads(json_text(record))
    timeline = data["timeline"]
    assert timeline["t_s"][0] < 0 < timeline["counted_s"] <= timeline["t_s"][-1]
    # The first counted query begins at 0, and the last one ends where the window does.
    ends = [begin + took for begin, took in zip(data["begins_ns"], data["samples_ns"], strict=True)]
    assert timeline["counted_s"] == pytest.approx(max(ends) / 1e9, abs=1e-5)
    assert timeline["counted_s"] >= 0.3
    assert data["energy"]["joules"] is None or data["energy"]["joules_per_frame"] > 0
    assert not [flag for flag in data["flags"] if flag["kind"].startswith("sampler")]
    jsonschema.validate(data, json.loads(schema_text()))
    text = report_text(record)
    assert "processor        mean " in text
    assert "RSS at most " in text
    assert "energy           " in text


def test_killed_sampler_leaves_a_valid_record_with_a_flag(
    open_fake: Callable[..., Model],
    pictures: list[Any],
    sign: SimpleNamespace,
    samplers: list[Sampler],
) -> None:
    killed = []

    def kill(part: float) -> None:
        if samplers[0].pid not in killed:
            killed.append(samplers[0].pid)
            os.kill(samplers[0].pid or 0, signal.SIGKILL)

    plan = Plan(duration_s=0.2, min_queries=64, warmup=3)
    model = open_fake(delay_s=0.001)
    record = run.measure(model, lambda: MemorySource(pictures), plan, sign, tell=kill)
    assert killed
    assert record.queries >= 64
    assert record.invalid_reason == "the backend 'fake' computes nothing"  # and nothing else
    data = json.loads(json_text(record))
    assert lost(data).startswith("the sampler was lost: killed by SIGKILL")
    jsonschema.validate(data, json.loads(schema_text()))
    assert "sampler was lost" in report_text(record)


def test_run_without_a_sampler_is_a_run(
    open_fake: Callable[..., Model],
    pictures: list[Any],
    sign: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    plan = Plan(duration_s=0, min_queries=64, warmup=3)
    record = run.measure(open_fake(), lambda: MemorySource(pictures), plan, sign)
    data = json.loads(json_text(record))
    assert data["queries"] == 64
    assert data["timeline"] is None
    assert data["energy"] == {"joules": None, "reason": "nothing was sampled"}
    jsonschema.validate(data, json.loads(schema_text()))
    assert "could not be started" in lost(data)
    assert "nothing was sampled" in report_text(record)
