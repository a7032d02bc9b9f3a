"""Which layers go back to float."""

from __future__ import annotations

from types import ModuleType

import pytest

from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import parts_of, quantize_calibrated
from edgevision.converters.int8.harm import Harm
from edgevision.converters.int8.put_back import float_sets, int8_layers
from edgevision.converters.int8.work import int8_share, multiply_adds


def test_the_tensor_with_one_huge_channel_harms_most_and_its_two_layers_go_first(
    kit: ModuleType,
) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    harm = kit.six_layers_harm(model, measured)
    assert set(harm.weights) == {f"node_c{i}" for i in range(kit.SIX)}
    worst, second = sorted(harm.tensors, key=lambda name: -harm.tensors[name])[:2]
    assert worst == "r1"
    assert harm.tensors[worst] > 5 * harm.tensors[second]
    # The tensor is exact only where the layer before it and the one behind it are float.
    assert float_sets(model, measured, harm, (1, 2)) == [("node_c1", "node_c2")]


def test_sets_of_float_layers_grow_by_what_repairs_most_for_its_work(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    tensors = dict.fromkeys(
        parts_of(model, measured, ranges="minmax", rounding=False).quantizers, 0.0
    )
    weights = {f"node_c{i}": float(i) for i in range(kit.SIX)}
    sets = float_sets(model, measured, Harm(weights, tensors), (1, 2, 3, 4))
    assert sets == [("node_c5",), ("node_c4", "node_c5"), ("node_c3", "node_c4", "node_c5")]


def test_multiply_adds_by_hand(kit: ModuleType) -> None:
    model = kit.six_layers()
    work = multiply_adds(
        model, int8_layers(model, calibrate(model, kit.six_layers_frames, scheme="x86"))
    )
    assert work == {f"node_c{i}": 8 * 8 * 9 * 12 * 12 for i in range(kit.SIX)}
    assert int8_share(work, ["node_c0", "node_c3"]) == pytest.approx(4 / 6)


def test_a_float_layer_reads_what_a_float_layer_makes_without_its_integers(kit: ModuleType) -> None:
    model = kit.six_layers()
    measured = calibrate(model, kit.six_layers_frames, scheme="x86")
    made = quantize_calibrated(
        model, measured, ranges="minmax", rounding=False, exclude=["node_c1", "node_c2"]
    ).model
    makers = {name: node for node in made.graph.node for name in node.output}
    reader = next(node for node in made.graph.node if node.name == "node_c2")
    behind = makers[reader.input[0]]
    assert behind.op_type != "DequantizeLinear"
