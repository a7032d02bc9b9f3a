"""Which recipe is taken, and what goes back to float."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from edgevision.converters.graph.execute import run_once
from edgevision.converters.int8 import candidates
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.candidates import CANDIDATES, Candidate, best_candidate
from edgevision.converters.int8.from_onnx import Quantized, parts_of


def floats(quantized: Quantized) -> set[str]:
    return {name for name, why in quantized.report["float"].items() if "put back" in why}


def test_the_first_recipe_with_margin_is_taken_and_the_rest_is_not_tried(kit: ModuleType) -> None:
    scores = iter([0.95, 0.97])
    best, trials = best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        lambda _: next(scores),
        scheme="x86",
        target=0.95,
        margin=0.01,
    )
    assert [t.candidate for t in trials] == list(CANDIDATES[:2])
    assert [t.score for t in trials] == [0.95, 0.97]
    assert (best.report["ranges"], best.report["rounding"]) == ("minmax", True)


@pytest.mark.parametrize(
    ("found", "target", "chosen"),
    [
        ([0.951, 0.955, 0.90], 0.99, 0),  # a draw: the better guess
        ([0.94, 0.94, 0.951], 0.99, 2),
        ([0.949, 0.951, 0.90], 0.95, 1),  # a draw is no reason to miss what was asked
        ([0.957, 0.961, 0.99], 0.95, 1),  # nor to ship without the margin
    ],
)
def test_of_recipes_that_score_alike_the_earlier_is_taken(
    kit: ModuleType, found: list[float], target: float, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_PLAIN_FIRST", 99)  # nothing but recipes
    scores = iter([*found, *[0.0] * 10])
    best, trials = best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        lambda _: next(scores),
        scheme="x86",
        target=target,
        margin=0.01,
        candidates=CANDIDATES[:3],
    )
    assert trials[chosen].candidate == Candidate(best.report["ranges"], best.report["rounding"])


def test_every_recipe_can_be_written_and_computes_what_float_computes(kit: ModuleType) -> None:
    model, feed = kit.six_layers(), next(kit.six_layers_frames())
    expected = run_once(model, feed)["y"]
    noise: dict[str, float] = {}

    def score(made: Quantized) -> float:
        actual = run_once(made.model, feed)["y"]
        name = Candidate(made.report["ranges"], made.report["rounding"], tuple(floats(made))).name
        noise[name] = float(np.square(actual - expected).sum() / np.square(expected).sum())
        return 0.0

    best_candidate(model, kit.six_layers_frames, score, scheme="x86", target=1.0, margin=0.01)
    assert set(noise) > {candidate.name for candidate in CANDIDATES}
    assert max(noise.values()) < 0.2


def test_layers_go_back_to_float_as_few_as_are_enough(kit: ModuleType) -> None:
    asked: list[set[str]] = []

    def score(made: Quantized) -> float:
        asked.append(floats(made))
        return 0.9 + 0.03 * len(asked[-1])

    best, trials = best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        score,
        scheme="x86",
        target=0.94,
        margin=0.01,
        candidates=CANDIDATES[:1],
    )
    assert [len(names) for names in asked] == [0, 2]
    assert floats(best) == asked[1]
    assert trials[1].candidate.name == "mean+rounding, 2 layers in float"
    assert trials[1].size_bytes > trials[0].size_bytes > 0
    assert (trials[0].int8_share, trials[1].int8_share) == (1.0, pytest.approx(4 / 6))


def test_no_more_than_half_of_the_layers_go_back(kit: ModuleType) -> None:
    _, trials = best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        lambda _: 0.0,
        scheme="x86",
        target=1.0,
        margin=0.01,
        candidates=CANDIDATES[:1],
    )
    assert max(len(t.candidate.floats) for t in trials) <= kit.SIX / 2
    assert len(trials) > 1


def test_the_picture_keeps_its_whole_range_whatever_the_method(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    quantizers = [
        parts_of(model, measured, ranges=method, rounding=False).quantizers["x"]
        for method in ("minmax", "mean")
    ]
    assert quantizers[0] == quantizers[1]


def test_what_helps_stays_for_the_recipes_behind_it(kit: ModuleType) -> None:
    """Last layers in float score better, equalized channels do not."""
    seen: list[Candidate] = []

    def score(made: Quantized) -> float:
        seen.append(
            Candidate(
                made.report["ranges"],
                made.report["rounding"],
                tuple(sorted(floats(made))),
                made.report["equalized"],
            )
        )
        return 0.5 + 0.3 * ("node_c5" in seen[-1].floats) - 0.1 * seen[-1].equalized

    best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        score,
        scheme="x86",
        target=1.0,
        margin=0.01,
        candidates=CANDIDATES[:4],
    )
    assert seen[:6] == [
        Candidate("mean", True),
        Candidate("minmax", True),
        Candidate("mean", True, ("node_c5",)),
        Candidate("mean", True, ("node_c5",), equalized=True),
        Candidate("mse", True, ("node_c5",)),
        Candidate("tuned", True, ("node_c5",)),
    ]
    assert all("node_c5" in tried.floats and not tried.equalized for tried in seen[4:])


def test_equalized_channels_stay_where_they_help(kit: ModuleType) -> None:
    seen: list[bool] = []

    def score(made: Quantized) -> float:
        seen.append(made.report["equalized"])
        return 0.5 + 0.2 * seen[-1]

    best, trials = best_candidate(
        kit.six_layers(),
        kit.six_layers_frames,
        score,
        scheme="x86",
        target=1.0,
        margin=0.01,
        candidates=CANDIDATES[:3],
    )
    assert seen[:4] == [False, False, False, True]
    assert all(seen[3:])
    assert best.report["equalized"]
    assert "equalized" in trials[-1].candidate.name
