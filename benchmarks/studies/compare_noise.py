"""How often `edgevision compare` is right, on simulated noise and on noise recorded from a real model.

    python benchmarks/studies/compare_noise.py rates [--draws 100] [--recording noise.npz]
    python benchmarks/studies/compare_noise.py record noise.npz MODEL SOURCE [--minutes 3] [--backend ort]
    python benchmarks/studies/compare_noise.py plant MODEL.onnx SLOWER.onnx [--part 0.05]

`rates` counts two things. False alarms: two runs of the same thing of which any metric is said to be slower or faster.
Found: the same with 5 % planted on every query of one side, and a metric is said to be slower; with interleaving. One
series of latencies stands for a machine as time goes by. Runs apart take two stretches of it; interleaved ones take
single queries or blocks in turns, in an order that chance decides, as `bench --vs` does.

`record` adds the latencies of a real model, in the presence of whatever else the machine does, to a file, in units of
20 µs. tests/benchmarks/compare/noise.npz was made with it on a 2-core x86 virtual machine (Zen 4) that seven other jobs
shared: at most 180 s of NanoDet and 100 s of the demo detector at a time, in turns.

`plant` writes a copy of a model that does some of its convolutions twice, so many that they make this part of all
multiplications; the results stay the same. `bench --vs` then has something to find.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgevision.benchmarks.compare.apart import estimate_apart
from edgevision.benchmarks.compare.estimate import Estimate
from edgevision.benchmarks.compare.interleaved import estimate_interleaved
from edgevision.benchmarks.compare.metrics import METRICS
from edgevision.benchmarks.compare.series import Series

RECORDING = Path(__file__).parents[2] / "tests/benchmarks/compare/noise.npz"
UNIT_NS = 20_000
Noise = Callable[[int, np.random.Generator], NDArray[np.float64]]


def alike(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Independent, 5 %: a machine of one's own."""
    return rng.normal(0, 0.05, n)


def autocorrelated(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """10 %, of which a twentieth part is new in each query."""
    steps, level = rng.normal(0, 0.1 * np.sqrt(1 - 0.95**2), n), np.empty(n)
    level[0] = rng.normal(0, 0.1)
    for i in range(1, n):
        level[i] = 0.95 * level[i - 1] + steps[i]
    return level + rng.normal(0, 0.02, n)


def drifting(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """It gets slower by 20 % in a bend, as a chip that warms up, and wanders besides."""
    warm = 0.2 * (1 - np.exp(-3 * np.arange(n) / n))
    return warm + np.cumsum(rng.normal(0, 0.05 / np.sqrt(n), n)) + rng.normal(0, 0.05, n)


def bursts(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """About every 400 queries somebody else makes some fifty of them 1.3 to 3 times as long."""
    level = rng.normal(0, 0.04, n)
    for begin in np.flatnonzero(rng.random(n) < 1 / 400):
        level[begin : begin + rng.geometric(1 / 50)] += np.log(rng.uniform(1.3, 3))
    return level


def steps(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Two levels, 25 % apart, each held for some 250 queries: clocks, or a neighbour who comes and goes."""
    high = np.cumsum(rng.random(n) < 1 / 250) % 2
    return 0.25 * high + rng.normal(0, 0.04, n)


def everything(n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """All of them at once."""
    total: NDArray[np.float64] = np.sum(
        [noise(n, rng) for noise in (alike, autocorrelated, drifting, bursts, steps)], axis=0
    )
    return total


SIMULATED: dict[str, Noise] = {
    noise.__name__: noise for noise in (alike, autocorrelated, drifting, bursts, steps, everything)
}


def simulated(
    noise: Noise, queries: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Series around 10 ms, without an end."""
    while True:
        yield 1e7 * np.exp(noise(queries, rng))


def recorded(
    path: Path, prefix: str, queries: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Stretches of the recordings whose names begin so, each from a place that chance chose, without an end."""
    with np.load(path) as file:
        series = [file[name] * float(UNIT_NS) for name in file.files if name.startswith(prefix)]
    series = [one for one in series if len(one) >= queries]
    while True:
        one = series[rng.integers(len(series))]
        begin = rng.integers(len(one) - queries + 1)
        yield one[begin : begin + queries]


def apart(series: NDArray[np.float64], slower: float, rng: np.random.Generator) -> list[Estimate]:
    """One run after the other: the halves of a series."""
    base, new = np.array_split(series, 2)
    return estimate_apart([_series(base)], [_series(new * slower)], _METRICS, rng)


def interleaved(
    series: NDArray[np.float64], slower: float, rng: np.random.Generator, block: int = 1
) -> list[Estimate]:
    """Blocks in turns."""
    pairs = len(series) // (2 * block)
    turns = series[: pairs * 2 * block].reshape(pairs, 2, block)
    swapped = rng.integers(2, size=pairs)
    base, new = turns[np.arange(pairs), swapped], turns[np.arange(pairs), 1 - swapped]
    return estimate_interleaved(
        _series(base.ravel()), _series(new.ravel() * slower), block, _METRICS, rng
    )


_METRICS = list(METRICS.values())
Design = Callable[[NDArray[np.float64], float, np.random.Generator], list[Estimate]]


def rate(
    source: Iterator[NDArray[np.float64]],
    design: Design,
    slower: float,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, int]:
    """Of so many compares, how many said ``slower`` or ``faster`` of a metric, and ``cannot tell`` of the median."""
    said = {"slower": 0, "faster": 0, "any": 0, "cannot tell": 0}
    for _ in range(draws):
        estimates = design(next(source), slower, rng)
        verdicts = {estimate.verdict for estimate in estimates}
        said["slower"] += "slower" in verdicts
        said["faster"] += "faster" in verdicts
        said["any"] += bool({"slower", "faster"} & verdicts)
        said["cannot tell"] += estimates[0].verdict == "cannot tell"
    return said


def rates(arguments: argparse.Namespace) -> None:
    rng = np.random.default_rng(arguments.seed)
    rows: list[tuple[str, int, Iterator[NDArray[np.float64]]]] = [
        (name, 3000, simulated(noise, 3000, rng)) for name, noise in SIMULATED.items()
    ]
    if arguments.recording.is_file():
        rows += [
            (f"recorded {prefix}", queries, recorded(arguments.recording, prefix, queries, rng))
            for prefix, queries in (("nanodet", 2000), ("nanodet", 4000), ("garments", 1900))
        ]
    draws = arguments.draws
    print(
        f"of {draws} compares each                        false alarms           5 % slower found"
    )
    print(
        f"{'noise':<20}{'queries':>9}{'apart':>12}{'interleaved':>13}{'interleaved':>17}{'in blocks of 4':>16}"
    )
    for name, queries, source in rows:
        if arguments.only not in name:
            continue
        started = time.perf_counter()
        false = [rate(source, design, 1.0, draws, rng)["any"] for design in (apart, interleaved)]
        found = [rate(source, d, 1.05, draws, rng)["slower"] for d in (interleaved, _in_fours)]
        cells = f"{false[0]:>12}{false[1]:>13}{found[0]:>17}{found[1]:>16}"
        print(f"{name:<20}{queries:>9}{cells}    {time.perf_counter() - started:.0f} s", flush=True)


def _in_fours(
    series: NDArray[np.float64], slower: float, rng: np.random.Generator
) -> list[Estimate]:
    return interleaved(series, slower, rng, 4)


def _series(latency_ns: NDArray[np.float64]) -> Series:
    return Series(latency_ns, latency_ns)


def record(arguments: argparse.Namespace) -> None:
    from edgevision.benchmarks.memory import MemorySource
    from edgevision.benchmarks.terms import KeptStages
    from edgevision.frame import Frame
    from edgevision.model import open_model, opened
    from edgevision.preprocess import one_thread
    from edgevision.sources import make_source

    one_thread()
    with open_model(arguments.model, backend=arguments.backend) as model:
        images = []
        with opened(make_source(arguments.source)) as (source, _):
            frame = Frame()
            while len(images) < 20 and source.read(frame):
                images.append(frame.copy().image)
        model.pipeline.ring = kept = KeptStages()
        end = time.monotonic() + 60 * arguments.minutes
        for _ in model.pipeline.stream(MemorySource(images)):
            if time.monotonic() > end:
                break
    known = dict(np.load(arguments.file)) if arguments.file.is_file() else {}
    count = sum(name.startswith(arguments.model.stem) for name in known)
    units = np.round(kept.total_ns() / UNIT_NS)
    known[f"{arguments.model.stem}_{count + 1}"] = np.clip(units, 1, 65535).astype(np.uint16)
    np.savez_compressed(arguments.file, **known)
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1000:.0f} kB, {', '.join(known)}")


def plant(arguments: argparse.Namespace) -> None:
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.shape_inference.infer_shapes(onnx.load(arguments.model))
    graph = model.graph
    weights = {w.name: w for w in graph.initializer}
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.value_info}
    work = {
        node.output[0]: (
            node,
            int(np.prod(shapes[node.output[0]])) * int(np.prod(weights[node.input[1]].dims[1:])),
        )
        for node in graph.node
        if node.op_type == "Conv" and node.input[1] in weights and node.output[0] in shapes
    }
    wanted = arguments.part * sum(macs for _, macs in work.values())
    extra, planted = [], 0
    for node, macs in sorted(work.values(), key=lambda one: -one[1]):
        if planted + macs > wanted * 1.02:
            continue
        planted += macs
        # Other weights: else the engine would see that it is the same work, and do it once.
        weight = numpy_helper.to_array(weights[node.input[1]]) * np.float32(1.001)
        name = f"planted_{len(extra)}"
        graph.initializer.append(numpy_helper.from_array(weight, name))
        again = onnx.NodeProto()
        again.CopyFrom(node)
        again.name, again.input[1], again.output[0] = name, name, f"{name}_out"
        summed = helper.make_node("ReduceSum", [f"{name}_out"], [f"{name}_sum"], keepdims=0)
        graph.node.extend([again, summed])
        extra.append(f"{name}_sum")
    output = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["planted_before" if name == output else name for name in node.output]
        node.input[:] = ["planted_before" if name == output else name for name in node.input]
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "planted_nothing"))
    graph.node.append(helper.make_node("Sum", extra, ["planted_all"]))
    graph.node.append(helper.make_node("Mul", ["planted_all", "planted_nothing"], ["planted_none"]))
    graph.node.append(helper.make_node("Add", ["planted_before", "planted_none"], [output]))
    onnx.checker.check_model(model)
    onnx.save(model, arguments.slower)
    share = planted / sum(macs for _, macs in work.values())
    print(
        f"{arguments.slower}: {len(extra)} convolutions done twice, {share:.1%} of the multiplications"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("rates")
    one.add_argument("--draws", type=int, default=100)
    one.add_argument("--only", default="", help="noises whose names hold this")
    one.add_argument("--seed", type=int, default=1)
    one.add_argument("--recording", type=Path, default=RECORDING)
    one.set_defaults(run=rates)
    one = verbs.add_parser("record")
    one.add_argument("file", type=Path)
    one.add_argument("model", type=Path)
    one.add_argument("source")
    one.add_argument("--minutes", type=float, default=3.0)
    one.add_argument("--backend", default="ort")
    one.set_defaults(run=record)
    one = verbs.add_parser("plant")
    one.add_argument("model", type=Path)
    one.add_argument("slower", type=Path)
    one.add_argument("--part", type=float, default=0.05)
    one.set_defaults(run=plant)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
