"""Colour and normalization in the graph: what comes out is what came out, for every way to pad, group and transpose."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.bake.input import BakedInput, bake_input
from edgevision.converters.bake.proof import prove_input
from edgevision.converters.graph.execute import difference, run_once
from edgevision.errors import ModelError
from edgevision.spec import InputSpec

SIDE = 12
RANDOM = np.random.default_rng(0)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def tensor(name: str, array: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def conv(source: str = "x", name: str = "conv", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(
        "Conv", [source, f"{name}/w", f"{name}/b"], [f"{name}/y"], name=name, **attributes
    )


def weights(name: str = "conv", *, out: int = 6, per_group: int = 3, kernel: int = 3, dtype: Any = np.float32) -> list[onnx.TensorProto]:  # fmt: skip
    return [
        tensor(f"{name}/w", RANDOM.normal(size=(out, per_group, kernel, kernel)).astype(dtype)),
        tensor(f"{name}/b", RANDOM.normal(size=out).astype(dtype)),
    ]


def model(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    *,
    shape: tuple[Any, ...] = (1, 3, SIDE, SIDE),
    kind: int = TensorProto.FLOAT,
    output: str = "conv/y",
    out_kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(output, out_kind, ["a", "b", "c", "d"])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made


def spec(**changed: Any) -> InputSpec:
    return InputSpec(**{"size": (SIDE, SIDE), "tensor": "x", **IMAGENET, **changed})


def normalized(pixels: NDArray[np.uint8], how: InputSpec) -> NDArray[Any]:
    """By the definition, in float64: pixels (H, W, 3) BGR → the tensor."""
    values = pixels.astype(np.float64)
    if how.colour == "rgb":
        values = values[..., ::-1]
    values = (values * how.scale - np.array(how.mean)) / np.array(how.std)
    if how.layout == "nchw":
        values = values.transpose(2, 0, 1)
    return values[None].astype(how.dtype)


def check(made: onnx.ModelProto, how: InputSpec, *, tolerance: float = 1e-4) -> BakedInput:
    """Bakes, and compares both models on extreme and on random pixels."""
    baked = bake_input(made, how)
    onnx.checker.check_model(baked.model, full_check=True)
    value = next(v for v in baked.model.graph.input if v.name == "x")
    assert value.type.tensor_type.elem_type == TensorProto.UINT8
    assert (baked.spec.dtype, baked.spec.scale) == ("uint8", 1.0)
    assert (set(baked.spec.mean), set(baked.spec.std)) == ({0.0}, {1.0})
    sides = how.size or (SIDE, SIDE)
    for pixels in (
        RANDOM.integers(0, 256, (*sides, 3)).astype(np.uint8),
        np.zeros((*sides, 3), np.uint8),
        np.full((*sides, 3), 255, np.uint8),
    ):
        fed = pixels[None] if how.layout == "nhwc" else pixels.transpose(2, 0, 1)[None]
        expected = run_once(made, {"x": normalized(pixels, how)})
        actual = run_once(baked.model, {"x": np.ascontiguousarray(fed)})
        assert difference(expected, actual) <= tolerance
    return baked


def ops(baked: BakedInput) -> list[str]:
    return [node.op_type for node in baked.model.graph.node]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, ["Cast", "Conv"]),
        ({"auto_pad": "VALID"}, ["Cast", "Conv"]),
        ({"pads": [1, 1, 1, 1]}, ["Cast", "Sub", "Conv"]),
        ({"pads": [0, 0, 1, 1], "strides": [2, 2]}, ["Cast", "Sub", "Conv"]),
        ({"pads": [2, 0, 1, 3], "dilations": [2, 2]}, ["Cast", "Sub", "Conv"]),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, ["Cast", "Sub", "Conv"]),
        ({"auto_pad": "SAME_LOWER"}, ["Cast", "Sub", "Conv"]),
        ({"auto_pad": "SAME_UPPER", "strides": [3, 3]}, ["Cast", "Conv"]),  # 12 = 4 · 3: no padding
    ],
)
def test_every_way_to_pad_gives_the_same(attributes: dict[str, Any], expected: list[str]) -> None:
    baked = check(model([conv(**attributes)], weights()), spec())
    assert ops(baked) == expected
    assert baked.spec.baked == ("colour", "normalization")
    assert baked.spec.colour == "bgr"


def test_without_a_mean_padding_needs_no_subtraction() -> None:
    baked = check(model([conv(pads=[1] * 4)], weights()), spec(mean=(0.0,), std=(1.0,)))
    assert ops(baked) == ["Cast", "Conv"]


def test_a_convolution_without_bias_gets_one_only_for_a_mean() -> None:
    node = helper.make_node("Conv", ["x", "conv/w"], ["conv/y"], name="conv")
    shifted = check(model([node], weights()[:1]), spec())
    plain = check(model([node], weights()[:1]), spec(mean=(0.0,), std=(1.0,)))
    assert [len(b.model.graph.node[-1].input) for b in (shifted, plain)] == [3, 2]


def test_bgr_models_keep_their_order() -> None:
    baked = check(model([conv()], weights()), spec(colour="bgr"))
    assert baked.spec.baked == ("normalization",)


def test_channels_are_swapped_by_a_node_before_a_grouped_convolution() -> None:
    made = model([conv(group=3, pads=[1] * 4)], weights(out=6, per_group=1))
    assert ops(check(made, spec())) == ["Gather", "Cast", "Sub", "Conv"]
    assert ops(check(made, spec(colour="bgr"))) == ["Cast", "Sub", "Conv"]


def test_nhwc_is_transposed_as_uint8() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        conv("t", pads=[1] * 4),
    ]
    baked = check(model(nodes, weights(), shape=(1, SIDE, SIDE, 3)), spec(layout="nhwc"))
    assert ops(baked) == ["Transpose", "Cast", "Sub", "Conv"]


def test_the_models_own_normalization_goes_too() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["c", "half"], ["d"]),
        helper.make_node("Sub", ["one", "d"], ["s"]),
        helper.make_node("Mul", ["s", "gains"], ["m"]),
        helper.make_node("Transpose", ["m"], ["t"], perm=[0, 3, 1, 2]),
        conv("t", pads=[1] * 4),
    ]
    constants = [
        *weights(), tensor("half", np.float32(127.5)), tensor("one", np.float32([1.0])),
        tensor("gains", np.float32([2, 0.5, 3])),
    ]  # fmt: skip
    made = model(nodes, constants, shape=(1, SIDE, SIDE, 3), kind=TensorProto.INT32)
    how = spec(layout="nhwc", dtype="int32", scale=1.0, mean=(0.0,), std=(1.0,))
    baked = check(made, how)
    assert ops(baked) == ["Transpose", "Cast", "Sub", "Conv"]
    assert baked.spec.baked == ("colour",)


def test_a_batch_norm_in_front_goes_too() -> None:
    norm = helper.make_node("BatchNormalization", ["x", "g", "b", "m", "v"], ["n"], name="norm")
    numbers = [np.float32(v) for v in ([1, 2, 3], [0, 1, 2], [0.5, 0, 1], [1, 4, 2])]
    constants = [tensor(n, v) for n, v in zip("gbmv", numbers, strict=True)]
    assert ops(check(model([norm, conv("n")], [*weights(), *constants]), spec())) == [
        "Cast",
        "Conv",
    ]


def test_uint8_models_only_swap() -> None:
    nodes = [helper.make_node("Cast", ["x"], ["c"], to=TensorProto.FLOAT), conv("c", pads=[1] * 4)]
    made = model(nodes, weights(), kind=TensorProto.UINT8)
    how = spec(dtype="uint8", scale=1.0, mean=(0.0,), std=(1.0,))
    assert ops(check(made, how)) == ["Cast", "Conv"]
    same = bake_input(made, spec(dtype="uint8", scale=1.0, mean=(0.0,), std=(1.0,), colour="bgr"))
    assert same.model is made
    assert "already" in same.changes[0]


def test_two_convolutions_share_what_stands_before_them() -> None:
    nodes = [
        conv(name="a", pads=[1] * 4),
        conv(name="b", pads=[1] * 4),
        conv(name="c", kernel_shape=[1, 1]),
    ]
    constants = weights("a") + weights("b") + weights("c", kernel=1)
    nodes.append(helper.make_node("Sum", ["a/y", "b/y", "c/y"], ["conv/y"], name="sum"))
    assert sorted(ops(check(model(nodes, constants), spec()))) == sorted(
        ["Cast", "Sub", "Conv", "Conv", "Conv", "Sum"]
    )


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_where_something_else_reads_the_input_the_normalization_stays_as_nodes(layout: str) -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["conv/y"], name="other")]
    shape = (1, 3, SIDE, SIDE) if layout == "nchw" else (1, SIDE, SIDE, 3)
    baked = check(model(nodes, [], shape=shape), spec(layout=layout))
    assert ops(baked) == ["Gather", "Cast", "Mul", "Add", "Sigmoid"]
    assert "Sigmoid" in baked.changes[0]


def test_a_skip_connection_of_the_input_is_no_reason_to_fail() -> None:
    nodes = [conv(pads=[1] * 4), helper.make_node("Concat", ["conv/y", "x"], ["y"], axis=1)]
    baked = check(model(nodes, weights(), output="y"), spec())
    assert "Concat" in baked.changes[0]


def test_asking_for_the_shape_of_the_input_does_not_hinder() -> None:
    nodes = [
        conv(pads=[1] * 4),
        helper.make_node("Shape", ["x"], ["s"], name="shape"),
        helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("ReduceSum", ["f"], ["n"], keepdims=0, name="sum"),
        helper.make_node("Add", ["conv/y", "n"], ["y"], name="add"),
    ]
    assert "Conv" in ops(check(model(nodes, weights(), output="y"), spec()))


def test_bodies_read_the_normalized_picture() -> None:
    body = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["inner"])],
        "body",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=body, else_branch=body, name="if")]
    check(model(nodes, [tensor("yes", np.array(True))], output="y"), spec())


def test_gray_models_keep_their_colour() -> None:
    made = model([conv()], weights(per_group=1), shape=(1, 1, SIDE, SIDE))
    how = InputSpec(size=(SIDE, SIDE), tensor="x", colour="gray", mean=(0.5,), std=(0.25,))
    baked = bake_input(made, how)
    assert (baked.spec.colour, baked.spec.baked) == ("gray", ("normalization",))
    pixels = RANDOM.integers(0, 256, (1, 1, SIDE, SIDE)).astype(np.uint8)
    expected = run_once(made, {"x": ((pixels / 255 - 0.5) / 0.25).astype(np.float32)})
    assert difference(expected, run_once(baked.model, {"x": pixels})) <= 1e-4


@pytest.mark.parametrize("pads", [[0] * 4, [1] * 4])
def test_float16_models(pads: list[int]) -> None:
    made = model(
        [conv(pads=pads)], weights(dtype=np.float16), kind=TensorProto.FLOAT16,
        out_kind=TensorProto.FLOAT16,
    )  # fmt: skip
    check(made, spec(dtype="float16"), tolerance=5e-3)


def test_open_sides_stay_open() -> None:
    made = model([conv(auto_pad="SAME_UPPER", strides=[2, 2])], weights(), shape=(1, 3, "h", "w"))
    baked = check(made, spec(size=None))
    assert ops(baked) == ["Cast", "Sub", "Conv"]


def test_names_that_are_taken_are_avoided() -> None:
    constants = [*weights(), tensor("x/float", np.zeros(1, np.float32))]
    check(model([conv(pads=[1] * 4)], constants), spec())


def test_an_input_that_is_an_output_is_refused() -> None:
    made = model([conv()], weights())
    made.graph.output.append(
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIDE, SIDE))
    )
    with pytest.raises(ModelError, match="output as well"):
        bake_input(made, spec())


def test_the_proof_allows_float16_its_own_rounding_beside_float32() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], name="cast", to=TensorProto.FLOAT16),
        conv("half", "a"),
        conv("x", "b"),
        helper.make_node("Cast", ["a/y"], ["wide"], name="back", to=TensorProto.FLOAT),
        helper.make_node("Concat", ["wide", "b/y"], ["y"], name="join", axis=1),
    ]
    made = model(nodes, weights("a", dtype=np.float16) + weights("b"), output="y")
    baked = bake_input(made, spec())
    assert list(baked.same) == ["a/y", "b/y"]
    picture = RANDOM.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert "gives the same" in prove_input(made, spec(), baked, [picture])


def test_the_proof_finds_a_weight_that_is_wrong() -> None:
    made = model([conv()], weights())
    baked = bake_input(made, spec())
    picture = RANDOM.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert "gives the same" in prove_input(made, spec(), baked, [picture])
    wrong = next(t for t in baked.model.graph.initializer if t.name.endswith("weights"))
    spoilt = numpy_helper.to_array(wrong).copy()
    spoilt[0, 0, 0, 0] *= 1.5
    wrong.CopyFrom(tensor(wrong.name, spoilt))
    with pytest.raises(ModelError, match="changed what the model computes"):
        prove_input(made, spec(), baked, [picture])


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(1, 4),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    stride=st.integers(1, 3),
    group=st.sampled_from([1, 3]),
    means=st.lists(st.floats(-1, 2), min_size=3, max_size=3),
    stds=st.lists(st.floats(0.05, 4), min_size=3, max_size=3),
    colour=st.sampled_from(["rgb", "bgr"]),
)
def test_any_convolution(kernel: int, pads: list[int], stride: int, group: int, means: list[float], stds: list[float], colour: str) -> None:  # fmt: skip
    node = conv(pads=pads, strides=[stride, stride], group=group)
    made = model([node], weights(per_group=3 // group, kernel=kernel))
    check(made, spec(mean=tuple(means), std=tuple(stds), colour=colour))
