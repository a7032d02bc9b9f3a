"""Opening any model in any engine, running it, and models that behave badly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgevision import registry
from edgevision.backends import BackendOptions, Session, Slot
from edgevision.bundle import open_bundle
from edgevision.choice import choose
from edgevision.frame import Image
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.variant import Variant


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def open_in() -> Iterator[Callable[..., Session]]:
    """Opens a model file or a variant in an engine, skipped where that is not installed; keywords are its options."""
    opened = []

    def open_it(engine: str, what: Path | Variant, **options: Any) -> Session:
        if engine == "openvino":
            pytest.importorskip("openvino", reason="the extra openvino is not installed")
        variant = choose(open_bundle(what)).variant if isinstance(what, Path) else what
        backend = registry.load("backends", engine)()
        opened.append(backend.open(variant, BackendOptions(**options)))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def run() -> Callable[[Slot, Image], Mapping[str, NDArray[Any]]]:
    """Loads a picture, submits it and waits."""

    def run_it(slot: Slot, image: Image) -> Mapping[str, NDArray[Any]]:
        slot.load(image)
        slot.submit()
        return slot.wait()

    return run_it


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[tuple[str, int, list[Any]]],
    constants: Mapping[str, Any] | None = None,
    *,
    side: int = 8,
    more: Sequence[onnx.ValueInfoProto] = (),
) -> Variant:
    """A model of one picture, ``image``: 1×3×side×side, float32."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, side, side]), *more],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    spec = InputSpec((side, side), resize="stretch", scale=1.0)
    return Variant("small", "fp32", path, ModelSpec("classify", spec, OutputSpec("softmax")))


@pytest.fixture(scope="session")
def save_model() -> Callable[..., Variant]:
    return save


@pytest.fixture(scope="session")
def stumbling(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    """Fails at run time when a pixel is above 100: it adds constants of another shape to what it repeats."""
    node = helper.make_node
    return save(
        tmp_path_factory.mktemp("models") / "stumbling.onnx",
        [
            node("ReduceMax", ["image"], ["most"], keepdims=0),
            node("Greater", ["most", "limit"], ["much"]),
            node("Cast", ["much"], ["more"], to=TensorProto.INT64),
            node("Add", ["once", "more"], ["times"]),
            node("Tile", ["image", "times"], ["tiles"]),
            node("Add", ["tiles", "zeros"], ["values"]),
        ],
        [("values", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        {
            "limit": np.float32(100),
            "once": np.array([1, 1, 1, 1]),
            "zeros": np.zeros((1, 3, 8, 8), np.float32),
        },
    )


@pytest.fixture(scope="session")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Variant:
    """A chain of convolutions that takes some tenths of a second."""
    weights = np.full((64, 64, 3, 3), 1e-3, np.float32)
    first = np.full((64, 3, 1, 1), 1e-3, np.float32)
    names = [f"c{n}" for n in range(8)]
    nodes = [helper.make_node("Conv", ["image", "first"], ["c0"])]
    nodes += [
        helper.make_node("Conv", [a, "weights"], [b], pads=[1, 1, 1, 1]) for a, b in pairwise(names)
    ]
    outputs = [(names[-1], TensorProto.FLOAT, [1, 64, 256, 256])]
    constants = {"weights": weights, "first": first}
    path = tmp_path_factory.mktemp("models") / "slow.onnx"
    return save(path, nodes, outputs, constants, side=256)


@pytest.fixture(scope="session")
def strange(tmp_path_factory: pytest.TempPathFactory, models: Any) -> Path:
    """The detector with an operator that no engine knows."""
    model = onnx.load(models.detector)
    model.graph.node[1].op_type = "NoSuchOperator"
    path = tmp_path_factory.mktemp("models") / "strange.onnx"
    onnx.save(model, path)
    return path
