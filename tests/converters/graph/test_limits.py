"""What takes too long, or too much memory, is stopped; nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgevision.converters.graph import limits
from edgevision.converters.graph.clean import clean
from edgevision.converters.graph.execute import trial_feeds
from edgevision.converters.graph.limits import limited
from edgevision.errors import StoppedError

Graph = Callable[..., onnx.ModelProto]

# Each turn keeps one more row of 16 KiB, and there is no last turn.
ENDLESS = """g (float[1,{side},4,4] x) => (float[1,{side},4,4] y, float[?,?] z) {{
    y, z = Loop(, yes, x) <body = b (int64 i, bool c, float[1,n,4,4] a) => (
        bool again, float[1,n,4,4] next, float[4096] row) {{
            next = Relu(a)
            again = Identity(yes)
            row = Identity(thousands) }}> }}"""


@pytest.fixture
def endless(graph: Graph) -> Callable[[int | str], onnx.ModelProto]:
    def make(side: int | str) -> onnx.ModelProto:
        thousands = np.ones(4096, np.float32)
        return graph(ENDLESS.format(side=side), yes=np.array(True), thousands=thousands)

    return make


def wait_for_the_end(stopped: threading.Event) -> None:
    with limited("wait", stopped.set):
        assert stopped.wait(30)
        raise RuntimeError("as onnxruntime does when it is told to stop")


def test_what_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_LONGEST_S", 0.2)
    with pytest.raises(StoppedError, match=r"one wait that takes longer than 0\.2 s") as caught:
        wait_for_the_end(threading.Event())
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_takes_too_much_memory_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([0, 2**30, 2 * 2**30])
    monkeypatch.setattr(limits, "_own_memory", lambda: next(held))
    monkeypatch.setattr(limits, "_free_memory", lambda: 2 * 2**30)
    with pytest.raises(StoppedError, match=r"more than 1\.8 GiB of memory"):
        wait_for_the_end(threading.Event())


def test_an_error_of_its_own_passes_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), limited("division", lambda: None):
        raise ZeroDivisionError
    assert threading.active_count() == before


def test_an_endless_model_is_tried_at_one_size_only(
    endless: Callable[[int | str], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_LONGEST_S", 0.3)
    with pytest.raises(StoppedError, match="Loop"):
        trial_feeds(endless("n"))


def test_an_endless_model_that_keeps_every_turn_is_stopped_before_memory_ends(
    endless: Callable[[int | str], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_free_memory", lambda: 64 * 2**20)
    with pytest.raises(StoppedError, match=r"GiB of memory"):
        clean(endless(3))


def test_constants_that_take_too_long_to_compute_are_found_before_they_are_folded(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 40 products of 4·10^9 multiply-adds, none of which depends on the input.
    products = " ".join(f"m{i + 1} = MatMul(m{i}, m0)" for i in range(40))
    model = graph(
        f"g (float[1] x) => (float[1] y) {{ m0 = ConstantOfShape(sides) {products} "
        "s = ReduceSum<keepdims=0>(m40) y = Add(x, s) }",
        sides=np.array([1600, 1600]),
    )  # fmt: skip
    monkeypatch.setattr(limits, "_LONGEST_S", 0.3)
    with pytest.raises(StoppedError, match="one inference that takes longer"):
        clean(model)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000\n", "memory.current": "400\n", "memory.stat": "anon 300\n"}, 600),
        (
            {
                "memory.max": "1000\n",
                "memory.current": "900\n",
                "memory.stat": "anon 100\ninactive_file 500\nactive_file 250\n",
            },
            850,
        ),
        ({"memory.max": "max\n", "memory.current": "400\n", "memory.stat": ""}, float("inf")),
        ({}, float("inf")),
    ],
    ids=["a container with a limit", "one full of files", "one without", "none"],
)
def test_a_containers_limit_counts(tmp_path: Path, files: dict[str, str], free: float) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert limits._free_in_container(tmp_path) == free
