"""What is written: where scales stand, and what biases and constants become."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.execute import run_once


def test_trt_is_symmetric_int8_with_float_bias_and_keeps_activations(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="trt").model
    assert kit.ops(made.graph).count("Relu") == 2
    values = kit.constants(made)
    zeros = [values[n.input[2]] for n in made.graph.node if n.op_type.endswith("eLinear")]
    assert zeros
    assert all(z.dtype == np.int8 and not z.any() for z in zeros)
    biases = [n.input[2] for n in made.graph.node if n.op_type == "Conv" and len(n.input) > 2]
    assert biases
    assert all(values[b].dtype == np.float32 for b in biases)


def test_trt_puts_no_scale_between_a_conv_and_its_activation_nor_behind_the_last(kit: Any) -> None:
    made = kit.quantize(kit.body(), kit.FRAMES, scheme="trt").model
    readers = {
        name: [n.op_type for n in made.graph.node if name in n.input]
        for conv in made.graph.node
        if conv.op_type == "Conv"
        for name in conv.output
    }
    assert readers == {"a": ["Relu"], "d": ["Clip"], "l": ["LeakyRelu"], "m": ["Add"],
                       "y": ["Sigmoid"]}  # fmt: skip


def test_bias_of_a_channel_with_vanishing_weights_does_not_overflow(kit: Any) -> None:
    weights, bias = kit.normal(16, 16, 1, 1), kit.normal(16, 1)[:, 0]
    weights[3] = 1e-20
    bias[3] = 5.0
    model = kit.graph("g (float[1,16,4,4] x) => (float[1,16,4,4] y) { y = Conv(x, w, b) }",
                  w=weights, b=bias)  # fmt: skip
    made = kit.quantize(model, kit.noise(1, 16, 4, 4), scheme="x86")
    channel = run_once(made.model, next(kit.noise(1, 16, 4, 4)()))["y"][0, 3]
    np.testing.assert_allclose(channel, 5.0, atol=0.03)


def test_same_inputs_give_the_same_bytes_and_leave_the_model_alone(kit: Any) -> None:
    model = kit.body()
    first, second = (
        kit.quantize(model, kit.FRAMES, scheme="x86").model.SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second
    assert model == kit.body()


def branching(kit: Any) -> onnx.ModelProto:
    """Branches that read an activation, a layer's weights, and a constant that nothing else reads."""
    return kit.graph(
        """g (float[1,3,16,16] x) => (float[1,8,16,16] y) {
            a = Conv<pads=[1,1,1,1]>(x, w0)
            r = Relu(a)
            b = Conv(r, w1)
            m = ReduceMax<keepdims=0>(b)
            bright = Greater(m, zero)
            f = If(bright) <
                then_branch = t () => (float[1,16,16,16] p) { p = Mul(r, two) },
                else_branch = e () => (float[1,16,16,16] q) { c = Conv(r, w1) q = Add(c, r) }>
            y = Conv(f, w2) }""",
        w0=kit.normal(16, 3, 3, 3), w1=kit.normal(16, 16, 1, 1), w2=kit.normal(8, 16, 1, 1),
        zero=np.array(0, np.float32), two=np.array(2, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["x86", "x86-avx2", "arm", "trt"])
@pytest.mark.parametrize("sign", [1, -1])
def test_branches_keep_what_they_read(kit: Any, scheme: str, sign: int) -> None:
    model = branching(kit)
    for node in model.graph.node:
        if node.op_type == "Greater" and sign < 0:
            node.input[:] = reversed(node.input)  # the other branch
    made = kit.quantize(model, kit.FRAMES, scheme=scheme).model
    kept = kit.constants(made)
    assert {"w1", "two"} <= set(kept), "the branches read them"
    assert not {"w0", "w2"} & set(kept), "integers stand for them"
    assert kit.agreement(model, made, kit.FRAMES, "y") > 25


def test_branches_keep_what_they_read_where_the_remainder_is_float16(kit: Any) -> None:
    model = branching(kit)
    made = kit.halved(model, kit.FRAMES).model
    assert {"w1", "two"} <= set(kit.constants(made))
    assert kit.agreement(model, made, kit.FRAMES, "y") > 25
