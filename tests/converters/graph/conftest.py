"""Small graphs in onnx's text form, and what onnx's reference evaluator makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from edgevision.converters.graph.execute import run_once
from edgevision.converters.graph.passes import Pass, run_passes
from edgevision.converters.graph.pruning import Unused


def _graph(text: str, opset: int = 17, **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def _after(each: Pass, model: onnx.ModelProto, **feed: np.ndarray) -> list[str]:
    before = model.SerializeToString()
    outcome = run_passes(model, [each, Unused()])
    assert model.SerializeToString() == before, "the model given must not be changed"
    assert not outcome.undone
    onnx.checker.check_model(outcome.model)
    expected = ReferenceEvaluator(model).run(None, feed)
    actual = run_once(outcome.model, feed, optimize=False)
    assert [*actual] == [v.name for v in model.graph.output]
    for left, right in zip(expected, actual.values(), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
    return [node.op_type for node in outcome.model.graph.node]


@pytest.fixture(scope="session")
def graph() -> Callable[..., onnx.ModelProto]:
    """``graph(text, opset=17, **constants)``."""
    return _graph


@pytest.fixture(scope="session")
def normal() -> Callable[..., np.ndarray]:
    """``normal(*shape)``: float32, the same each time."""
    return _normal


@pytest.fixture(scope="session")
def after() -> Callable[..., list[str]]:
    """``after(pass, model, **feed)``: the operators left, once the outputs are seen to be the same."""
    return _after
