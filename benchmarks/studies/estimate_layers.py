"""Convolutions of real networks, each timed alone in onnxruntime on one thread, against its floor on this machine.

    python benchmarks/studies/estimate_layers.py MODEL.onnx… [--rounds 30] [--rates 1.0]

Each distinct convolution of the models becomes a network of its own, with random weights. Its time is that of the
kernel, as onnxruntime's own profile tells it, the least of several rounds that go through all of them in turn: what
brings tensors into the kernels' layout and back (ReorderInput, ReorderOutput) happens once in a network, and would
count every time here. The floor is what `edgevision estimate` tells of the same file, from rates measured before
and after. The profile counts whole microseconds, so a layer that can follow itself is timed as three in a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from edgevision.benchmarks.estimate.cost import read_network
from edgevision.benchmarks.estimate.floor import floor_of
from edgevision.benchmarks.estimate.machine import Machine
from edgevision.benchmarks.estimate.probes import machine_of_rates, measure_rates
from edgevision.benchmarks.estimate.shapes import input_shapes
from edgevision.onnx_header import read_header

REPEATS = 3


@dataclass(frozen=True)
class Layer:
    """One convolution: shapes of its data and weights, and its attributes."""

    data: tuple[int, ...]
    weights: tuple[int, ...]
    attributes: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        options = dict(self.attributes)
        stride, groups = options.get("strides", (1, 1))[0], options.get("group", 1)
        size = f"{self.weights[2]}×{self.weights[3]} {self.data[1]}→{self.weights[0]}"
        side = f"{self.data[2]}×{self.data[3]}"
        return f"{size} on {side}, stride {stride}" + (f", {groups} groups" if groups > 1 else "")


def layers_in(path: Path) -> list[Layer]:
    """The distinct convolutions of a model at the sizes it declares."""
    network = read_network(path, input_shapes(read_header(path).inputs))
    found = {}
    for node in network.nodes:
        if node.op == "Conv":
            data, weights = (network.shape(name) for name in node.inputs[:2])
            options = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in sorted(node.attributes.items())
            }
            if data and weights:
                found[Layer(data, weights, tuple(options.items()))] = None
    return list(found)


def written(layer: Layer, path: Path, repeats: int) -> int:
    """Writes a model of the layer alone, ``repeats`` times in a row if it can follow itself; returns how often."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    follows = layer.weights[0] == layer.data[1] and _keeps_size(layer)
    count = repeats if follows else 1
    for number in range(count):
        value = rng.normal(0, 0.05, layer.weights).astype(np.float32)
        weights.append(numpy_helper.from_array(value, f"w{number}"))
        node = helper.make_node("Conv", [f"x{number}", f"w{number}"], [f"x{number + 1}"])
        node.attribute.extend(helper.make_attribute(k, v) for k, v in layer.attributes)
        nodes.append(node)
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x0", TensorProto.FLOAT, layer.data)],
        [helper.make_empty_tensor_value_info(f"x{count}")],
        weights,
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return count


def _keeps_size(layer: Layer) -> bool:
    options = dict(layer.attributes)
    if any(stride != 1 for stride in options.get("strides", ())):
        return False
    kernel, pads = layer.weights[2:], options.get("pads", (0, 0, 0, 0))
    same = options.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
    return same or all(pads[i] + pads[i + 2] == kernel[i] - 1 for i in (0, 1))


def session_of(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(path.with_suffix(""))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def kernel_seconds(session: ort.InferenceSession, count: int) -> float:
    """The least time of the ``count`` convolutions of one run."""
    events = json.loads(Path(session.end_profiling()).read_text())
    taken: dict[str, list[int]] = {}
    for event in events:
        name = event["name"].removesuffix("_kernel_time")
        if name != event["name"] and "Conv" in event["args"]["op_name"]:
            taken.setdefault(name, []).append(event["dur"])
    if len(taken) != count:
        raise SystemExit(f"{count} convolutions became {len(taken)} kernels: {', '.join(taken)}")
    return min(map(sum, zip(*taken.values(), strict=True))) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--rates", type=float, default=0.5, help="seconds for each probe of rates")
    options = parser.parse_args()
    rates = measure_rates(1, seconds=options.rates)
    with tempfile.TemporaryDirectory() as folder:
        timed = [one for path in options.models for one in measured(path, folder, options.rounds)]
        after = measure_rates(
            1, seconds=options.rates
        )  # of both the best counts: a clock may have risen
        for kind in ("compute", "bandwidth"):
            rates[kind] = [_better(*pair) for pair in zip(rates[kind], after[kind], strict=True)]
        machine = machine_of_rates(rates)
        rows = [compared(*one, machine) for one in timed]
    rate = machine.best.rates["fp32"].flops_per_s or 0
    print(f"{machine.title}, {rate / 1e9:.1f} GFLOP/s fp32; {machine.source}")
    ratios = sorted(row[0] for row in rows)
    for ratio, ms, floor_ms, bound, name in sorted(rows, reverse=True):
        print(f"{ratio:6.2f}×  {ms:9.4f} ms  floor {floor_ms:9.4f} ms by {bound:<8} {name}")
    within = sum(1 <= ratio <= 3 for ratio in ratios)
    print(
        f"{len(ratios)} layers: {within} within 1 to 3×; {ratios[0]:.2f} to {ratios[-1]:.2f}, "
        f"median {statistics.median(ratios):.2f}"
    )


def measured(path: Path, folder: str, rounds: int) -> list[tuple[str, Path, int, float]]:
    """Name, file, repeats and seconds of each layer of a model."""
    prepared = []
    for number, layer in enumerate(layers_in(path)):
        file = Path(folder, f"{path.stem}-{number}.onnx")
        count = written(layer, file, REPEATS)
        data = np.random.default_rng(1).normal(size=layer.data).astype(np.float32)
        prepared.append((f"{path.stem}: {layer}", file, count, session_of(file), data))
    for _ in range(rounds):
        for _, _, _, session, data in prepared:
            session.run(None, {"x0": data})
            session.run(None, {"x0": data})  # its tensors are in the cache then, as in a network
    return [
        (name, file, count, kernel_seconds(session, count) / count)
        for name, file, count, session, _ in prepared
    ]


def compared(
    name: str, file: Path, count: int, seconds: float, machine: Machine
) -> tuple[float, float, float, str, str]:
    """Ratio, milliseconds, floor, what bounds it, and the layer's name."""
    floor = floor_of(file, "fp32", machine)
    least = floor.seconds / count
    return seconds / least, seconds * 1e3, least * 1e3, floor.bound, f"{name} ({count} in a row)"


def _better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Of two measurements of the same, the greater of each figure."""
    return {k: max(v, other[k]) if isinstance(v, float) else v for k, v in one.items()}


if __name__ == "__main__":
    main()
