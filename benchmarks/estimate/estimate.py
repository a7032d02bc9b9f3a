"""Everything that is told of a model on a machine: work, floors in every precision and mode, memory, layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgevision.benchmarks.estimate.layers import AS_WRITTEN, Layers, layers_of
from edgevision.benchmarks.estimate.liveness import peak_bytes
from edgevision.benchmarks.estimate.machine import Machine
from edgevision.benchmarks.estimate.network import Network
from edgevision.benchmarks.estimate.roofline import (
    Floor,
    TimedLayer,
    floor_on,
    missing_precision,
)
from edgevision.benchmarks.estimate.subject import Subject
from edgevision.errors import UsageError

__all__ = ["Estimate", "estimate"]

SCHEMA = 1
#: The widest first; those of them that the machine computes in are shown.
_PRECISIONS = ("fp32", "bf16", "fp16", "fp8", "int8")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is told.

    Attributes:
        subject: Of what.
        shapes: Input → shape.
        machine: On what.
        network: Every node.
        work: Precision → layers, the widest first; `AS_WRITTEN` among them if the graph is not all fp32.
        floors: By mode, then by precision.
        chosen: The floor whose layers are shown.
    """

    subject: Subject
    shapes: Mapping[str, tuple[int, ...]]
    machine: Machine
    network: Network
    work: Mapping[str, Layers]
    floors: tuple[Floor, ...]
    chosen: Floor

    @property
    def batch(self) -> int:
        """Pictures that one inference takes: rows of the first input."""
        first = next(iter(self.shapes.values()), ())
        return first[0] if len(first) > 1 else 1

    def to_json(self) -> dict[str, Any]:
        """JSON-ready. Keys are only ever added."""
        any_work = next(iter(self.work.values()))
        return {
            "schema": SCHEMA,
            "model": self.subject.name,
            "variant": self.subject.variant,
            "inputs": {name: list(shape) for name, shape in self.shapes.items()},
            "batch": self.batch,
            "macs": any_work.macs,
            "flops": any_work.flops,
            "parameters": any_work.parameters,
            "unknown": any_work.unknown,
            "machine": {
                "name": self.machine.name,
                "title": self.machine.title,
                "memory_bytes": self.machine.memory_bytes,
                "source": self.machine.source,
            },
            "floors": [_floor(floor, self.batch) for floor in self.floors],
            "memory": {name: self.memory(name) for name in self.work},
            "layers": {
                "mode": self.chosen.mode,
                "precision": self.chosen.precision,
                "rows": [_row(layer, self.chosen.seconds) for layer in self.chosen.layers],
            },
        }

    def memory(self, precision: str) -> dict[str, Any]:
        """Bytes of weights, and of the tensors that are alive together at the worst moment."""
        work = self.work[precision]
        peak = peak_bytes(work.lives)
        total, has = work.weight_bytes + peak, self.machine.memory_bytes
        return {
            "weights_bytes": work.weight_bytes,
            "activations_bytes": peak,
            "total_bytes": total,
            "part_of_device": None if has is None else round(total / has, 6),
        }


def estimate(
    subject: Subject,
    shapes: Mapping[str, tuple[int, ...]],
    machine: Machine,
    *,
    precision: str | None = None,
    mode: str | None = None,
) -> Estimate:
    """Works it all out.

    Args:
        subject: The file.
        shapes: Of its inputs, as `shapes.input_shapes` gives them.
        machine: What it would run on.
        precision: Whose layers are shown; the graph's own if it is not fp32, else the narrowest.
        mode: Likewise; the fastest.

    Raises:
        UsageError: The machine has no such mode, or does not compute in that precision.
        ModelError: The model does not take these shapes.
    """
    from edgevision.benchmarks.estimate.cost import read_network

    network = read_network(subject.file, shapes)
    shown = machine.mode(mode)
    work = {p: layers_of(network, p) for p in _PRECISIONS if p in machine.best.rates}
    own = layers_of(network, AS_WRITTEN)
    if own.precisions not in (("fp32",), ()) and missing_precision(own, machine.best) is None:
        work[AS_WRITTEN] = own
    if precision is not None and precision not in work:
        raise UsageError(
            f"nothing is known of {machine.name} in {precision}",
            expected="one of: " + ", ".join(work),
        )
    if not work:
        raise UsageError(f"nothing is known of how fast {machine.name} computes")
    floors = tuple(floor_on(layers, limits) for limits in machine.modes for layers in work.values())
    last = precision or next(reversed(work))
    chosen = next(f for f in floors if (f.mode, f.precision) == (shown.name, last))
    return Estimate(subject, dict(shapes), machine, network, work, floors, chosen)


def _floor(floor: Floor, batch: int) -> dict[str, Any]:
    rate = floor.rate
    return {
        "mode": floor.mode,
        "precision": floor.precision,
        "floor_ms": _ms(floor.seconds),
        "compute_ms": _ms(floor.compute_s),
        "memory_ms": _ms(floor.memory_s),
        "compulsory_ms": _ms(floor.compulsory_s),
        "bound": floor.bound,
        "fps": round(batch / floor.seconds, 3) if floor.seconds else None,
        "bytes": floor.bytes,
        "layers": len(floor.layers),
        "memory_bound_layers": len(floor.memory_bound),
        "flops_per_s": None if rate is None else rate.flops_per_s,
        "bytes_per_s": floor.bytes_per_s,
        "note": "" if rate is None else rate.note,
    }


def _row(timed: TimedLayer, total: float) -> dict[str, Any]:
    layer = timed.layer
    intensity = layer.intensity
    return {
        "name": layer.name,
        "op": layer.op,
        "fused": list(layer.fused),
        "shape": None if layer.shape is None else list(layer.shape),
        "macs": layer.macs,
        "flops": layer.total_flops,
        "weight_bytes": layer.weight_bytes,
        "read_bytes": layer.read_bytes,
        "write_bytes": layer.write_bytes,
        "flops_per_byte": None if intensity is None else round(intensity, 3),
        "compute_ms": _ms(timed.compute_s),
        "memory_ms": _ms(timed.memory_s),
        "floor_ms": _ms(timed.seconds),
        "share": round(timed.seconds / total, 6) if total else 0.0,
        "bound": timed.bound,
        "unknown": list(layer.unknown),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 9)
