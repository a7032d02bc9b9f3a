"""Cleaning: what changes, what must not, checked by running both graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph import clean as clean_module
from edgevision.converters.graph import opset as opset_module
from edgevision.converters.graph.clean import Cleaned, clean
from edgevision.converters.graph.execute import difference, run_once, trial_feeds
from edgevision.converters.graph.index import nodes_in, shape_of
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.graph.passes import Pass
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
    assert "removed 1 initializer from the graph inputs" in cleaned.changes
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


def test_an_old_file_whose_weights_had_to_be_inputs_is_raised_too() -> None:
    # IR 3: caffe2's exports, and the models that come with onnx itself.
    model = graph(
        "g (float[1,3,8,8] x) => (float[1,4,6,6] y) {"
        " w = ConstantOfShape<value = float[1] {0.5}>(shape) y = Conv(x, w) }",
        opset=9,
        shape=np.array([4, 3, 3, 3]),
    )
    model.graph.input.append(helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [4]))
    model.ir_version = 3
    cleaned = clean(model)
    assert cleaned.model.opset_import[0].version == 17
    assert ops(cleaned) == ["Conv"]


def test_an_opset_that_cannot_be_raised_is_told_or_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> onnx.ModelProto:
        raise onnx.version_converter.ConvertError("no adapter")

    monkeypatch.setattr(opset_module.version_converter, "convert_version", refuse)
    text = "g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }"
    assert "kept opset 13: raising it to 17 failed (no adapter)" in clean(graph(text, 13)).changes
    with pytest.raises(ModelError, match="opset 11 cannot be raised"):
        clean(graph(text, 11))


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


@pytest.mark.parametrize(
    ("kind", "height", "scale"),
    [("float", 7, 0.5), ("float", 4, 0.6), ("uint8", 8, 0.5)],
    ids=["of an odd size", "by a little more", "of integers"],
)
def test_linear_resize_that_is_no_mean_of_four_is_left_alone(
    kind: str, height: int, scale: float
) -> None:
    model = graph(
        f"""g ({kind}[1,2,{height},4] x) => ({kind}[1,2,h,w] y) {{
            y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(
                x, , scales) }}""",
        scales=np.array([1, 1, scale, scale], np.float32),
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["Resize"]
    assert not cleaned.changes


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


# Outputs whose size, shape or scale is uneven


def yolo(scores: np.ndarray, boxes: float = 640.0) -> dict[str, np.ndarray]:
    """One output of 4 box rows and 80 score rows, as YOLOv8 has it."""
    random = np.random.default_rng(0)
    left = random.uniform(0, boxes, (1, 4, 8400))
    return {"y": np.concatenate([left, scores], axis=1).astype(np.float32)}


SCORES = np.random.default_rng(1).uniform(0, 0.9, (1, 80, 8400))
LAST = (0, 2, 1)


@pytest.mark.parametrize("axes", [(0, 1, 2), LAST], ids=["channels first", "channels last"])
def test_wrong_scores_are_seen_beside_boxes_in_pixels(axes: tuple[int, ...]) -> None:
    right, wrong = yolo(SCORES)["y"].transpose(axes), yolo(SCORES * 0.4)["y"].transpose(axes)
    assert difference({"y": right}, {"y": wrong}) > 0.5
    assert difference({"y": right}, {"y": right}) == 0


def test_one_wrong_class_is_seen() -> None:
    wrong = SCORES.copy()
    wrong[:, 17] *= 0.99
    assert difference(yolo(SCORES), yolo(wrong)) == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("shape", "moved", "least", "most"),
    [
        ((1, 1000), 1e-6, 0, 1e-5),  # a slice of one value has no scale of its own
        ((1, 84, 100), 1e-7, 0, 1e-3),  # rounding of zeros
        ((), 0.5, 0.4, 1),
        ((0, 4), 0.5, 0, 0),
    ],
)
def test_rounding_is_no_difference(
    shape: tuple[int, ...], moved: float, least: float, most: float
) -> None:
    array = np.zeros(shape, np.float32)
    array.reshape(-1)[:1] = 1
    assert least <= difference({"y": array}, {"y": array + np.float32(moved)}) <= most


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_value_that_is_finite_on_one_side_only_is_an_infinite_difference(bad: float) -> None:
    fine, odd = np.ones((1, 4), np.float32), np.array([[1, 1, 1, bad]], np.float32)
    assert difference({"y": fine}, {"y": odd}) == np.inf
    assert difference({"y": odd}, {"y": fine}) == np.inf
    assert difference({"y": odd}, {"y": odd.copy()}) == 0
    assert difference({"y": fine}, {"y": fine[:, :3]}) == np.inf


class Spoiled(Pass):
    """Makes the second channel's scale less than half of what it was."""

    name = "spoiled"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        (scale,) = (t for t in model.graph.initializer if t.name == "scale")
        wrong = numpy_helper.to_array(scale) * np.array([1, 0.4], np.float32).reshape(1, 2, 1, 1)
        scale.CopyFrom(numpy_helper.from_array(wrong, "scale"))
        return model, ["spoiled the scores"]


def test_a_pass_that_spoils_scores_beside_boxes_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_module, "PASSES", (*clean_module.PASSES, Spoiled()))
    model = graph(
        """g (float[1,2,8,8] x) => (float[1,2,8,8] y) {
            s = Sigmoid(x)
            i = Transpose<perm=[0,1,2,3]>(s)
            y = Mul(i, scale) }""",
        scale=np.array([640, 1], np.float32).reshape(1, 2, 1, 1),
    )
    cleaned = clean(model)
    (undone,) = (c for c in cleaned.changes if c.startswith("left out a pass (spoiled): outputs"))
    assert "differed by 0.6" in undone
    assert ops(cleaned) == ["Sigmoid", "Mul"], "the other passes are not undone"
    assert_same(model, cleaned, normal(1, 2, 8, 8))


PICKED = {
    "no box": "r = Reshape(low, row) k = NonMaxSuppression(boxes, r, most, iou, least) y = Cast<to=1>(k)",
    "nothing above": "k = Greater(low, least) y = Cast<to=1>(k)",
    "always the same class": "b = Add(low, lead) k = ArgMax<axis=1>(b) y = Cast<to=1>(k)",
}


@pytest.mark.parametrize("nodes", PICKED.values(), ids=PICKED)
def test_a_pass_that_spoils_scores_of_which_none_is_picked_is_undone(
    monkeypatch: pytest.MonkeyPatch, nodes: str
) -> None:
    monkeypatch.setattr(clean_module, "PASSES", (Spoiled(),))
    scores = "s = Sigmoid(x) i = Mul(s, scale) low = Sub(i, big)"
    model = graph(
        f"g (float[1,2,2,2] x) => (float[?] y) {{ {scores} {nodes} }}",
        scale=np.array([2, 1], np.float32).reshape(1, 2, 1, 1), big=np.array(3, np.float32),
        lead=np.array([-9, 9], np.float32).reshape(1, 2, 1, 1), row=np.array([1, 1, 8]),
        boxes=np.array([[[0, 0, 1, 1]] * 8], np.float32), most=np.array(3),
        iou=np.array(0.5, np.float32), least=np.array(0.9, np.float32),
    )  # fmt: skip
    (undone,) = (c for c in clean(model).changes if c.startswith("left out a pass (spoiled)"))
    assert "what the outputs are picked from differed by 0." in undone


@pytest.mark.parametrize("wanted", [["a"], ["c"], ["c", "a"]])
def test_only_the_outputs_asked_for_are_kept(wanted: list[str]) -> None:
    model = graph(
        """g (float[1,3,8,8] x) => (float[1,4,6,6] a, float[1,3,8,8] b, float[1,3,8,8] c) {
            a = Conv(x, w)
            b = Exp(x)
            c = Neg(x) }""",
        w=normal(4, 3, 3, 3),
    )
    cleaned = clean(model, outputs=wanted)
    assert [v.name for v in cleaned.model.graph.output] == sorted(wanted)
    kept = {"a": "Conv", "c": "Neg"}
    assert ops(cleaned) == [kept[name] for name in sorted(wanted)]
    assert len(cleaned.model.graph.initializer) == ("a" in wanted)
    dropped = sorted({"a", "b", "c"} - set(wanted))
    sentence = f"dropped {len(dropped)} output{'s' * (len(dropped) > 1)}: {', '.join(dropped)}"
    assert sentence in cleaned.changes


@pytest.mark.parametrize("wanted", [["y", "z"], []], ids=["unknown", "none"])
def test_outputs_that_are_not_there_are_a_usage_error(wanted: list[str]) -> None:
    with pytest.raises(UsageError, match="output"):
        clean(graph(CONV, w=normal(4, 3, 3, 3)), outputs=wanted)


SMALLER = {  # nodes in the file, nodes at most afterwards
    "selfie": ({"Reshape": 20, "Clip": 11, "Sum": 1}, {"Reshape": 1, "Clip": 0, "Sum": 0, "Mul": 28}),
    "ppocr-det": ({"Mul": 86, "Div": 24, "BatchNormalization": 3}, {"Mul": 38, "Div": 0, "BatchNormalization": 0}),
    "ppocr-rec": ({"BatchNormalization": 4, "Erf": 10}, {"BatchNormalization": 0, "ReduceMean": 0, "Erf": 10}),
    "nanodet": ({"Pad": 29, "Split": 3}, {"Pad": 0, "Split": 0, "Conv": 37}),
}  # fmt: skip
SIZES = {"ppocr-det": {"x": [1, 3, 96, 96]}, "ppocr-rec": {"x": [1, 3, 48, 160]}}


@pytest.mark.parametrize(("name", "before", "after"), [(k, *v) for k, v in SMALLER.items()])
def test_real_models_lose_what_they_do_not_need(
    test_data: Path, name: str, before: dict[str, int], after: dict[str, int]
) -> None:
    model = load(test_data / "models" / f"{name}.onnx")
    assert {k: sum(n.op_type == k for n in model.graph.node) for k in before} == before
    cleaned = clean(model, shapes=SIZES.get(name))
    assert not [c for c in cleaned.changes if c.startswith("left")], "no pass does harm here"
    assert all(ops(cleaned).count(k) <= most for k, most in after.items())


def test_pictures_are_fed_with_noise_and_with_patches() -> None:
    model = graph("g (float[1,3,32,32] x) => (float[1,3,32,32] y) { y = Relu(x) }")
    noise, patches = (feed["x"] for feed in trial_feeds(model))
    assert (noise.shape, noise.dtype) == ((1, 3, 32, 32), np.float32)
    assert -1 <= noise.min() < -0.9
    assert 0.9 < noise.max() < 1
    assert len(np.unique(noise)) > 3000
    assert len(np.unique(patches)) == 3 * 4 * 4
    assert (patches[..., :8, :8] == patches[..., :1, :1]).all()
    assert 1 < np.abs(patches).max() <= 2


@pytest.mark.parametrize("kind", ["int64", "int32"])
def test_an_input_of_indices_is_fed_with_zeros(kind: str) -> None:
    model = graph(
        f"""g (float[1,3,8,8] x, {kind}[7] i) => (float[1,3,8,8] y, float[7,4] z) {{
            y = Relu(x)
            z = Gather(w, i) }}""",
        w=normal(5, 4),
    )
    feeds = trial_feeds(model)
    assert all(not feed["i"].any() and feed["i"].shape == (7,) for feed in feeds)
    assert ops(clean(model)) == ["Relu", "Gather"]


@pytest.mark.parametrize(("kind", "top"), [("uint8", 255), ("int32", 255), ("int8", 127)])
def test_a_picture_of_integers_is_fed_with_integers(kind: str, top: int) -> None:
    model = graph(f"g ({kind}[1,32,32,3] p) => (float[1,32,32,3] y) {{ y = Cast<to=1>(p) }}")
    for feed in trial_feeds(model):
        assert feed["p"].max() > top * 0.8
        assert feed["p"].max() <= top


def with_branches(then: onnx.NodeProto, domain: str) -> onnx.ModelProto:
    """If(sum(x) > 0) then ``then`` else Relu."""
    other = helper.make_node("Relu", ["x"], ["b"])
    bodies = {
        name: helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(node.output[0], 1, [1, 8])]
        )
        for name, node in (("then_branch", then), ("else_branch", other))
    }
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], name="choice", **bodies),
    ]
    main = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 8])],
        [helper.make_tensor_value_info("y", 1, [1, 8])],
        [numpy_helper.from_array(np.array(0, np.float32), "zero")],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(domain, 1)]
    return helper.make_model(main, opset_imports=opsets, ir_version=8)


def test_an_operator_of_onnxruntime_in_a_branch_keeps_its_domain() -> None:
    inner = helper.make_node("Gelu", ["x"], ["a"], domain="com.microsoft")
    cleaned = clean(with_branches(inner, "com.microsoft"))
    assert {o.domain for o in cleaned.model.opset_import} == {"", "com.microsoft"}
    x = np.ones((1, 8), np.float32)
    # Gelu(1) = Φ(1).
    np.testing.assert_allclose(run_once(cleaned.model, {"x": x})["y"], 0.841345, atol=1e-5)


def test_a_graph_that_the_checker_refuses_is_a_model_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: onnx.ModelProto) -> None:
        raise onnx.checker.ValidationError("no opset import\n  for domain acme")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(ModelError, match="not valid") as caught:
        clean(graph(CONV, w=normal(4, 3, 3, 3)))
    assert caught.value.received == "the graph was not valid: no opset import for domain acme"


def test_an_output_without_a_declared_shape_gets_its_own() -> None:
    model = graph(CONV, w=normal(4, 3, 3, 3))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert shape_of(clean(model).model.graph.output[0]) == [1, 4, 8, 8]


def test_a_size_that_follows_the_data_stays_open() -> None:
    model = graph(
        """g (float[1,1,8,8] x) => (int64[4,n] y, float[k] z) {
            y = NonZero(x)
            z = Compress(x, c) }""",
        c=np.array([True, False, True]),
    )
    model.graph.output[1].type.tensor_type.ClearField("shape")
    where, picked = (shape_of(v) for v in clean(model).model.graph.output)
    assert where is not None
    assert picked is not None
    assert [type(d) for d in where] == [int, str]
    assert [type(d) for d in picked] == [str]


def test_a_size_that_is_counted_in_the_data_stays_open_though_trials_gave_one() -> None:
    model = graph(
        """g (float[1,1,8,8] x) => (float[n] y) {
            flat = Reshape(x, all)
            great = Greater(flat, low)
            ones = Cast<to=7>(great)
            count = ReduceSum<keepdims=1>(ones)
            y = Slice(flat, zero, count) }""",
        all=np.array([-1]), low=np.float32(-9), zero=np.array([0]),
    )  # fmt: skip
    shape = shape_of(clean(model).model.graph.output[0])
    assert shape is not None
    assert [type(d) for d in shape] == [str]


# Random numbers


RANDOM = {
    "a dropout that trains": "y = Dropout(x, ratio, yes)",
    "noise": "n = RandomNormalLike(x) y = Add(x, n)",
    "noise in a branch": "y = If(yes) <then_branch = p () => (float[1,3,8,8] a) { n = RandomUniformLike(x) "
    "a = Mul(x, n) }, else_branch = q () => (float[1,3,8,8] b) { b = Neg(x) }>",
}  # fmt: skip


@pytest.mark.parametrize("nodes", RANDOM.values(), ids=RANDOM)
def test_a_model_that_draws_random_numbers_is_refused(nodes: str) -> None:
    model = graph(
        f"g (float[1,3,8,8] x) => (float[1,3,8,8] y) {{ {nodes} }}",
        ratio=np.array(0.5, np.float32), yes=np.array(True),
    )  # fmt: skip
    with pytest.raises(ModelError, match="something else each time") as caught:
        clean(model)
    assert "model.eval()" in caught.value.hint


def test_random_numbers_that_decide_nothing_do_not_matter() -> None:
    nodes = "n = RandomNormalLike(x) z = Mul(n, zero) y = Add(x, z)"
    model = graph(
        f"g (float[1,3,8,8] x) => (float[1,3,8,8] y) {{ {nodes} }}", zero=np.array(0, np.float32)
    )
    x = normal(1, 3, 8, 8)
    np.testing.assert_array_equal(run_once(clean(model).model, {"x": x})["y"], x)


# Functions and float16


@pytest.mark.parametrize("opset", [13, 17])
def test_functions_are_written_out_and_raised_with_the_rest(opset: int) -> None:
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}, "own" : 1]>
        g (float[1,4] x) => (float[1,4] y) {{ h = own.twice(x) y = own.twice(h) }}
        <domain: "own", opset_import: ["" : 13]> twice (a) => (b) {{ c = Add(a, a) b = Relu(c) }}"""
    )
    cleaned = clean(model)
    assert ops(cleaned) == ["Add", "Relu", "Add", "Relu"]
    assert not cleaned.model.functions
    assert [(o.domain, o.version) for o in cleaned.model.opset_import] == [("", 17)]
    x = np.array([[-1, 0, 2, 3]], np.float32)
    np.testing.assert_array_equal(run_once(cleaned.model, {"x": x})["y"], [[0, 0, 8, 12]])


def test_float16_nodes_stay_float16_in_bodies_too() -> None:
    model = graph(
        """g (float16[1,3,8,8] x, bool c) => (float16[1,3,8,8] y) {
            a = Conv(x, w)
            b = Mul(a, two)
            y = If(c) <then_branch = t () => (float16[1,3,8,8] p) { p = Conv(b, w) },
                else_branch = e () => (float16[1,3,8,8] q) { r = Conv(x, w) q = Softmax(r) }> }""",
        w=np.eye(3, dtype=np.float16).reshape(3, 3, 1, 1), two=np.array(2, np.float16),
    )  # fmt: skip
    cleaned = clean(model)
    assert ops(cleaned) == ["Conv", "If"]
    assert "Cast" not in {n.op_type for n in nodes_in(cleaned.model.graph)}
    x = np.ones((1, 3, 8, 8), np.float16)
    outputs = run_once(cleaned.model, {"x": x, "c": np.array(True)})
    np.testing.assert_array_equal(outputs["y"], x * 2)


# What onnxruntime says


SAID = {
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Reshape node. Name:'r' Status Message: /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) input_shape_size == requested_shape_size was false. The input tensor cannot be reshaped. Input shape:{1,3}, requested shape:{1,2}\n": "Non-zero status code returned while running Reshape node. Name:'r' Status Message: The input tensor cannot be reshaped. Input shape:{1,3}, requested shape:{1,2}",
    "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: x\n index: 2 Got: 16 Expected: 8\n": "Got invalid dimensions for input: x index: 2 Got: 16 Expected: 8",
    "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: /onnxruntime_src/core/upsamplebase.h:314 onnxruntime::Base::Base(const Info&) [with Info = onnxruntime::OpKernelInfo] [ONNXRuntimeError] : 1 : FAIL : upsamplebase.h:548 ScalesValidation Scale value should be greater than 0.": "Exception during initialization: Scale value should be greater than 0.",
    "[ONNXRuntimeError] : 1 : FAIL : Load failed:D:\\a\\core\\graph\\model.cc:150 onnxruntime::Model::Model(std::function<void (int)> f, const char*) const Unsupported (see docs)": "Load failed:Unsupported (see docs)",
    "": "RuntimeError",
}


@pytest.mark.parametrize(("said", "shown"), SAID.items(), ids=range(len(SAID)))
def test_onnxruntimes_sentences_are_shown_without_its_source(said: str, shown: str) -> None:
    assert plain_message(RuntimeError(said)) == shown


def test_a_model_that_does_not_run_prints_nothing_of_its_own(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = graph(
        """g (float[1,3,16,16] x) => (float[1,64] y) {
            s = Constant<value_ints=[1,192]>()
            r = Reshape(x, s)
            y = MatMul(r, w) }""",
        w=normal(192, 64),
    )
    with pytest.raises(ModelError) as caught:
        clean(model)
    assert capfd.readouterr() == ("", "")
    for raw in ("ONNXRuntimeError", "onnxruntime::", ".h:", "\x1b"):
        assert raw not in str(caught.value)
    assert "requested shape:{1,192}" in caught.value.received
