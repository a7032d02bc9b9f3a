"""The floor of a network on a machine: no layer is done before its operations and its bytes allow it.

Williams, Waterman, Patterson: Roofline, Communications of the ACM 52(4), 2009. A layer takes the longer of
computing at the peak rate and moving its bytes at the peak bandwidth; layers follow on each other, so theirs add up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from edgevision.benchmarks.estimate.layers import Layer, Layers
from edgevision.benchmarks.estimate.liveness import peak_bytes
from edgevision.benchmarks.estimate.machine import Limits, Rate

__all__ = ["Floor", "TimedLayer", "floor_on", "missing_precision"]

#: Computed by the same units.
_SAME = {"bf16": "fp16", "tf32": "fp32"}


@dataclass(frozen=True, slots=True)
class TimedLayer:
    """A layer, with the least seconds that its operations and its bytes take."""

    layer: Layer
    compute_s: float
    memory_s: float

    @property
    def seconds(self) -> float:
        return max(self.compute_s, self.memory_s)

    @property
    def bound(self) -> str:
        """``memory`` or ``compute``: what a faster one of would help."""
        return "memory" if self.memory_s > self.compute_s else "compute"


@dataclass(frozen=True)
class Floor:
    """The least time of a network in one precision and power mode.

    Attributes:
        precision: As in `Layers`.
        mode: Name of the power mode.
        layers: In order.
        work: What was timed.
        compulsory_s: Where nothing but weights, inputs and outputs ever left the chip: no engine, however
            good its caches, is below that.
        rate: Of the precision in which most is computed.
        bytes_per_s: At which the network's weights are read.
    """

    precision: str
    mode: str
    layers: tuple[TimedLayer, ...]
    work: Layers
    compulsory_s: float
    rate: Rate | None
    bytes_per_s: float | None

    @cached_property
    def seconds(self) -> float:
        return sum(layer.seconds for layer in self.layers)

    @cached_property
    def compute_s(self) -> float:
        return sum(layer.compute_s for layer in self.layers)

    @cached_property
    def memory_s(self) -> float:
        return sum(layer.memory_s for layer in self.layers)

    @property
    def bound(self) -> str:
        """In which kind of layers most of the time goes."""
        memory = sum(layer.seconds for layer in self.layers if layer.bound == "memory")
        return "memory" if memory > self.seconds / 2 else "compute"

    @property
    def memory_bound(self) -> tuple[TimedLayer, ...]:
        return tuple(layer for layer in self.layers if layer.bound == "memory")

    @property
    def bytes(self) -> int:
        """All that layers move."""
        return sum(layer.layer.bytes for layer in self.layers)


def floor_on(work: Layers, limits: Limits) -> Floor:
    """The floor of a network on a machine in one mode.

    What is computed in a precision whose rate is not known takes no time here: the bytes are still counted.
    Whether it can be computed at all, `missing_precision` says.
    """
    footprint = work.weight_bytes + peak_bytes(work.lives)
    layers = tuple(_timed(layer, limits, footprint) for layer in work.layers)
    compute = sum(layer.compute_s for layer in layers)
    once = work.weight_bytes + work.input_bytes + work.output_bytes
    return Floor(
        precision=work.precision,
        mode=limits.name,
        layers=layers,
        work=work,
        compulsory_s=max(compute, _moved(once, footprint, limits)),
        rate=_rate(work.main_precision or "", limits.rates),
        bytes_per_s=limits.bytes_per_s(footprint),
    )


def missing_precision(work: Layers, limits: Limits) -> str | None:
    """A precision in which the network multiplies and the machine cannot; None if there is none."""
    return next((p for p in work.precisions if _rate(p, limits.rates) is None), None)


def _timed(layer: Layer, limits: Limits, footprint: int) -> TimedLayer:
    """Activations were just made, and lie as near as their size allows; weights were read an inference ago."""
    compute = 0.0
    for (precision, kind), flops in layer.flops.items():
        rate = limits.kinds.get((precision, kind)) or _rate(precision, limits.rates)
        if rate is not None and rate.flops_per_s is not None:
            compute += flops / rate.flops_per_s
    fresh = layer.read_bytes + layer.write_bytes
    memory = _moved(fresh, fresh, limits) + _moved(layer.weight_bytes, footprint, limits)
    return TimedLayer(layer, compute, memory)


def _moved(size: int, working_set: int, limits: Limits) -> float:
    rate = limits.bytes_per_s(working_set)
    return 0.0 if rate is None else size / rate


def _rate(precision: str, rates: Mapping[str, Rate]) -> Rate | None:
    return rates.get(precision) or rates.get(_SAME.get(precision, ""))
