"""A tiny classifier that the fake backend runs, and a benchmark of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgevision.backends import BackendOptions
from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.record import Record
from edgevision.benchmarks.run import measure
from edgevision.benchmarks.terms import Plan
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.frame import Image
from edgevision.metadata import KEY, variant_metadata
from edgevision.model import Model, load_variant, open_model
from edgevision.spec import InputSpec, ModelSpec, OutputSpec

SIDE = 8


@pytest.fixture
def sign() -> SimpleNamespace:
    """Asks a run to end by its ``number``, as `edgevision.signals.Stop` does."""
    return SimpleNamespace(number=0)


@pytest.fixture
def ends(sign: SimpleNamespace) -> Callable[[int, int], Any]:
    """Outputs of a fake model that asks the run to end, by a signal, at a query."""

    def ending(signal: int, query: int) -> Any:
        def outputs(_inputs: Mapping[str, Any], number: int) -> Mapping[str, Any]:
            if number == query:
                sign.number = signal
            return {}

        return outputs

    return ending


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX classifier 1×3×8×8 → 1×192 that says how to run it."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    classes = 3 * SIDE * SIDE
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["scores"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec("classify", InputSpec(size=(SIDE, SIDE)), OutputSpec("softmax"))
    helper.set_model_props(model, {KEY: variant_metadata("fp32", "fp32", spec)})
    onnx.save(model, path)
    return path


@pytest.fixture
def open_fake(model_file: Path) -> Iterator[Callable[..., Model]]:
    """Opens the classifier in the fake backend; keywords are its options."""
    opened = []

    def open_it(hint: str = "latency", threads: int = 0, **extra: Any) -> Model:
        bundle = open_bundle(model_file)
        options = BackendOptions(hint, threads, extra=extra)
        model = load_variant(bundle, choose(bundle), options, backend="fake")
        opened.append(model)
        return model

    yield open_it
    for model in opened:
        model.close()


@pytest.fixture
def pictures() -> list[Image]:
    """Three small pictures."""
    return [np.full((SIDE, SIDE, 3), value, np.uint8) for value in (0, 100, 200)]


@pytest.fixture
def record(model_file: Path, pictures: list[Image], sign: SimpleNamespace) -> Record:
    """A valid run of 140 queries."""
    plan = Plan(duration_s=0, min_queries=140, warmup=3)
    with open_model(model_file) as model:
        return measure(model, lambda: MemorySource(pictures), plan, sign)
