"""uint8 pictures are cast before their pixels are moved, which changes no result."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgevision.converters.fp16.pictures import cast_pictures_first

N = helper.make_node
MOVES = {
    "nothing": [],
    "transposed": [N("Transpose", ["x"], ["t"], name="t", perm=[0, 3, 1, 2])],
    "transposed and swapped": [
        N("Transpose", ["x"], ["s"], name="s", perm=[0, 3, 1, 2]),
        N("Gather", ["s", "order"], ["t"], name="t", axis=1),
    ],
    "padded": [
        N("Transpose", ["x"], ["s"], name="s", perm=[0, 3, 1, 2]),
        N("Pad", ["s", "pads", "grey"], ["t"], name="t"),
    ],
}
CONSTANTS: dict[str, Any] = {
    "order": np.array([2, 1, 0]),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "grey": np.uint8(114),
}


def graph(moves: list[onnx.NodeProto], *, extra: str = "") -> onnx.ModelProto:
    last = "t" if moves else "x"
    nodes = [*moves, N("Cast", [last], ["h"], name="cast", to=TensorProto.FLOAT16)]
    nodes.append(N("Mul", ["h", "half"], ["y"], name="mul"))
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT16, ["a", "b", "c", "d"])]
    if extra == "output":
        outputs.append(helper.make_tensor_value_info(last, TensorProto.UINT8, ["a", "b", "c", "d"]))
    if extra == "max":
        nodes.append(N("MaxPool", [last], ["z"], kernel_shape=[2, 2]))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.UINT8, ["a", "b", "e", "f"]))
    if extra == "second cast":
        nodes.append(N("Cast", [last], ["z"], name="second", to=TensorProto.FLOAT))
        outputs.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["a", "b", "c", "d"]))
    used = {name for node in nodes for name in node.input}
    tensors = {"half": np.array(0.5, np.float16), **CONSTANTS}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 4, 6, 3])],
            outputs,
            [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items() if k in used],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def run(model: onnx.ModelProto) -> list[Any]:
    picture = np.random.default_rng(5).integers(0, 256, (1, 4, 6, 3), np.uint8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": picture}))


@pytest.mark.parametrize("extra", ["", "second cast"])
@pytest.mark.parametrize("moves", MOVES.values(), ids=MOVES)
def test_the_cast_comes_first_and_the_result_is_the_same(
    moves: list[onnx.NodeProto], extra: str
) -> None:
    model = graph(moves, extra=extra)
    before = run(model)
    assert cast_pictures_first(model) == [node.name for node in moves]
    onnx.checker.check_model(model, full_check=True)
    for old, new in zip(before, run(model), strict=True):
        np.testing.assert_array_equal(old, new)
    readers = [n.op_type for n in model.graph.node if "x" in n.input]
    assert set(readers) == {"Cast"}
    assert next(n.name for n in model.graph.node if n.op_type == "Cast") == "cast"


@pytest.mark.parametrize("extra", ["output", "max"])
def test_pixels_that_something_else_reads_stay_as_they_are(extra: str) -> None:
    model = graph(MOVES["transposed"], extra=extra)
    before = model.SerializeToString()
    assert cast_pictures_first(model) == []
    assert model.SerializeToString() == before


def test_a_float_input_is_no_picture() -> None:
    model = graph([])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    assert cast_pictures_first(model) == []
