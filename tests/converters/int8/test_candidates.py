"""Which recipe is taken, and which layers go back to float."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.int8.candidates import CANDIDATES, Candidate, best_candidate
from edgevision.converters.int8.from_onnx import Quantized, calibrate, int8_layers
from edgevision.converters.int8.sensitivity import multiply_adds, rank_layers

LAYERS = 6


def network() -> onnx.ModelProto:
    """Six convolutions in a row; the third reads values of which one channel is 30 times the others."""
    random = np.random.default_rng(5)
    body = "\n".join(
        f"c{i} = Conv<pads=[1,1,1,1]>({'x' if i == 0 else f'r{i - 1}'}, w{i})\nr{i} = Relu(c{i})"
        for i in range(LAYERS)
    )
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,8,12,12] x) => (float[1,8,12,12] y) {'
        f"{body}\ny = Identity(r{LAYERS - 1}) }}"
    )
    for i in range(LAYERS):
        weights = random.normal(0, 1 / np.sqrt(72), (8, 8, 3, 3)).astype(np.float32)
        if i == 1:
            weights[0] *= 30
        if i == 2:
            weights[:, 0] /= 30
        model.graph.initializer.append(numpy_helper.from_array(weights, f"w{i}"))
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    return clean(model).model


def frames(count: int = 6) -> Iterator[dict[str, np.ndarray]]:
    """One buffer, filled anew for each frame, as the feeds of a conversion are."""
    random = np.random.default_rng(7)
    buffer = np.empty((1, 8, 12, 12), np.float32)
    for _ in range(count):
        buffer[...] = random.normal(size=buffer.shape)
        yield {"x": buffer}


def floats(quantized: Quantized) -> set[str]:
    return {name for name, why in quantized.report["float"].items() if "put back" in why}


def test_the_first_recipe_with_margin_is_taken_and_the_rest_is_not_tried() -> None:
    scores = iter([0.95, 0.97])
    best, trials = best_candidate(
        network(), frames, lambda _: next(scores), scheme="x86", target=0.95, margin=0.01
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
    found: list[float], target: float, chosen: int
) -> None:
    scores = iter([*found, *[0.0] * 10])
    best, trials = best_candidate(
        network(),
        frames,
        lambda _: next(scores),
        scheme="x86",
        target=target,
        candidates=CANDIDATES[:3],
    )
    assert trials[chosen].candidate == Candidate(best.report["ranges"], best.report["rounding"])


def test_every_recipe_can_be_written_and_computes_what_float_computes() -> None:
    model, feed = network(), next(frames())
    expected = run_once(model, feed)["y"]
    noise: dict[str, float] = {}

    def score(made: Quantized) -> float:
        actual = run_once(made.model, feed)["y"]
        name = Candidate(made.report["ranges"], made.report["rounding"], tuple(floats(made))).name
        noise[name] = float(np.square(actual - expected).sum() / np.square(expected).sum())
        return 0.0

    best_candidate(model, frames, score, scheme="x86", target=1.0)
    assert set(noise) > {candidate.name for candidate in CANDIDATES}
    assert max(noise.values()) < 0.2


def test_layers_go_back_to_float_as_few_as_are_enough() -> None:
    asked: list[set[str]] = []

    def score(made: Quantized) -> float:
        asked.append(floats(made))
        return 0.9 + 0.03 * len(asked[-1])

    best, trials = best_candidate(
        network(), frames, score, scheme="x86", target=0.94, candidates=CANDIDATES[:1]
    )
    assert [len(names) for names in asked] == [0, 1, 2]
    assert floats(best) == asked[2]
    assert trials[2].candidate.name == "mean+rounding, 2 layers in float"
    assert trials[2].size_bytes > trials[0].size_bytes > 0


def test_no_more_than_half_of_the_layers_go_back() -> None:
    _, trials = best_candidate(
        network(), frames, lambda _: 0.0, scheme="x86", target=1.0, candidates=CANDIDATES[:1]
    )
    assert [len(t.candidate.floats) for t in trials] == [0, 1, 2]


def test_the_layer_that_reads_one_huge_channel_comes_first() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    feeds = [{"x": np.array(feed["x"])} for feed in frames(3)]
    ranked = rank_layers(model, measured, feeds, ranges="minmax", rounding=False)
    assert {name for name, _ in ranked} == {f"node_c{i}" for i in range(LAYERS)}
    assert ranked[0][0] in ("node_c1", "node_c2")
    assert ranked[0][1] > 5 * ranked[-1][1]


def test_multiply_adds_by_hand() -> None:
    model = network()
    found = multiply_adds(model, int8_layers(model, calibrate(model, frames, scheme="x86")))
    assert found == {f"node_c{i}": 8 * 8 * 9 * 12 * 12 for i in range(LAYERS)}


def test_ranking_comes_out_the_same_each_time() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    feeds = [{"x": np.array(feed["x"])} for feed in frames(2)]
    once, again = (
        rank_layers(model, measured, feeds, ranges="mean", rounding=True) for _ in range(2)
    )
    assert once == again
