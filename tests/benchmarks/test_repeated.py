"""Several runs of one configuration: which of a history belong together, and which one speaks for them."""

from __future__ import annotations

from typing import Any

import pytest

from edgevision.benchmarks.matrix.runs import rounds
from edgevision.benchmarks.repeated import latest_runs, middle, told_of_runs


def run(number: int | None, value: float | None = 1.0, **more: Any) -> dict[str, Any]:
    repetition = None if number is None else {"number": number, "of": 5}
    result = {"metric": "p90_ms", "value": value}
    told = {"valid": True, "status": "ok", "request_id": "a", "result": result}
    return told | {"repetition": repetition} | more


def test_latest_runs_reach_back_to_the_first_of_the_last_call() -> None:
    old = [run(1, 9), run(2, 9)]
    new = [run(1, 3), run(2, 4), run(3, 5)]
    assert latest_runs([*old, *new]) == new
    assert latest_runs([*new, run(None)]) == [run(None)]
    assert latest_runs([run(None, 7), run(None, 8)]) == [run(None, 8)]


def test_a_run_that_was_made_again_counts_as_it_came_out_last() -> None:
    interrupted = run(2, None, valid=False, status="interrupted")
    assert latest_runs([run(1), interrupted, run(2, 6.0), run(3)]) == [run(1), run(2, 6.0), run(3)]


def test_what_was_asked_otherwise_does_not_belong_to_them() -> None:
    other = run(1, 9, request_id="b")
    assert latest_runs([run(1), other, run(2)]) == [run(1), run(2)]


def test_a_run_that_was_there_alone_is_the_first_of_them() -> None:
    """``--runs 3 --resume`` after a call without ``--runs``."""
    assert latest_runs([run(None, 5), run(2), run(3)]) == [run(None, 5), run(2), run(3)]


@pytest.mark.parametrize(
    ("values", "shown"), [([3, 1, 2], 2), ([4, 1, 2, 3], 2), ([7, 7], 7), ([5.0], 5)]
)
def test_middle_is_the_lower_median_of_the_result(values: list[float], shown: float) -> None:
    runs = [run(number, value) for number, value in enumerate(values, 1)]
    assert middle(runs)["result"]["value"] == shown
    assert middle(runs)["runs"]["low"] == min(values)
    assert middle(runs)["runs"]["high"] == max(values)


def test_spread_is_in_percent_of_the_one_in_the_middle() -> None:
    found = middle([run(1, 9.0), run(2, 10.0), run(3, 12.0)])
    assert found["runs"]["spread_percent"] == pytest.approx(30)
    assert told_of_runs(found) == [
        "shown is the one of 3 runs whose p90 is in the middle; theirs are 9.00 to 12.00 ms, a spread of 30.0 %"
    ]


def test_a_rate_is_no_latency() -> None:
    told = told_of_runs(
        middle([run(n, n, result={"metric": "qps", "value": 10 * n}) for n in (1, 2)])
    )
    assert told[0].endswith(
        "whose rate is in the middle; theirs are 10.00 to 20.00 queries/s, a spread of 100.0 %"
    )


def test_a_run_alone_is_as_it_was() -> None:
    alone = run(None)
    assert middle([alone]) is alone
    assert told_of_runs(alone) == []


def test_those_that_are_not_valid_are_told_and_not_shown() -> None:
    crashed = run(3, None, valid=False, status="crashed", error={"problem": "SIGSEGV"})
    short = run(2, None, valid=False, invalid_reason="too few queries")
    found = middle([run(1, 4.0), short, crashed])
    assert found["result"]["value"] == 4.0
    assert told_of_runs(found) == [
        "shown is the only one of 3 runs that is VALID",
        "run 2 of 5 INVALID: too few queries",
        "run 3 of 5 CRASHED: SIGSEGV",
    ]
    nothing = middle([short, crashed])
    assert nothing["status"] == "crashed"
    assert nothing["runs"]["spread_percent"] is None
    assert len(told_of_runs(nothing)) == 2


@pytest.mark.parametrize(
    ("runs", "order"),
    [(1, ["1a", "1b"]), (2, ["1a", "1b", "2b", "2a"]), (3, ["1a", "1b", "2b", "2a", "3a", "3b"])],
)
def test_rounds_go_there_and_back(runs: int, order: list[str]) -> None:
    instances: list[Any] = ["a", "b"]
    assert [f"{number}{one}" for number, one in rounds(instances, runs)] == order
