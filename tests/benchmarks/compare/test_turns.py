"""Two models that take turns: who goes when, what is kept, and what `bench --vs` writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgevision.backends.fake import FakeSlot
from edgevision.benchmarks.compare.interleaved import LEAST_PAIRS
from edgevision.benchmarks.compare.lane import Lane
from edgevision.benchmarks.compare.turns import take_turns
from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import Measurement
from edgevision.benchmarks.schema import schema_text
from edgevision.cli import main
from edgevision.errors import BackendError, DataError
from edgevision.frame import Frame, Image
from edgevision.model import Model
from edgevision.sources.synthetic import SyntheticSource

OpenFake = Callable[..., Model]
NOISE = "synthetic://noise?size=8x8"
SHORT = Plan(duration_s=0, min_queries=70, warmup=3)


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The models' speed as the warm-up tells it, ms; blocks are as long as it says, however busy this machine is."""

    def set_it(ms: float) -> None:
        monkeypatch.setattr(Lane, "query_ns", property(lambda _: ms * 1e6))

    set_it(10)
    return set_it


def watched(order: list[str], name: str) -> Callable[..., Mapping[str, Any]]:
    """Outputs for the fake engine, which note who ran."""

    def outputs(inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        order.append(name)
        return {"scores": np.zeros((1, 192), np.float32)}

    return outputs


def run(
    open_fake: OpenFake, pictures: list[Image], plan: Plan = SHORT, **options: Any
) -> tuple[list[Measurement], Any, list[str]]:
    order: list[str] = []
    models = [open_fake(outputs=watched(order, name), **options) for name in "AB"]
    frames = lambda: MemorySource(pictures)  # noqa: E731
    sign = SimpleNamespace(number=0)
    measured, turns = take_turns(models, [frames, frames], plan, sign, seed=7)
    return measured, turns, order


def test_each_pair_is_a_block_of_both_in_the_recorded_order(
    open_fake: OpenFake, pictures: list[Image]
) -> None:
    """10 ms a query make blocks of five, and one before them that does not count."""
    measured, turns, order = run(open_fake, pictures)
    in_warm_up = 2 * (1 + SHORT.warmup)
    length = turns.lead_in + turns.block_queries
    assert (turns.block_queries, turns.lead_in) == (5, 1)
    expected = "".join(
        name * length for first in turns.first for name in (first, "BA"["AB".index(first)])
    )
    assert "".join(order[in_warm_up:]) == expected
    assert len(turns.first) == LEAST_PAIRS
    assert set(turns.first) == {"A", "B"}
    for one in measured:
        assert one.invalid_reason is None
        assert len(one.total_ns) == LEAST_PAIRS * turns.block_queries >= SHORT.min_queries
        assert len(one.warmup_ns) == SHORT.warmup
        assert (one.stages_ns.sum(axis=1) == one.total_ns).all()


def test_slow_queries_are_blocks_of_their_own(
    open_fake: OpenFake, pictures: list[Image], pace: Callable[[float], None]
) -> None:
    pace(60)
    plan = Plan(duration_s=0, min_queries=1, warmup=2)
    measured, turns, _ = run(open_fake, pictures, plan)
    assert (turns.block_queries, turns.lead_in) == (1, 0)
    assert measured[0].invalid_reason is not None
    assert "needs 64 queries" in measured[0].invalid_reason


def test_both_see_the_same_frames_over_the_end_of_the_source(open_fake: OpenFake) -> None:
    seen: dict[str, list[float]] = {"A": [], "B": []}

    def keep(name: str) -> Callable[..., Mapping[str, Any]]:
        def outputs(inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
            seen[name].append(float(inputs["image"].mean()))
            return {"scores": np.zeros((1, 192), np.float32)}

        return outputs

    models = [open_fake(outputs=keep(name)) for name in "AB"]
    short = lambda: SyntheticSource(f"{NOISE}&frames=7")  # noqa: E731
    sign = SimpleNamespace(number=0)
    measured, _ = take_turns(models, [short, short], SHORT, sign)
    assert seen["A"] == seen["B"]
    assert len(set(seen["A"])) == 7
    assert measured[0].passes == measured[1].passes == -(-(len(seen["A"]) - 1) // 7)


def test_engine_alone_takes_turns_too(open_fake: OpenFake, pictures: list[Image]) -> None:
    plan = Plan(duration_s=0, min_queries=70, warmup=3, inference_only=True)
    measured, turns, order = run(open_fake, pictures, plan)
    assert len(measured[0].total_ns) == LEAST_PAIRS * turns.block_queries
    assert order.count("A") == order.count("B")


def test_signal_drops_the_pair_in_hand(open_fake: OpenFake, pictures: list[Image]) -> None:
    sign, runs = SimpleNamespace(number=0), []

    def stop_at_150(inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
        runs.append(1)
        sign.number = 2 if len(runs) >= 150 else 0
        return {"scores": np.zeros((1, 192), np.float32)}

    models = [open_fake(outputs=stop_at_150) for _ in "AB"]
    frames = lambda: MemorySource(pictures)  # noqa: E731
    measured, turns = take_turns(models, [frames, frames], SHORT, sign)
    assert len(measured[0].total_ns) == len(measured[1].total_ns)
    assert len(measured[0].total_ns) == len(turns.first) * turns.block_queries
    for one in measured:
        assert one.invalid_reason == (
            f"interrupted by signal 2 after {len(turns.first)} pairs of blocks"
        )


def test_signal_in_the_warm_up_leaves_nothing(open_fake: OpenFake, pictures: list[Image]) -> None:
    frames = lambda: MemorySource(pictures)  # noqa: E731
    measured, turns = take_turns(
        [open_fake(), open_fake()], [frames, frames], SHORT, SimpleNamespace(number=15)
    )
    assert turns.first == ""
    assert [len(one.total_ns) for one in measured] == [0, 0]
    assert measured[0].invalid_reason == "interrupted by signal 15 after 0 pairs of blocks"


def test_a_failing_engine_makes_both_invalid(open_fake: OpenFake, pictures: list[Image]) -> None:
    models = [open_fake(), open_fake(fail_at=100)]
    frames = lambda: MemorySource(pictures)  # noqa: E731
    measured, _ = take_turns(models, [frames, frames], SHORT, SimpleNamespace(number=0))
    assert all("the fake engine failed at run 100" in str(m.invalid_reason) for m in measured)


def test_failure_in_the_warm_up_is_the_callers(open_fake: OpenFake, pictures: list[Image]) -> None:
    models = [open_fake(), open_fake(fail_at=2)]
    frames = lambda: MemorySource(pictures)  # noqa: E731
    with pytest.raises(BackendError, match="failed at run 2"):
        take_turns(models, [frames, frames], SHORT, SimpleNamespace(number=0))


class Waning(MemorySource):
    """Gives so many frames each time that it is opened; the numbers are used up one by one."""

    def __init__(self, pictures: list[Image], left: list[int]) -> None:
        super().__init__(pictures)
        self._left = left.pop(0) if left else 0

    def read(self, into: Frame) -> bool:
        self._left -= 1
        return self._left >= 0 and super().read(into)


def test_empty_source_is_said(open_fake: OpenFake, pictures: list[Image]) -> None:
    models = [open_fake(), open_fake()]
    frames = lambda: Waning(pictures, [])  # noqa: E731
    with pytest.raises(DataError, match="the source gave no frame"):
        take_turns(models, [frames, frames], SHORT, SimpleNamespace(number=0))


def test_source_that_is_empty_the_next_time_makes_both_invalid(
    open_fake: OpenFake, pictures: list[Image]
) -> None:
    models = [open_fake(), open_fake()]
    left = [1, 60]
    frames = [lambda: MemorySource(pictures), lambda: Waning(pictures, left)]
    measured, _ = take_turns(models, frames, SHORT, SimpleNamespace(number=0))
    for one in measured:
        assert "no frame when it was opened again" in str(one.invalid_reason)
        assert 0 < len(one.total_ns) < 60


def bench(*arguments: str | Path) -> int:
    """Exit status of ``edgevision bench …``."""
    with pytest.raises(SystemExit) as caught:
        main(["bench", *map(str, arguments)])
    return int(caught.value.code or 0)


def test_vs_writes_two_records_and_what_they_say(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "deep" / "vs"
    arguments = [model_file, NOISE, "--vs", model_file, "--duration", "0", "--report", folder]
    assert bench(*arguments, "--min-queries", "2000", "--max-regression", "p50=900%") == 0
    shown = capsys.readouterr().out
    assert re.search(r"blocks of \d+ queries took turns, \d+ pairs", shown)
    assert "p50 at most 900 % worse: PASSED" in shown
    base, new = (json.loads((folder / f"{name}.json").read_text()) for name in ("base", "new"))
    for record in (base, new):
        jsonschema.validate(record, json.loads(schema_text()))
        assert record["valid"]
        assert record["floor"].keys() >= {"floor_ms", "measured_over_floor"}
    turns = base["interleaved"]
    assert turns["run"] == new["interleaved"]["run"]
    assert (turns["side"], new["interleaved"]["side"]) == ("A", "B")
    assert base["queries"] == len(turns["first"]) * turns["block_queries"]
    assert base["energy"]["joules"] is None
    data = json.loads((folder / "compare.json").read_text())
    assert data["comparisons"][0]["method"] == "interleaved"
    assert (folder / "compare.md").read_text().startswith("### Benchmark: new against base")
    with pytest.raises(SystemExit) as caught:
        main(["compare", str(folder / "base.json"), str(folder / "new.json"), "--json"])
    again = json.loads(capsys.readouterr().out)
    assert caught.value.code == 0
    assert again["comparisons"][0]["metrics"] == data["comparisons"][0]["metrics"]
    assert bench(*arguments) == 1  # nothing is overwritten
    assert "--force" in capsys.readouterr().err


def test_other_backend_is_compared_without_a_flag_and_the_fake_is_no_measurement(
    model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [model_file, NOISE, "--vs-backend", "fake", "--duration", "0", "--json"]
    assert bench(*arguments, "--min-queries", "70") == 3
    data = json.loads(capsys.readouterr().out)
    (one,) = data["comparisons"]
    assert {d["key"]: d["new"] for d in one["differences"]}["backend"] == "fake"
    assert "new: INVALID: the backend 'fake' computes nothing" in one["notes"]


@pytest.mark.parametrize(
    "wrong",
    [["--max-regression", "p50=5%"], ["--vs", "x", "--backend", "ort,openvino"],
     ["--vs", "x", "--scenario", "single-stream,offline"], ["--vs", "x", "--scenario", "offline"],
     ["--vs", "x", "--max-regression", "p50"], ["--vs", "x", "--max-regression", ""],
     ["--vs", "x", "--report", "y", "--resume"]],
)  # fmt: skip
def test_senseless_combination_is_a_usage_error(wrong: list[str], model_file: Path) -> None:
    assert bench(model_file, NOISE, *wrong) == 2


def test_speed_is_learned_in_the_warm_up(
    open_fake: OpenFake, pictures: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with Lane(open_fake(delay_s=0.004), lambda: MemorySource(pictures), SHORT) as lane:
        lane.warm_up(SimpleNamespace(number=0))
        assert lane.query_ns >= 4e6  # it sleeps so long; how much longer is the machine's affair


def test_signal_ends_both(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    wait, waits = FakeSlot.wait, []

    def wait_and_signal(self: FakeSlot, timeout_s: float | None = None) -> object:
        waits.append(1)
        if len(waits) == 3000:
            signal.raise_signal(signal.SIGINT)
        return wait(self, timeout_s)

    monkeypatch.setattr(FakeSlot, "wait", wait_and_signal)
    arguments = [model_file, NOISE, "--backend", "fake", "--vs", model_file]
    assert bench(*arguments, "--duration", "60") == 130
    assert "INVALID: interrupted by signal 2" in capsys.readouterr().out
