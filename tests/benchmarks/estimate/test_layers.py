"""What is done in one pass, and what it moves; sizes are small enough to be counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgevision.benchmarks.estimate.cost import read_network
from edgevision.benchmarks.estimate.layers import AS_WRITTEN, layers_of
from edgevision.benchmarks.estimate.liveness import peak_bytes

X = (1, 8, 4, 4)  # 128 elements; a 1×1 of 8 to 8 is 64 weights and 128·8 multiply-adds
PLANE = 128
WEIGHTS = 64
TAKES = "float[1,8,4,4] x"
GIVES = "float[1,8,4,4] y"


@pytest.fixture
def layers(saved: Callable[[str], Path]):
    """Layers of a body of ONNX text; ``w``, ``v`` are 1×1 weights, ``s`` and ``z`` are a scale and zero."""

    def make(body, precision=AS_WRITTEN, gives=GIVES):
        text = (
            f"g ({TAKES}) => ({gives}) <float[8,8,1,1] w = {{{_ones(64)}}}, float[8,8,1,1] v = {{{_ones(64)}}},"
            f" int8[8,8,1,1] k = {{{_ones(64)}}}, float s = {{0.1}}, int8 z = {{0}}>"
            f" {{\n{body}\n}}"
        )
        return layers_of(read_network(saved(text), {"x": X}), precision)

    return make


def _ones(count):
    return ", ".join(["1"] * count)


def ops(found):
    return ["+".join((layer.op, *layer.fused)) for layer in found.layers]


def moved(found):
    return [(la.weight_bytes, la.read_bytes, la.write_bytes) for la in found.layers]


def test_an_activation_moves_nothing_of_its_own(layers):
    found = layers("a = Conv(x, w)\ny = Relu(a)")
    assert ops(found) == ["Conv+Relu"]
    assert moved(found) == [(4 * WEIGHTS, 4 * PLANE, 4 * PLANE)]
    assert (found.macs, found.flops) == (8 * PLANE, 2 * 8 * PLANE + PLANE)


def test_a_silu_of_two_operators_is_one_pass(layers):
    found = layers("a = Conv(x, w)\nb = Sigmoid(a)\ny = Mul(a, b)")
    assert ops(found) == ["Conv+Sigmoid+Mul"]
    assert moved(found) == [(4 * WEIGHTS, 4 * PLANE, 4 * PLANE)]


def test_an_addition_goes_with_the_later_of_its_inputs_and_reads_the_other(layers):
    found = layers("a = Conv(x, w)\nb = Conv(a, v)\ny = Add(a, b)")
    assert ops(found) == ["Conv", "Conv+Add"]
    # The first one's output is read by the second, once, although two nodes take it.
    assert moved(found) == [(4 * WEIGHTS, 4 * PLANE, 4 * PLANE)] * 2


def test_a_shortcut_around_a_layer_is_read_again(layers):
    found = layers("a = Conv(x, w)\ny = Add(x, a)")
    assert moved(found) == [(4 * WEIGHTS, 4 * PLANE, 4 * PLANE)]
    found = layers("a = Conv(x, w)\nb = Conv(a, v)\nc = Conv(b, w)\ny = Add(a, c)")
    assert moved(found)[2] == (4 * WEIGHTS, 8 * PLANE, 4 * PLANE)


def test_what_needs_a_later_pass_is_not_done_in_an_earlier_one(layers):
    # e is ready with the first convolution; y needs the pool behind it, so it must not join the first pass.
    found = layers(
        "a = Conv(x, w)\np = MaxPool<kernel_shape = [1, 1]>(a)\ne = Relu(a)\ny = Add(e, p)"
    )
    assert ops(found) == ["Conv+Relu", "MaxPool+Add"]


def test_an_operator_on_the_input_alone_is_a_pass(layers):
    found = layers("a = Relu(x)\ny = Conv(a, w)")
    assert ops(found) == ["Relu", "Conv"]


def test_reshaping_moves_nothing(layers):
    found = layers(
        "d = Constant<value_ints = [1, 128]>()\na = Conv(x, w)\nb = Reshape(a, d)\ny = Relu(b)",
        gives="float[1,128] y",
    )
    assert ops(found) == ["Conv+Relu"]
    assert moved(found) == [(4 * WEIGHTS, 4 * PLANE, 4 * PLANE)]


def test_a_concat_is_written_in_its_place_by_those_before(layers):
    found = layers(
        "a = Conv(x, w)\nb = Conv(a, v)\nc = Concat<axis = 1>(a, b)\n"
        "y = MaxPool<kernel_shape = [1, 1]>(c)",
        gives="float[1,16,4,4] y",
    )
    assert ops(found) == ["Conv", "Conv", "MaxPool"]
    assert moved(found)[2] == (0, 8 * PLANE, 8 * PLANE)


def test_gathering_reads_what_it_takes(layers):
    found = layers(
        "i = Constant<value_ints = [3]>()\na = MaxPool<kernel_shape = [1, 1]>(x)\n"
        "y = Gather<axis = 1>(a, i)",
        gives="float[1,1,4,4] y",
    )
    assert moved(found)[1] == (8, 4 * 16, 4 * 16)  # and one int64


@pytest.mark.parametrize(
    ("precision", "size"), [("fp32", 4), ("fp16", 2), ("bf16", 2), ("int8", 1)]
)
def test_a_precision_for_all_but_the_interface(layers, precision, size):
    found = layers("a = Conv(x, w)\ny = Conv(a, v)", precision)
    assert moved(found) == [
        (size * WEIGHTS, 4 * PLANE, size * PLANE),
        (size * WEIGHTS, size * PLANE, 4 * PLANE),
    ]
    assert {key[0] for layer in found.layers for key in layer.flops} == {precision}
    assert found.weight_bytes == 2 * size * WEIGHTS
    assert (found.input_bytes, found.output_bytes) == (4 * PLANE, 4 * PLANE)


QUANTIZED = (
    "p = QuantizeLinear(x, s, z)\nq = DequantizeLinear(p, s, z)\nu = DequantizeLinear(k, s, z)\n"
    "a = Conv(q, u)\nb = Relu(a)\nc = QuantizeLinear(b, s, z)\nd = DequantizeLinear(c, s, z)\n"
    "y = Conv(d, w)"
)


def test_between_quantizers_all_is_int8_and_the_rest_is_not(layers):
    found = layers(QUANTIZED)
    assert ops(found) == ["QuantizeLinear", "Conv+Relu+QuantizeLinear", "Conv"]
    scale = 4 + 1  # what QuantizeLinear reads beside
    assert moved(found) == [
        (scale, 4 * PLANE, PLANE),
        (WEIGHTS + scale, PLANE, PLANE),
        (4 * WEIGHTS, PLANE, 4 * PLANE),
    ]
    kinds = [{p for p, _ in layer.flops} for layer in found.layers]
    assert kinds == [set(), {"int8", "fp32"}, {"fp32"}]  # the activation comes before the rounding
    assert found.precisions == ("fp32", "int8")


def test_quantizers_are_not_there_where_all_is_of_one_precision(layers):
    found = layers(QUANTIZED, "fp16")
    assert ops(found) == ["Conv+Relu", "Conv"]
    assert moved(found) == [
        (2 * WEIGHTS, 4 * PLANE, 2 * PLANE),
        (2 * WEIGHTS, 2 * PLANE, 4 * PLANE),
    ]


def test_int8_weights_alone_make_no_int8_product(layers):
    found = layers("u = DequantizeLinear(k, s, z)\ny = Conv(x, u)")
    assert found.precisions == ("fp32",)
    assert moved(found) == [(WEIGHTS, 4 * PLANE, 4 * PLANE)]


def test_weights_used_twice_are_kept_once_and_read_twice(layers):
    found = layers("a = Conv(x, w)\ny = Conv(a, w)")
    assert found.weight_bytes == 4 * WEIGHTS
    assert [layer.weight_bytes for layer in found.layers] == [4 * WEIGHTS] * 2
    assert found.parameters == WEIGHTS


def test_what_is_alive_together(layers):
    # x and a; then a and b; then a, b and y: three planes
    found = layers("a = Conv(x, w)\nb = Conv(a, v)\nc = Conv(b, w)\ny = Add(a, c)")
    assert peak_bytes(found.lives) == 3 * 4 * PLANE
    assert sorted(found.lives) == sorted(
        [(0, 0, 4 * PLANE), (0, 2, 4 * PLANE), (1, 2, 4 * PLANE), (2, 2, 4 * PLANE)]
    )


def test_inside_a_pass_nothing_is_alive(layers):
    found = layers("a = Conv(x, w)\nb = Sigmoid(a)\ny = Mul(a, b)")
    assert peak_bytes(found.lives) == 2 * 4 * PLANE


def test_an_operator_that_is_not_known_is_named_and_its_bytes_are_counted(layers):
    found = layers(
        "n = Constant<value_ints = [2]>()\na = MaxPool<kernel_shape = [1, 1]>(x)\n"
        "b = CumSum(a, n)\ny = NonZero(b)",
        gives="int64[4,N] y",
    )
    assert found.unknown == {"NonZero": 1}  # how many there are, only a run tells
    assert found.layers[-1].read_bytes == 4 * PLANE
    assert found.layers[-1].write_bytes == 0
