"""Cleaning: what changes, what must not, checked by running both graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edgevision.converters.clean import Cleaned, clean
from edgevision.converters.execute import run_once
from edgevision.converters.graph import shape_of
from edgevision.converters.onnx_file import load
from edgevision.errors import ModelError, UsageError


def graph(text: str, opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def ops(cleaned: Cleaned) -> list[str]:
    return [n.op_type for n in cleaned.model.graph.node]


def assert_same(model: onnx.ModelProto, cleaned: Cleaned, x: np.ndarray) -> None:
    """The reference evaluator of onnx on the original is the judge."""
    expected = ReferenceEvaluator(model).run(None, {"x": x})
    actual = run_once(cleaned.model, {"x": x})
    for left, right in zip(expected, actual.values(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)


CONV = "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"


def test_initializers_leave_the_input_list() -> None:
    model = graph(CONV, w=normal(4, 3, 3, 3))
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [4, 3, 3, 3]))
    cleaned = clean(model)
    assert [v.name for v in cleaned.model.graph.input] == ["x"]
    assert "removed 1 initializers from the graph inputs" in cleaned.changes
    assert len(model.graph.input) == 2, "the input model must not be changed"


def test_wrong_declared_shape_is_replaced_and_outputs_follow() -> None:
    model = graph(
        "g (float[10,3,32,32] x) => (float[10,4,7,7] y) { y = Conv(x, w) }", w=normal(4, 3, 3, 3)
    )
    cleaned = clean(model, shapes={"x": [1, 3, 20, 12]})
    assert shape_of(cleaned.model.graph.input[0]) == [1, 3, 20, 12]
    assert shape_of(cleaned.model.graph.output[0]) == [1, 4, 18, 10]


def test_symbolic_dim_stays_under_its_name() -> None:
    model = graph(
        "g (float[1,3,8,8] x) => (float[1,4,6,6] y) { y = Conv(x, w) }", w=normal(4, 3, 3, 3)
    )
    cleaned = clean(model, shapes={"x": ["N", 3, 8, 8]})
    assert shape_of(cleaned.model.graph.output[0]) == ["N", 4, 6, 6]
    assert run_once(cleaned.model, {"x": normal(5, 3, 8, 8)})["y"].shape == (5, 4, 6, 6)


@pytest.mark.parametrize("shapes", [{"other": [1]}, {"x": [1, 3]}], ids=["name", "rank"])
def test_shapes_that_do_not_fit_are_a_usage_error(shapes: dict[str, list[int]]) -> None:
    with pytest.raises(UsageError):
        clean(graph(CONV, w=normal(4, 3, 3, 3)), shapes=shapes)


def test_size_that_the_model_cannot_take_is_a_model_error() -> None:
    model = graph(
        """g (float[1,3,8,8] x) => (float[1,64] y) {
            s = Constant<value_ints=[1,192]>()
            r = Reshape(x, s)
            y = MatMul(r, w) }""",
        w=normal(192, 64),
    )
    with pytest.raises(ModelError, match=r"x \[1, 3, 16, 16\]"):
        clean(model, shapes={"x": [1, 3, 16, 16]})


def test_constants_are_folded_and_leftovers_dropped() -> None:
    model = graph(
        """g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
            one = Constant<value_float=1.0>()
            two = Add(one, one)
            v = Mul(w, two)
            i = Identity(x)
            c = Conv<pads=[1,1,1,1]>(i, v)
            y = Dropout(c)
            dead = Relu(x) }""",
        w=normal(4, 3, 3, 3),
        unused=normal(7),
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["Conv"]
    assert len(cleaned.model.graph.initializer) == 1
    assert_same(model, cleaned, normal(1, 3, 8, 8))


def test_opset_is_raised_and_reported() -> None:
    model = graph(
        "g (float[1,8] x) => (float[1,4] y) { r = MatMul(x, w) y = Softmax(r) }",
        opset=11,
        w=normal(8, 4),
    )
    cleaned = clean(model)
    assert cleaned.model.opset_import[0].version == 17
    assert "raised the opset from 11 to 17" in cleaned.changes
    assert_same(model, cleaned, normal(1, 8))


def test_metadata_survives_and_nodes_get_unique_names() -> None:
    model = graph("g (float[4] x) => (float[4] y) { a = Relu(x) b = Exp(a) y = Neg(b) }")
    model.metadata_props.add(key="names", value="{0: 'person'}")
    cleaned = clean(model)
    assert [(p.key, p.value) for p in cleaned.model.metadata_props] == [("names", "{0: 'person'}")]
    names = [n.name for n in cleaned.model.graph.node]
    assert all(names)
    assert len(set(names)) == 3


def test_cleaning_twice_gives_the_same_bytes() -> None:
    model = graph(CONV, w=normal(4, 3, 3, 3))
    first, second = (clean(model).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_pad_of_minus_infinity_moves_into_maxpool() -> None:
    model = graph(
        """g (float[1,3,9,8] x) => (float[1,3,5,4] y) {
            p = Pad(x, pads, low)
            y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(p) }""",
        pads=np.array([0, 0, 1, 0, 0, 0, 1, 1], np.int64),
        low=np.array(-np.inf, np.float32),
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["MaxPool"]
    assert_same(model, cleaned, normal(1, 3, 9, 8) - 10)


def test_conv_is_divided_at_its_split() -> None:
    model = graph(
        """g (float[1,3,5,5] x) => (float[1,6,5,5] a, float[1,2,5,5] b) {
            c = Conv(x, w, bias)
            a, b = Split<axis=1>(c, sizes) }""",
        w=normal(8, 3, 1, 1),
        bias=normal(8),
        sizes=np.array([6, 2], np.int64),
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["Conv", "Conv"]
    assert_same(model, cleaned, normal(1, 3, 5, 5))


def test_linear_resize_by_half_becomes_mean_of_four() -> None:
    model = graph(
        """g (float[1,2,6,4] x) => (float[1,2,3,2] y) {
            y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(
                x, , scales) }""",
        scales=np.array([1, 1, 0.5, 0.5], np.float32),
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["AveragePool"]
    x = normal(1, 2, 6, 4)
    by_hand = x.reshape(1, 2, 3, 2, 2, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(run_once(cleaned.model, {"x": x})["y"], by_hand, atol=1e-6)


def test_linear_resize_by_half_of_an_odd_size_is_left_alone() -> None:
    model = graph(
        """g (float[1,2,7,4] x) => (float[1,2,3,2] y) {
            y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(
                x, , scales) }""",
        scales=np.array([1, 1, 0.5, 0.5], np.float32),
    )
    assert ops(clean(model)) == ["Resize"]


def test_batch_norm_merges_into_transposed_conv() -> None:
    model = graph(
        """g (float[1,3,4,4] x) => (float[1,5,8,8] y) {
            c = ConvTranspose<strides=[2,2]>(x, w, b)
            y = BatchNormalization(c, gamma, beta, mean, var) }""",
        w=normal(3, 5, 2, 2),
        b=normal(5),
        gamma=normal(5) + 2,
        beta=normal(5) * 2,
        mean=normal(5) * 3,
        var=np.abs(normal(5)) + 0.1,
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["ConvTranspose"]
    assert_same(model, cleaned, normal(1, 3, 4, 4))


def test_full_size_average_becomes_global() -> None:
    model = graph(
        "g (float[1,3,4,6] x) => (float[1,3,1,1] y) { y = AveragePool<kernel_shape=[4,6]>(x) }"
    )
    assert ops(clean(model)) == ["GlobalAveragePool"]


def test_centerface_gets_its_true_shapes(test_data: Path) -> None:
    cleaned = clean(
        load(test_data / "models" / "centerface.onnx"), shapes={"input.1": [1, 3, 96, 128]}
    )
    outputs = [shape_of(v) for v in cleaned.model.graph.output]
    assert outputs == [[1, 1, 24, 32], [1, 2, 24, 32], [1, 2, 24, 32], [1, 10, 24, 32]]
    assert "removed 194 initializers from the graph inputs" in cleaned.changes
    assert all(n.domain == "" for n in cleaned.model.graph.node)
