"""All frames at once: how many are done in a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.frame import Image
from edgevision.model import Model
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
run = SCENARIOS["offline"].run
SHORT = Plan.of("offline", duration_s=0, min_queries=40, warmup=3)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_result_is_the_samples_a_second(
    alone: bool, hint: str, open_fake: OpenFake, pictures: list[Image], sign: SimpleNamespace
) -> None:
    model = open_fake(hint=hint, threads=2, delay_s=0.0003)
    asked = replace(SHORT, inference_only=alone)
    measured = run(model, lambda: MemorySource(pictures), asked, sign)
    assert measured.invalid_reason is None  # no percentile is quoted, so none needs queries
    assert len(measured.total_ns) == 40
    assert measured.result is not None
    assert measured.result["metric"] == "samples_per_s"
    assert measured.result["value"] == pytest.approx(40 / (measured.ran_ns / 1e9), abs=1e-3)
    assert measured.result["value"] <= 1 / 0.0003
    assert measured.result["estimate_ms"] is None


def test_frames_read_ahead_are_each_run_once_and_in_order(
    open_fake: OpenFake, sign: SimpleNamespace
) -> None:
    model = open_fake()

    def make() -> SyntheticSource:
        return SyntheticSource("synthetic://noise?size=8x8&frames=25")

    measured = run(model, make, replace(SHORT, cooldown=0), sign)
    assert model._session.runs == 1 + 3 + 40
    assert measured.passes == 2
    assert [flag["kind"] for flag in measured.flags] == ["looped"]
