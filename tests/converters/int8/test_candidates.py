"""Which recipe is taken, and which layers go back to float."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import run_once
from edgevision.converters.int8 import candidates
from edgevision.converters.int8.candidates import CANDIDATES, Candidate, best_candidate
from edgevision.converters.int8.from_onnx import (
    Calibration,
    Quantized,
    calibrate,
    parts_of,
    quantize_calibrated,
)
from edgevision.converters.int8.sensitivity import (
    Harm,
    float_sets,
    int8_layers,
    int8_share,
    measure_harm,
    multiply_adds,
)

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
    found: list[float], target: float, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "_PLAIN_FIRST", 99)  # nothing but recipes
    scores = iter([*found, *[0.0] * 10])
    best, trials = best_candidate(
        network(),
        frames,
        lambda _: next(scores),
        scheme="x86",
        target=target,
        margin=0.01,
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

    best_candidate(model, frames, score, scheme="x86", target=1.0, margin=0.01)
    assert set(noise) > {candidate.name for candidate in CANDIDATES}
    assert max(noise.values()) < 0.2


def test_layers_go_back_to_float_as_few_as_are_enough() -> None:
    asked: list[set[str]] = []

    def score(made: Quantized) -> float:
        asked.append(floats(made))
        return 0.9 + 0.03 * len(asked[-1])

    best, trials = best_candidate(
        network(), frames, score, scheme="x86", target=0.94, margin=0.01, candidates=CANDIDATES[:1]
    )
    assert [len(names) for names in asked] == [0, 2]
    assert floats(best) == asked[1]
    assert trials[1].candidate.name == "mean+rounding, 2 layers in float"
    assert trials[1].size_bytes > trials[0].size_bytes > 0
    assert (trials[0].int8_share, trials[1].int8_share) == (1.0, pytest.approx(4 / 6))


def test_no_more_than_half_of_the_layers_go_back() -> None:
    _, trials = best_candidate(
        network(),
        frames,
        lambda _: 0.0,
        scheme="x86",
        target=1.0,
        margin=0.01,
        candidates=CANDIDATES[:1],
    )
    assert max(len(t.candidate.floats) for t in trials) <= LAYERS / 2
    assert len(trials) > 1


def harm_of(model: onnx.ModelProto, measured: Calibration, count: int = 3) -> Harm:
    feeds = [{"x": np.array(feed["x"])} for feed in frames(count)]
    return measure_harm(model, measured, feeds, ranges="minmax", rounding=False)


def test_the_tensor_with_one_huge_channel_harms_most_and_its_two_layers_go_first() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    harm = harm_of(model, measured)
    assert set(harm.weights) == {f"node_c{i}" for i in range(LAYERS)}
    worst, second = sorted(harm.tensors, key=lambda name: -harm.tensors[name])[:2]
    assert worst == "r1"
    assert harm.tensors[worst] > 5 * harm.tensors[second]
    # The tensor is exact only where the layer before it and the one behind it are float.
    assert float_sets(model, measured, harm, (1, 2)) == [("node_c1", "node_c2")]


def test_the_noise_of_all_is_about_the_sum_of_what_each_makes_alone() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    harm = harm_of(model, measured, 6)
    alone = sum(harm.weights.values()) + sum(harm.tensors.values())
    quantized = quantize_calibrated(model, measured, ranges="minmax", rounding=False).model
    noise = []
    for feed in frames():
        exact, rounded = run_once(model, feed)["y"], run_once(quantized, feed)["y"]
        noise.append(np.square(rounded - exact).sum() / np.square(exact).sum())
    assert 0.5 < np.mean(noise) / alone < 2


def test_sets_of_float_layers_grow_by_what_repairs_most_for_its_work() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    tensors = dict.fromkeys(
        parts_of(model, measured, ranges="minmax", rounding=False).quantizers, 0.0
    )
    weights = {f"node_c{i}": float(i) for i in range(LAYERS)}
    sets = float_sets(model, measured, Harm(weights, tensors), (1, 2, 3, 4))
    assert sets == [("node_c5",), ("node_c4", "node_c5"), ("node_c3", "node_c4", "node_c5")]


def test_multiply_adds_by_hand() -> None:
    model = network()
    work = multiply_adds(model, int8_layers(model, calibrate(model, frames, scheme="x86")))
    assert work == {f"node_c{i}": 8 * 8 * 9 * 12 * 12 for i in range(LAYERS)}
    assert int8_share(work, ["node_c0", "node_c3"]) == pytest.approx(4 / 6)


def test_harm_comes_out_the_same_each_time() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    assert harm_of(model, measured) == harm_of(model, measured)


def test_a_float_layer_reads_what_a_float_layer_makes_without_its_integers() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    made = quantize_calibrated(
        model, measured, ranges="minmax", rounding=False, exclude=["node_c1", "node_c2"]
    ).model
    makers = {name: node for node in made.graph.node for name in node.output}
    reader = next(node for node in made.graph.node if node.name == "node_c2")
    behind = makers[reader.input[0]]
    assert behind.op_type != "DequantizeLinear"


def test_the_picture_keeps_its_whole_range_whatever_the_method() -> None:
    model = network()
    measured = calibrate(model, frames, scheme="x86")
    quantizers = [
        parts_of(model, measured, ranges=method, rounding=False).quantizers["x"]
        for method in ("minmax", "mean")
    ]
    assert quantizers[0] == quantizers[1]


def test_what_helps_stays_for_the_recipes_behind_it() -> None:
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
        return 0.5 + 0.2 * ("node_c5" in seen[-1].floats) - 0.1 * seen[-1].equalized

    best_candidate(
        network(), frames, score, scheme="x86", target=1.0, margin=0.01, candidates=CANDIDATES[:4]
    )
    assert seen[:6] == [
        Candidate("mean", True),
        Candidate("minmax", True),
        Candidate("mean", True, ("node_c5",)),
        Candidate("mean", True, ("node_c5",), equalized=True),
        Candidate("mse", True, ("node_c5",)),
        Candidate("p99.999", True, ("node_c5",)),
    ]
    assert all("node_c5" in tried.floats and not tried.equalized for tried in seen[4:])


def test_equalized_channels_stay_where_they_help() -> None:
    seen: list[bool] = []

    def score(made: Quantized) -> float:
        seen.append(made.report["equalized"])
        return 0.5 + 0.2 * seen[-1]

    best, trials = best_candidate(
        network(), frames, score, scheme="x86", target=1.0, margin=0.01, candidates=CANDIDATES[:3]
    )
    assert seen[:4] == [False, False, False, True]
    assert all(seen[3:])
    assert best.report["equalized"]
    assert "equalized" in trials[-1].candidate.name
