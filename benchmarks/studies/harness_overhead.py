"""What the harness costs a query: scenarios against bare loops over slots of the same session, interleaved.

    python benchmarks/studies/harness_overhead.py [MODEL] [--rounds 40] [--queries 500]

Without MODEL (a bundle or an ONNX file that carries its spec) it is a classifier so small that its inference is
a few microseconds: what is left is overhead. A round runs each of four loops over the same picture from memory,
in an order that changes from round to round; a loop's figure is wall time ÷ queries, all that happens between
two queries included. Told are the medians over the rounds, and the median of the differences within a round
with the range that holds the middle half of them. The processor time is told too: it does not care who else
uses the machine.

    bare engine     slot.submit, slot.wait
    inference-only  `bench --inference-only`
    bare loop       slot.load, submit, wait, decode
    single-stream   `bench`: the shipping pipeline, its stamps, the terms, the samples kept
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from edgevision.benchmarks.memory import MemorySource
from edgevision.benchmarks.plan import Plan
from edgevision.benchmarks.scenarios import SCENARIOS
from edgevision.frame import Image
from edgevision.model import Model, open_model
from edgevision.preprocess import one_thread

SIDE = 8
NAMES = ("bare engine", "inference-only", "bare loop", "single-stream")
LIMIT_US = 20.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--backend", default="ort")
    arguments = parser.parse_args()
    one_thread()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.model or tiny(Path(folder) / "tiny.onnx")
        with open_model(path, backend=arguments.backend, threads=1) as model:
            print(f"{path.name}: {model.executed}")
            wall, processor = measure(model, arguments.rounds, arguments.queries)
    for title, times in (("wall", wall), ("processor", processor)):
        report(title, times)


def measure(model: Model, rounds: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Microseconds a query, wall and processor: two arrays ``(rounds, 4)``."""
    image = np.random.default_rng(1).integers(0, 256, (SIDE * 8, SIDE * 8, 3)).astype(np.uint8)
    loops = [
        bare_engine(model, image),
        scenario(model, image, alone=True),
        bare_loop(model, image),
        scenario(model, image, alone=False),
    ]
    for loop in loops:
        loop(queries)  # buffers and caches
    taken = np.zeros((2, rounds, len(loops)))
    for number in range(rounds):
        for place in range(len(loops)):
            which = (place + number) % len(loops)
            begun = time.perf_counter_ns(), time.process_time_ns()
            loops[which](queries)
            ended = time.perf_counter_ns(), time.process_time_ns()
            taken[:, number, which] = (np.array(ended) - begun) / queries / 1e3
    return taken[0], taken[1]


def bare_engine(model: Model, image: Image) -> Callable[[int], None]:
    slot = model.pipeline.loaded_slot(image)

    def loop(queries: int) -> None:
        for _ in range(queries):
            slot.submit()
            slot.wait()

    return loop


def bare_loop(model: Model, image: Image) -> Callable[[int], None]:
    """What somebody writes by hand with the same parts."""
    slot = model.pipeline.loaded_slot(image)
    decoder = model.pipeline._decoder

    def loop(queries: int) -> None:
        for _ in range(queries):
            transform = slot.load(image)
            slot.submit()
            decoder.decode(slot.wait(), 0, transform)

    return loop


def scenario(model: Model, image: Image, *, alone: bool) -> Callable[[int], None]:
    source, stop = MemorySource([image]), SimpleNamespace(number=0)

    def loop(queries: int) -> None:
        # What comes before the queries (a first inference, opening the source) is a query more or less.
        plan = Plan("single-stream", alone, duration_s=0, min_queries=queries, warmup=0)
        SCENARIOS["single-stream"].run(model, lambda: source, plan, stop)

    return loop


def report(title: str, times: np.ndarray) -> None:
    medians = np.median(times, axis=0)
    print(f"\n{title} time, µs a query")
    for name, median in zip(NAMES, medians, strict=True):
        print(f"  {name:<16}{median:9.2f}")
    for bare, harness in ((0, 1), (2, 3)):
        differences = times[:, harness] - times[:, bare]
        low, middle, high = np.percentile(differences, (25, 50, 75))
        verdict = "within" if middle <= LIMIT_US else "ABOVE"
        print(
            f"  {NAMES[harness]} − {NAMES[bare]}: {middle:.2f} ({low:.2f} to {high:.2f}), "
            f"{verdict} the limit of {LIMIT_US:g}"
        )


def tiny(path: Path) -> Path:
    """A classifier 1×3×8×8 → 192 classes that says how to run it."""
    import onnx
    from onnx import TensorProto, helper

    from edgevision.metadata import KEY, variant_metadata
    from edgevision.spec import InputSpec, ModelSpec, OutputSpec

    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["scores"])],
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 3 * SIDE * SIDE])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ModelSpec("classify", InputSpec(size=(SIDE, SIDE)), OutputSpec("softmax"))
    helper.set_model_props(model, {KEY: variant_metadata("fp32", "fp32", spec)})
    onnx.save(model, path)
    return path


if __name__ == "__main__":
    main()
