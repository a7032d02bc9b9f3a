"""A batch that was baked in is freed, or the model refused; rows are compared with pictures alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.converters.graph.clean import Cleaned, clean
from edgevision.converters.graph.execute import difference, run_once
from edgevision.converters.graph.index import shape_of
from edgevision.converters.graph.onnx_file import load
from edgevision.errors import ModelError

Graph = Callable[..., onnx.ModelProto]
Normal = Callable[..., np.ndarray]

BAKED = {
    "Reshape": "r = Reshape(x, flat) y = Relu(r)",
    "Reshape with an open dim": "r = Reshape(x, open) y = Relu(r)",
    "Reshape there and back": "r = Reshape(x, rows) s = Softmax(r) y = Reshape(s, flat)",
    "computed shape": "s = Cast<to=7>(shape_as_float) r = Reshape(x, s) y = Relu(r)",
    "Resize to a size": "u = Resize(x, , , sizes) y = Flatten(u)",
    "Concat with zeros": "c = Concat<axis=1>(x, pad) y = Flatten(c)",
    "Expand": "e = Expand(x, own) y = Flatten(e)",
    "Constant node": "s = Constant<value_ints=[1,36]>() r = Reshape(x, s) y = Relu(r)",
}
CONSTANTS = {
    "flat": np.array([1, 36]), "open": np.array([1, -1]), "rows": np.array([12, 3]),
    "shape_as_float": np.array([1, 36], np.float32), "sizes": np.array([1, 4, 6, 6]),
    "pad": np.full((1, 2, 3, 3), 0.5, np.float32), "own": np.array([1, 4, 3, 3]),
    "seventeen": np.array([9, -1]),
}  # fmt: skip


def alone_and_together(model: onnx.ModelProto, cleaned: Cleaned, x: np.ndarray) -> None:
    """The original, one picture at a time, is the judge."""
    (name,) = (v.name for v in model.graph.input)
    together = run_once(cleaned.model, {name: x})
    for row in range(len(x)):
        one = x[row : row + 1]
        expected = run_once(model, {name: one})
        assert difference(expected, {k: v[row : row + 1] for k, v in together.items()}) < 1e-3
        assert difference(expected, run_once(cleaned.model, {name: one})) < 1e-3


@pytest.mark.parametrize("nodes", BAKED.values(), ids=BAKED)
@pytest.mark.parametrize("asked", ["N", 3])
def test_a_baked_batch_is_freed(graph: Graph, normal: Normal, nodes: str, asked: int | str) -> None:
    model = graph(f"g (float[1,4,3,3] x) => (float[1,n] y) {{ {nodes} }}", **CONSTANTS)
    cleaned = clean(model, shapes={"x": [asked, 4, 3, 3]})
    (output,) = cleaned.model.graph.output
    assert (shape_of(output) or [])[0] == asked
    x = normal(3, 4, 3, 3)
    if asked == "N":
        alone_and_together(model, cleaned, x)
    else:
        rows = run_once(cleaned.model, {"x": x})["y"]
        expected = [run_once(model, {"x": x[i : i + 1]})["y"] for i in range(3)]
        np.testing.assert_allclose(rows, np.concatenate(expected), rtol=1e-5, atol=1e-6)


MIXED = {
    "rows of one picture": "y = Reshape(x, seventeen)",
    "mean over the batch": "m = ReduceMean<axes=[0]>(x) s = Sub(x, m) y = Flatten(s)",
    "sum of all": "y = ReduceSum<keepdims=0>(x)",
    "first picture only": "f = Slice(x, zero, one) y = Flatten(f)",
}


@pytest.mark.parametrize("nodes", MIXED.values(), ids=MIXED)
def test_a_model_that_cannot_take_a_batch_is_refused(graph: Graph, nodes: str) -> None:
    model = graph(
        f"g (float[1,4,3,3] x) => (float[] y) {{ {nodes} }}",
        **CONSTANTS, zero=np.array([0]), one=np.array([1]),
    )  # fmt: skip
    with pytest.raises(ModelError, match="cannot take any number of pictures") as caught:
        clean(model, shapes={"x": ["N", 4, 3, 3]})
    assert caught.value.received
    assert "dynamic batch" in caught.value.hint


def test_one_picture_needs_no_proof(graph: Graph) -> None:
    model = graph(
        "g (float[1,4,3,3] x) => (float[9,4] y) { y = Reshape(x, seventeen) }", **CONSTANTS
    )
    assert shape_of(clean(model, shapes={"x": [1, 4, 3, 3]}).model.graph.output[0]) == [9, 4]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("blazeface-back", [256, 256, 3]), ("selfie", [256, 256, 3]), ("nanodet", [3, 416, 416])],
)
def test_real_models_with_a_baked_batch_take_any(
    test_data: Path, name: str, shape: list[int]
) -> None:
    model = load(test_data / "models" / f"{name}.onnx")
    cleaned = clean(model, shapes={model.graph.input[0].name: ["batch", *shape]})
    assert all((shape_of(v) or [])[0] == "batch" for v in cleaned.model.graph.output)
    x = np.random.default_rng(0).uniform(-1, 1, (3, *shape)).astype(np.float32)
    alone_and_together(model, cleaned, x)


def test_movenet_which_gathers_for_one_person_is_refused(test_data: Path) -> None:
    model = load(test_data / "models" / "movenet-lightning.onnx")
    with pytest.raises(ModelError, match="cannot take any number of pictures"):
        clean(model, shapes={"input:0": ["N", 192, 192, 3]})
