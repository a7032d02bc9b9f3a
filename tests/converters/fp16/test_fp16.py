"""float16 graphs: what stays float32 and why, that they load, and what they compute with rounding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from edgevision.converters.fp16.emulate import emulated
from edgevision.converters.fp16.from_onnx import Half, half_remainder, to_half
from edgevision.converters.fp16.read_back import read_back_half
from edgevision.converters.fp16.types import half_slots
from edgevision.converters.fp16.weights import as_half
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import difference, run_all, run_once, trial_feeds
from edgevision.converters.graph.index import elem_types
from edgevision.converters.graph.onnx_file import load
from edgevision.converters.int8.calibrate import calibrate
from edgevision.converters.int8.from_onnx import quantize_calibrated
from edgevision.errors import ModelError

Feeds = Callable[[], Iterator[dict[str, np.ndarray]]]

HALF, FLOAT = TensorProto.FLOAT16, TensorProto.FLOAT


def graph(text: str, opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
    """Seeded weights that keep the size of what they are applied to."""
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return (scale * values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def noise(*shape: int, scale: float = 1.0) -> Feeds:
    def feeds() -> Iterator[dict[str, np.ndarray]]:
        generator = np.random.default_rng(3)
        for _ in range(4):
            yield {"x": (scale * generator.normal(size=shape)).astype(np.float32)}

    return feeds


PICTURE = noise(1, 16, 8, 8)
SQUARE = {"w": normal(16, 16, 1, 1), "v": normal(16, 16, 1, 1)}


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}


def reads(half: Half, name: str) -> list[int]:
    """Types of what a node reads."""
    types = elem_types(half.model)
    node = next(n for n in half.model.graph.node if n.name == name)
    return [types[tensor] for tensor in node.input if tensor]


def casts(half: Half) -> Counter[str]:
    return Counter(n.input[0] for n in half.model.graph.node if n.op_type == "Cast")


def check(half: Half, model: onnx.ModelProto, feeds: Feeds, tolerance: float = 4e-3) -> None:
    """It computes what the float32 model does, as onnxruntime runs it and with every rounding."""
    for feed in feeds():
        expected = run_once(model, feed)
        assert difference(expected, run_once(half.model, feed)) < tolerance
        assert difference(expected, run_once(emulated(half.model), feed)) < tolerance


def convert(model: onnx.ModelProto, feeds: Feeds | None = PICTURE) -> Half:
    half = to_half(model, feeds)
    check(half, model, feeds or PICTURE)
    return half


# What becomes float16


def test_layers_are_float16_and_inputs_and_outputs_stay_as_they_were() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y, float[1,16,8,8] s) {
            a = Conv(x, w) r = Relu(a) y = Conv(r, v) s = Sigmoid(y) }""",
        **SQUARE,
    )
    half = convert(model)
    assert (half.report["fp16"], list(half.report["float"])) == (["a", "r", "y"], ["s"])
    assert half.report["read_back"] == {
        "layers": 2, "float_layers": 0, "nodes": 3, "float_nodes": 1, "casts": 2, "weights": 2,
        "inputs": {"x": "float32"}, "outputs": {"y": "float32", "s": "float32"},
    }  # fmt: skip
    assert {a.dtype for a in constants(half.model).values()} == {np.dtype(np.float16)}
    assert "decode tail" in half.report["float"]["s"]


def test_a_constant_is_converted_once_and_kept_where_float32_reads_it() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Mul(x, k) b = Conv(a, w) c = Mul(b, k) d = Conv(c, w) y = Mul(d, k) }""",
        w=SQUARE["w"], k=np.full((16, 1, 1), 0.5, np.float32),
    )  # fmt: skip
    half = convert(model)
    assert {n: a.dtype.name for n, a in constants(half.model).items()} == {
        "w/fp16": "float16", "k/fp16": "float16", "k": "float32",
    }  # fmt: skip


def test_a_tensor_is_cast_once_however_many_read_it() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] p, float[1,16,8,8] q, float[1,16,8,8] y) {
            a = Conv(x, w) b = Conv(x, v) c = Add(a, b) p = Sigmoid(c) q = Tanh(c) y = Conv(c, w) }""",
        **SQUARE,
    )
    assert casts(convert(model)) == {"x": 1, "c/fp16": 1, "y/fp16": 1}


def test_an_output_that_is_read_inside_is_cast_for_the_outside_only() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] a, float[1,16,8,8] y) {
            a = Conv(x, w) r = Relu(a) y = Conv(r, v) }""",
        **SQUARE,
    )
    half = convert(model)
    assert casts(half) == {"x": 1, "a/fp16": 1, "y/fp16": 1}
    assert reads(half, "r") == [HALF]


def test_nodes_between_float32_nodes_are_left_alone() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w) e = Exp(a) t = Transpose<perm = [0,1,3,2]>(e) f = Neg(t) n = Abs(f)
            g = Sqrt(n) y = Conv(g, v) }""",
        **SQUARE,
    )
    half = convert(model)
    assert half.report["fp16"] == ["a", "y"]
    assert all("only add casts" in half.report["float"][name] for name in "tfn")
    assert casts(half) == {"x": 1, "a/fp16": 1, "g": 1, "y/fp16": 1}


def test_weights_born_in_float16_lose_nothing() -> None:
    born = SQUARE["w"].astype(np.float16)
    model = graph(
        "(float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }",
        w=born.astype(np.float32),
    )
    np.testing.assert_array_equal(constants(convert(model).model)["w/fp16"], born)


def test_a_name_that_is_taken_is_not_used_again() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) { a = Conv(x, w) y = Conv(a, v) }""", **SQUARE
    )
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "x/fp16"
    assert convert(model).report["read_back"]["layers"] == 2


def test_the_model_given_is_not_changed_and_the_result_is_the_same_each_time() -> None:
    model = graph("(float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }", w=SQUARE["w"])
    before = model.SerializeToString()
    first, second = (to_half(model, PICTURE).model.SerializeToString() for _ in range(2))
    assert model.SerializeToString() == before
    assert first == second


# Types


def test_resize_keeps_its_scales_and_region_in_float32() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,16,16] y) {
            a = Conv(x, w) b = Resize<mode = "linear">(a, roi, scales) y = Conv(b, v) }""",
        roi=np.zeros(0, np.float32), scales=np.array([1, 1, 2, 2], np.float32), **SQUARE,
    )  # fmt: skip
    assert reads(convert(model), "b") == [HALF, FLOAT, FLOAT]


def test_the_grid_that_is_sampled_keeps_its_places() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,4,4] y) {
            a = Conv(x, w) b = GridSample(a, grid) y = Conv(b, v) }""",
        grid=np.random.default_rng(1).uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32), **SQUARE,
    )  # fmt: skip
    assert reads(convert(model), "b") == [HALF, FLOAT]


BYTES = """(uint8[1,16,8,8] x) => (float[1,16,8,8] y) {
    f = Cast<to = 1>(x) a = Div(f, scale) y = Conv(a, w) }"""


def bytes_feeds() -> Iterator[dict[str, np.ndarray]]:
    yield {"x": np.random.default_rng(2).integers(0, 256, (1, 16, 8, 8), np.uint8)}


@pytest.mark.parametrize(("feeds", "kind"), [(bytes_feeds, HALF), (None, FLOAT)])
def test_a_cast_from_integers_goes_to_float16_if_they_are_known_to_fit(
    feeds: Feeds | None, kind: int
) -> None:
    model = graph(BYTES, scale=np.array(255, np.float32), w=SQUARE["w"])
    half = to_half(model, feeds)
    check(half, model, bytes_feeds)
    cast = next(n for n in half.model.graph.node if n.name == "f")
    assert cast.attribute[0].i == kind


def test_whole_numbers_above_2048_stay_float32() -> None:
    model = graph(
        """(int32[1,16,8,8] x) => (float[1,16,8,8] y) { f = Cast<to = 1>(x) y = Conv(f, w) }""",
        w=SQUARE["w"],
    )

    def feeds() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": np.full((1, 16, 8, 8), 2049, np.int32)}

    assert to_half(model, feeds).report["float"]["f"] == "computes positions or ranks"


def test_a_cast_to_integers_reads_what_there_is() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (int32[1,16,8,8] n, int64[4] size, float[1,16,8,8] y) {
            a = Conv(x, w) n = Cast<to = 6>(a) size = Shape(a) y = Conv(a, v) }""",
        **SQUARE,
    )
    half = to_half(model, PICTURE)
    assert (reads(half, "n"), reads(half, "size")) == ([HALF], [HALF])
    assert casts(half) == {"x": 1, "a/fp16": 1, "y/fp16": 1}, "and none is added for them"


def test_what_takes_its_type_from_an_attribute_stays_float32() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            n = RandomUniformLike<dtype = 1, low = 0.0, high = 0.0>(x)
            zero = ConstantOfShape<value = float[1] {0}>(shape)
            steps = Range(from, to, one)
            a = Conv(x, w) b = Add(a, n) c = Add(b, zero) d = Mul(c, steps) y = Conv(d, v) }""",
        shape=np.array([8, 1], np.int64), **SQUARE,
        **{k: np.array(n, np.float32) for k, n in (("from", 0), ("to", 8), ("one", 1))},
    )  # fmt: skip
    half = convert(model)
    assert sorted(half.report["float"]) == ["n", "steps", "zero"]
    assert reads(half, "b") == [HALF, HALF]


def test_top_k_and_nms_behind_the_layers_load() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,2] best, int64[1,2] where, int64[n,3] kept) {
            a = Conv(x, w) f = Reshape(a, flat)
            best, where = TopK<axis = 1>(f, two)
            b = Reshape(a, boxes) s = Reshape(a, scores) p = Slice(s, zero, sixteen, last)
            kept = NonMaxSuppression(b4, p, ten, half, half)
            b4 = Slice(b, zero, sixteen, axis1) }""",
        **SQUARE, flat=np.array([1, 1024]), boxes=np.array([1, -1, 4]), scores=np.array([1, 2, -1]),
        two=np.array([2]), zero=np.array([0]), sixteen=np.array([16]), last=np.array([2]),
        axis1=np.array([1]), ten=np.array([10]), half=np.array([0.5], np.float32),
    )  # fmt: skip
    nodes = [model.graph.node[i] for i in (0, 1, 2, 3, 4, 5, 7, 6)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    half = to_half(model, PICTURE)
    assert half.report["fp16"] == ["a"]
    run_once(half.model, next(PICTURE()))


@pytest.mark.parametrize(
    ("op", "opset", "inputs", "outputs"),
    [
        ("Conv", 17, 3, ((0, 1, 2), (0,))),
        ("Concat", 17, 5, ((0, 1, 2, 3, 4), (0,))),
        ("Resize", 17, 3, ((0,), (0,))),
        ("BatchNormalization", 17, 5, ((0,), (0,))),  # statistics have types of their own
        ("BatchNormalization", 9, 5, ((0, 1, 2, 3, 4), (0,))),
        ("Range", 17, 3, None),
        ("RandomNormal", 17, 0, None),
        ("EyeLike", 17, 1, None),
        ("Cast", 17, 1, None),
        ("If", 17, 1, None),
        ("NoSuchOperator", 17, 1, None),
        ("QuantizeLinear", 17, 2, None),
        ("QuantizeLinear", 19, 2, ((0, 1), ())),
    ],
)
def test_the_schemas_say_what_may_be_float16(
    op: str, opset: int, inputs: int, outputs: tuple[tuple[int, ...], tuple[int, ...]] | None
) -> None:
    node = helper.make_node(op, [f"i{n}" for n in range(inputs)], ["o"], to=1)
    types = {f"i{n}": FLOAT for n in range(inputs)}
    types["o"] = TensorProto.INT8 if op == "QuantizeLinear" else FLOAT
    slots = half_slots(node, types, opset)
    assert (slots and (slots.inputs, slots.outputs)) == outputs


def test_a_tensor_of_unknown_type_keeps_its_readers_out() -> None:
    node = helper.make_node("Add", ["a", "b"], ["c"])
    assert half_slots(node, {"a": FLOAT, "c": FLOAT}, 17) is None


# Graphs in nodes


def test_a_branch_reads_float32_of_what_is_float16_outside() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            s = ReduceMax<keepdims = 0>(a)
            yes = Greater(s, zero)
            b = If(yes) <
                then_branch = t () => (float[1,16,8,8] p) { p = Mul(a, two) },
                else_branch = e () => (float[1,16,8,8] q) { q = Neg(a) }>
            y = Conv(b, v) }""",
        zero=np.array(0, np.float32), two=np.array(2, np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert {"a", "y"} <= set(half.report["fp16"])
    assert "graphs of its own" in half.report["float"]["b"]


def test_a_branch_in_a_branch_reads_float32_of_weights_and_pictures() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            s = ReduceMax<keepdims = 0>(a)
            yes = Greater(s, zero)
            b = If(yes) <
                then_branch = t () => (float[1,16,8,8] p) {
                    p = If(yes) <
                        then_branch = tt () => (float[1,16,8,8] pt) { o = Mul(a, k) pt = Conv(o, w) },
                        else_branch = te () => (float[1,16,8,8] pe) { pe = Add(x, k) }> },
                else_branch = e () => (float[1,16,8,8] q) { q = Neg(a) }>
            c = Mul(b, k)
            y = Conv(c, v) }""",
        zero=np.array(0, np.float32), k=np.array(0.5, np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert {"a", "c", "y"} <= set(half.report["fp16"])
    kept = constants(half.model)
    assert {n: kept[n].dtype.name for n in ("w", "w/fp16", "k", "k/fp16")} == {
        "w": "float32", "w/fp16": "float16", "k": "float32", "k/fp16": "float16",
    }, "float16 outside, float32 for the branches"  # fmt: skip


def test_a_name_that_a_branch_has_taken_is_not_used_again() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            s = ReduceMax<keepdims = 0>(a)
            yes = Greater(s, zero)
            b = If(yes) <
                then_branch = t () => (float[1,16,8,8] p) { inner = Abs(a) p = Neg(inner) },
                else_branch = e () => (float[1,16,8,8] q) { q = Neg(a) }>
            y = Conv(b, v) }""",
        zero=np.array(0, np.float32), **SQUARE,
    )  # fmt: skip
    branch = next(a.g for n in model.graph.node for a in n.attribute if a.name == "then_branch")
    for name in ("a/fp16", "a/fp16/float", "a/fp16/exact"):
        branch.node[0].output[0] = branch.node[1].input[0] = name
        convert(model)


def test_a_loop_keeps_what_it_carries() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w)
            b = Loop(three, yes, a) <
                body = l (int64 i, bool go, float[1,16,8,8] c) => (bool on, float[1,16,8,8] d) {
                    on = Identity(go) h = Mul(c, k) d = Add(h, a) }>
            y = Conv(b, v) }""",
        three=np.array(3), yes=np.array(True), k=np.array(0.5, np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert half.report["fp16"] == ["a", "y"]
    assert "k" in constants(half.model), "a body reads it"


# Range and precision


LOUD = """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
    a = Conv(x, w) b = Mul(a, loud) r = Relu(b) c = Mul(r, quiet) y = Conv(c, v) }"""
LOUD_WEIGHTS = {"loud": np.array(3e4, np.float32), "quiet": np.array(1e-3, np.float32), **SQUARE}


def test_what_leaves_the_range_stays_float32() -> None:
    half = convert(graph(LOUD, **LOUD_WEIGHTS))
    assert half.report["fp16"] == ["a", "y"]
    assert all("beyond 32752" in half.report["float"][name] for name in "brc")
    assert half.report["frames"] == 4


def test_what_was_not_measured_may_overflow_and_the_report_says_so() -> None:
    model = graph(LOUD, **LOUD_WEIGHTS)
    half = to_half(model)
    assert (half.report["ranges"], half.report["frames"]) == ("unknown", 0)
    assert "no pictures" in half.report["warnings"][0]
    assert {"b", "r", "c"} <= set(half.report["float"]), "noise is loud enough to show it"
    bright = next(noise(1, 16, 8, 8, scale=5e3)())
    seen = run_once(emulated(half.model), bright)["y"]
    assert not np.isfinite(seen).all(), "which is why pictures are asked for"


@pytest.mark.parametrize(
    "nodes",
    [
        "b = Mul(a, a)",
        "p = Abs(a) q = Add(p, a) b = Div(a, q)",
        "t = Transpose<perm = [0,1,3,2]>(a) b = MatMul(a, t)",
        "b = AveragePool<kernel_shape = [1,1]>(a)",
    ],
)
def test_without_pictures_what_may_overflow_stays_float32(nodes: str) -> None:
    text = f"(float[1,16,8,8] x) => (float[1,16,8,8] y) {{ a = Conv(x, w) {nodes} y = Conv(b, v) }}"
    half = to_half(graph(text, **SQUARE))
    assert "no pictures to see" in half.report["float"]["b"]


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ("b = Softmax(a)", "normalisation"),
        ("b = LayerNormalization<axis = -1>(a, g8)", "normalisation"),
        ("b = InstanceNormalization(a, g16, b16)", "normalisation"),
        ("m = ReduceMean(a) b = Add(a, m)", "a sum of many values"),
        ("m = ReduceL2(a) b = Mul(a, m)", "a sum of many values"),
        ("b = Exp(a)", "steep"),
        ("p = Abs(a) b = Sqrt(p)", "steep"),
        ("b, i = TopK<axis = 1>(a, k16)", "positions"),
    ],
)
def test_operators_that_float16_is_too_coarse_for_stay_float32(nodes: str, said: str) -> None:
    text = f"(float[1,16,8,8] x) => (float[1,16,8,8] y) {{ a = Conv(x, w) {nodes} y = Conv(b, v) }}"
    ones = {n: np.ones(n, np.float32) for n in (8, 16)}
    weights = {"g8": ones[8], "g16": ones[16], "b16": 0 * ones[16], "k16": np.array([16])}
    half = convert(graph(text, **weights, **SQUARE))
    name = "m" if "m =" in nodes else "b"
    assert said in half.report["float"][name]
    assert {"a", "y"} <= set(half.report["fp16"])


def test_a_layer_norm_in_pieces_keeps_its_epsilon() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w) m = ReduceMean<axes = [-1]>(a) d = Sub(a, m) p = Pow(d, two)
            v2 = ReduceMean<axes = [-1]>(p) e = Add(v2, eps) s = Sqrt(e) n = Div(d, s)
            y = Conv(n, v) }""",
        two=np.array(2, np.float32), eps=np.array(1e-8, np.float32), **SQUARE,
    )  # fmt: skip
    half = to_half(model, PICTURE)
    assert "too small" in half.report["float"]["e"]
    flat = {"x": np.zeros((1, 16, 8, 8), np.float32)}
    expected, rounded = run_once(model, flat), run_once(emulated(half.model), flat)
    assert difference(expected, rounded) == 0, "0/0 if the epsilon became 0"


def test_a_pool_sums_in_float16_only_where_the_sum_fits() -> None:
    text = """(float[1,16,64,64] x) => (float[1,16,1,1] y) {
        a = Conv(x, w) b = GlobalAveragePool(a) y = Conv(b, v) }"""
    quiet, loud = (
        to_half(graph(text, **SQUARE), noise(1, 16, 64, 64, scale=s)) for s in (0.1, 100)
    )
    assert "b" in quiet.report["fp16"]
    assert "sum" in loud.report["float"]["b"]


@pytest.mark.parametrize(
    ("name", "factor", "input_scale", "said"),
    [
        ("w", 1e6, 1e-4, "beyond 65504"),
        ("w", 1e-7, 1e4, "too small"),
        ("k", 1e6, 1e-4, "beyond 65504"),
        ("k", 1e-9, 1.0, "too small"),
    ],
)
def test_constants_that_do_not_fit_keep_their_node_in_float32(
    name: str, factor: float, input_scale: float, said: str
) -> None:
    weights = {"w": SQUARE["w"], "k": np.ones((16, 1, 1), np.float32), "v": SQUARE["v"]}
    weights[name] = weights[name] * np.float32(factor)
    model = graph(
        "(float[1,16,8,8] x) => (float[1,16,8,8] y) { a = Conv(x, w) b = Mul(a, k) y = Conv(b, v) }",
        **weights,
    )
    half = to_half(model, noise(1, 16, 8, 8, scale=input_scale))
    assert said in half.report["float"]["a" if name == "w" else "b"]


def test_a_dead_channel_does_not_keep_a_layer_in_float32() -> None:
    weights = SQUARE["w"].copy()
    weights[3] = 1e-20
    model = graph("(float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }", w=weights)
    assert convert(model).report["fp16"] == ["y"]


def test_tiny_weights_count_beside_the_bias_of_their_channel() -> None:
    weights, bias = SQUARE["w"].copy(), np.zeros(16, np.float32)
    weights[3] *= 3e-6
    text = "(float[1,16,8,8] x) => (float[1,16,8,8] y) { a = Conv(x, w, b) y = Conv(a, v) }"
    alone = to_half(graph(text, b=bias, **SQUARE | {"w": weights}), PICTURE)
    bias[3] = 1
    beside = to_half(graph(text, b=bias, **SQUARE | {"w": weights}), PICTURE)
    assert "too small" in alone.report["float"]["a"]
    assert "a" in beside.report["fp16"]


def test_a_bound_that_means_none_saturates() -> None:
    lowest, highest = np.finfo(np.float32).min, np.finfo(np.float32).max
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w) b = Clip(a, zero, none) y = Conv(b, v) }""",
        zero=np.array(0, np.float32), none=np.array(highest, np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert "b" in half.report["fp16"]
    assert constants(half.model)["none/fp16"] == 65504
    both = as_half(np.array([lowest, -np.inf, highest], np.float32), saturate=True)
    assert both.tolist() == [-65504, -np.inf, 65504]


def test_what_holds_infinities_stays_float32() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w) p = Pad(a, pads, low)
            b = MaxPool<kernel_shape = [3,3]>(p) y = Conv(b, v) }""",
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]), low=np.array(-np.inf, np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert "not finite" in half.report["float"]["p"]


def test_empty_tensors_pass() -> None:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y, float[1,0,8,8] z) {
            a = Conv(x, w) z = Slice(a, nil, nil, one) b = Concat<axis = 1>(a, none) y = Conv(b, v) }""",
        nil=np.array([0]), one=np.array([1]), none=np.zeros((1, 0, 8, 8), np.float32), **SQUARE,
    )  # fmt: skip
    half = convert(model)
    assert run_once(half.model, next(PICTURE()))["z"].shape == (1, 0, 8, 8)


# What is refused


def test_a_model_without_layers_that_fit_is_refused_with_the_reasons() -> None:
    weights = SQUARE["w"] * np.float32(1e6)
    model = graph("(float[1,16,8,8] x) => (float[1,16,8,8] y) { y = Conv(x, w) }", w=weights)
    with pytest.raises(ModelError, match="nothing in this model") as caught:
        to_half(model, PICTURE)
    assert "beyond 65504" in str(caught.value)
    only = graph("(float[1,8] x) => (float[1,8] y) { y = Relu(x) }")
    with pytest.raises(ModelError, match="no Conv, Gemm or MatMul"):
        to_half(only, noise(1, 8))


def test_a_model_that_is_float16_already_is_refused() -> None:
    model = graph(
        "(float16[1,16,8,8] x) => (float16[1,16,8,8] y) { y = Conv(x, w) }",
        w=SQUARE["w"].astype(np.float16),
    )
    with pytest.raises(ModelError, match="float16 already"):
        to_half(model)


def test_a_quantized_model_is_refused() -> None:
    with pytest.raises(ModelError, match="quantized already"):
        to_half(quantized())


# Reading back


def test_a_layer_that_is_not_float16_after_all_is_found() -> None:
    model = graph(LOUD, **LOUD_WEIGHTS)
    half = to_half(model, PICTURE)
    with pytest.raises(ModelError, match="not what was planned"):
        read_back_half(half.model, layers=["a", "b"])
    with pytest.raises(ModelError, match="not what was planned"):
        read_back_half(model)


def test_types_that_do_not_meet_are_found() -> None:
    half = to_half(graph(LOUD, **LOUD_WEIGHTS), PICTURE)
    next(n for n in half.model.graph.node if n.name == "a").input[1] = "loud"
    with pytest.raises(ModelError, match="not what was planned"):
        read_back_half(half.model)


# Rounding


def test_overflow_shows_with_rounding_and_not_in_onnxruntime() -> None:
    # The reason why `emulated` exists; if the first line fails one day, it may go.
    model = graph(
        """(float[1,4] x) => (float[1,4] y) {
            h = Cast<to = 10>(x) a = Add(h, h) b = Mul(a, q) y = Cast<to = 1>(b) }""",
        q=np.array(0.25, np.float16),
    )
    feed = {"x": np.array([[60000, 2049, 1.0001, 3]], np.float32)}
    assert run_once(model, feed)["y"][0, 0] == 30000
    rounded = run_once(emulated(model), feed)["y"]
    with np.errstate(over="ignore"):
        expected = (feed["x"].astype(np.float16) * np.float16(2)) * np.float16(0.25)
    np.testing.assert_array_equal(rounded, expected.astype(np.float32))


def test_rounding_is_that_of_numpy_after_each_node() -> None:
    model = graph("(float[1,16,1,1] x) => (float[1,16,1,1] y) { y = Conv(x, w) }", w=SQUARE["w"])
    half = convert(model, noise(1, 16, 1, 1))
    x = np.random.default_rng(5).normal(size=(1, 16, 1, 1)).astype(np.float32)
    inner = SQUARE["w"].astype(np.float16).reshape(16, 16).astype(np.float64)
    expected = (inner @ x.astype(np.float16).astype(np.float64).reshape(16)).astype(np.float16)
    actual = run_once(emulated(half.model), {"x": x})["y"].reshape(16)
    np.testing.assert_allclose(actual, expected, rtol=2**-10)
    assert np.array_equal(actual, actual.astype(np.float16))


def test_the_emulated_graph_keeps_the_types_of_its_ends() -> None:
    model = graph(
        "(float16[1,16,8,8] x) => (float16[1,16,8,8] y) { a = Conv(x, w) y = Relu(a) }",
        w=SQUARE["w"].astype(np.float16),
    )
    feed = {"x": next(PICTURE())["x"].astype(np.float16)}
    rounded = run_once(emulated(model), feed)["y"]
    assert rounded.dtype == np.float16
    np.testing.assert_allclose(rounded, run_once(model, feed)["y"], atol=2e-3)


# Beside int8


def quantized() -> onnx.ModelProto:
    model = graph(
        """(float[1,16,8,8] x) => (float[1,16,8,8] y) {
            a = Conv(x, w) r = Relu(a) b = Conv(r, v) y = Sigmoid(b) }""",
        **SQUARE,
    )
    measured = calibrate(model, PICTURE, scheme="trt", rounding=False)
    return quantize_calibrated(model, measured, ranges="minmax", rounding=False).model


def test_the_remainder_of_an_int8_graph_becomes_float16() -> None:
    model = quantized()
    half = half_remainder(model, PICTURE)
    assert half.model.opset_import[0].version == 19
    assert half.report["read_back"]["layers"] == 2
    scales = {n.input[1] for n in half.model.graph.node if n.op_type == "DequantizeLinear"}
    assert {constants(half.model)[name].dtype for name in scales} == {np.dtype(np.float16)}
    for feed in PICTURE():  # a scale that is rounded moves all its steps a little
        expected = run_once(model, feed)
        assert difference(expected, run_once(half.model, feed)) < 0.02
        assert difference(expected, run_once(emulated(half.model), feed)) < 0.02


def test_an_int8_graph_whose_opset_cannot_be_raised_is_a_model_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> onnx.ModelProto:
        raise onnx.version_converter.ConvertError("no adapter")

    monkeypatch.setattr(onnx.version_converter, "convert_version", refuse)
    with pytest.raises(ModelError, match="cannot be raised to opset 19"):
        half_remainder(quantized())


# Real models


def test_nanodet_in_float16(test_data: Path) -> None:
    if not (path := test_data / "models" / "nanodet.onnx").exists():
        pytest.skip("no nanodet.onnx")
    model = clean(load(path)).model
    feeds = trial_feeds(model)
    half = to_half(model, lambda: iter(feeds))
    counts = half.report["read_back"]
    assert (counts["layers"], counts["float_layers"]) == (37, 0)
    assert len(half.model.SerializeToString()) < 0.52 * len(model.SerializeToString())
    for run in (half.model, emulated(half.model)):
        for expected, actual in zip(run_all(model, feeds), run_all(run, feeds), strict=True):
            for name, array in expected.items():
                assert np.abs(array - actual[name]).max() < 0.02 * np.abs(array).max()


LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_light_models_of_the_onnx_wheel_load_and_agree(name: str) -> None:
    if not (path := LIGHT / f"light_{name}.onnx").exists():
        pytest.skip("this onnx comes without them")
    # Their weights are all 0.02, so values grow from layer to layer, beyond float16 in the end.
    model = clean(load(path)).model
    feeds = trial_feeds(model)
    half = to_half(model, lambda: iter(feeds))
    assert half.report["read_back"]["layers"] >= 12
    for expected, actual in zip(
        run_all(model, feeds), run_all(emulated(half.model), feeds), strict=True
    ):
        assert difference(expected, actual) < 5e-3
