"""What is known of devices: INT8 scheme, rates, memory, bandwidth and the software they need, each with its source.

The figures are data, in ``targets.json`` beside this file. What no published page gives is left out there
and is None here. NVIDIA advertises rates that only weights with 2:4 sparsity reach: dense is half.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from edgevision.errors import UsageError

__all__ = ["Mode", "Rate", "Target", "load", "names", "target_text", "targets_table"]

_DATA = Path(__file__).with_suffix(".json")


@dataclass(frozen=True, slots=True)
class Rate:
    """Peak operations of the matrix units, 10¹² a second; a multiply-add counts as two.

    Attributes:
        dense: With any weights.
        sparse: With weights of which two in four are zero.
    """

    dense: float | None
    sparse: float | None


@dataclass(frozen=True, slots=True)
class Mode:
    """What a device reaches in one power mode.

    Attributes:
        name: As nvpmodel calls it; ``default`` where there is one only.
        bandwidth_gbs: Peak of the memory, 10⁹ bytes a second.
        gpu: Precision (``fp16``, ``int8``, ``fp8``, ``fp4``) → rate of the GPU alone.
        dla: Precision → rate of all DLA engines together.
    """

    name: str
    bandwidth_gbs: float | None = None
    gpu: Mapping[str, Rate] = field(default_factory=dict)
    dla: Mapping[str, Rate] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """One device, or one class of processors.

    Attributes:
        name: What it is called here, such as ``orin-nano-8gb``.
        title: For people.
        kind: ``jetson``, ``gpu`` or ``cpu``.
        int8: INT8 scheme for it, as ``--target`` takes it; empty if it has no INT8.
        estimate_only: Its software is too old for engines built here; the figures serve estimates.
        compute_capability: Of an NVIDIA GPU, such as ``8.7``.
        memory_gb: Memory of the device, of a Jetson shared by processor and GPU.
        power_w: The power modes, or the board's power, in watts.
        dla_engines: Deep Learning Accelerators.
        advertised_tops: The figure the module is sold by: INT8, GPU and DLA together, sparse where it can.
        needs: Least version by name (``tensorrt``, ``jetpack``, ``onnxruntime``).
        has: The newest versions there will be, where these are too old.
        modes: In rising order; the last one is the fastest.
        sources: Field → where its figures come from.
        note: What else to know.
    """

    name: str
    title: str
    kind: str
    int8: str = ""
    estimate_only: bool = False
    compute_capability: str | None = None
    memory_gb: float | None = None
    power_w: tuple[float, ...] = ()
    dla_engines: int = 0
    advertised_tops: float | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    has: Mapping[str, str] = field(default_factory=dict)
    modes: tuple[Mode, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def best(self) -> Mode:
        """The fastest mode; one without figures where none is known."""
        return self.modes[-1] if self.modes else Mode("default")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with every field; rates as ``{"dense": …, "sparse": …}``."""
        plain = {key: getattr(self, key) for key in self.__dataclass_fields__}
        plain["modes"] = [
            {
                "name": mode.name,
                "bandwidth_gbs": mode.bandwidth_gbs,
                "gpu_tops": _plain(mode.gpu),
                "dla_tops": _plain(mode.dla),
            }
            for mode in self.modes
        ]
        return plain


def names() -> list[str]:
    """All targets: CPUs, then Jetsons from small to large, then cards."""
    return list(_data()["targets"])


def load(name: str) -> Target:
    """One target.

    Raises:
        UsageError: No such target; the message lists those there are.
    """
    if name not in names():
        raise UsageError(f"unknown target {name!r}", expected=f"one of: {', '.join(names())}")
    entry = dict(_data()["targets"][name])
    texts = _data()["sources"]
    entry["sources"] = {key: texts[source] for key, source in entry["sources"].items()}
    entry["modes"] = tuple(_mode(mode) for mode in entry.get("modes", ()))
    entry["power_w"] = tuple(entry.get("power_w", ()))
    return Target(name=name, **entry)


def targets_table() -> str:
    """Every target on one line, in its fastest mode."""
    head = (
        "target",
        "int8",
        "cc",
        "TOPS int8",
        "sparse",
        "DLA",
        "fp16",
        "GB/s",
        "GB",
        "W",
        "needs",
    )
    rows = [head, *(_row(load(name)) for name in names())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, 1, len(head) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_LEGEND])


_LEGEND = (
    "TOPS of the GPU in the fastest mode, dense; 'sparse' needs weights with 2:4 sparsity.",
    "DLA: int8, dense, on top of that. -: not published.",
    "*: for estimates only; its newest TensorRT is older than what engines are built for.",
    "One in full, with the sources: edgevision targets NAME",
)


def target_text(target: Target) -> str:
    """One target in full, every figure with where it comes from."""
    facts = [
        ("int8 scheme", target.int8 or "none", ""),
        ("compute capability", target.compute_capability or "", "compute_capability"),
        ("memory", f"{_number(target.memory_gb)} GB", "memory_gb"),
        ("power", f"{', '.join(map(_number, target.power_w))} W", "power_w"),
        ("DLA engines", _number(target.dla_engines), "dla_engines"),
        ("advertised", f"{_number(target.advertised_tops)} TOPS int8", "advertised_tops"),
        ("needs", _versions(target.needs), "needs"),
        ("has at most", _versions(target.has), "has"),
    ]
    lines = [f"{target.name}: {target.title}"]
    for label, value, key in facts:
        if not key or key in target.sources:
            source = f"  [{_place(target, key)}]" if key else ""
            lines.append(f"  {label:<19} {value}{source}")
    for mode in target.modes:
        lines.append(f"  mode {mode.name}  [{_place(target, 'modes')}]")
        lines += [f"    {line}" for line in _mode_lines(mode)]
    if target.estimate_only:
        lines.append("  for estimates only: no engine is built for it")
    lines += [f"  note: {target.note}"] if target.note else []
    return "\n".join([*lines, "", *_source_lines(target)])


@cache
def _data() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(_DATA.read_text(encoding="utf-8"))
    return data


def _mode(entry: Mapping[str, Any]) -> Mode:
    rates = {
        unit: {precision: Rate(*pair) for precision, pair in entry.get(unit, {}).items()}
        for unit in ("gpu", "dla")
    }
    return Mode(entry["name"], entry.get("bandwidth_gbs"), rates["gpu"], rates["dla"])


def _plain(rates: Mapping[str, Rate]) -> dict[str, dict[str, float | None]]:
    return {name: {"dense": r.dense, "sparse": r.sparse} for name, r in rates.items()}


def _row(target: Target) -> tuple[str, ...]:
    best, none = target.best, Rate(None, None)
    int8 = best.gpu.get("int8", none)
    return (
        target.name + ("*" if target.estimate_only else ""),
        target.int8 or "none",
        target.compute_capability or "-",
        _number(int8.dense),
        _number(int8.sparse),
        _number(best.dla.get("int8", none).dense),
        _number(best.gpu.get("fp16", none).dense),
        _number(best.bandwidth_gbs),
        _number(target.memory_gb),
        _number(max(target.power_w, default=None)),
        _versions(dict(list(target.needs.items())[-1:])) or "-",  # JetPack brings its TensorRT
    )


def _mode_lines(mode: Mode) -> list[str]:
    lines = [f"memory  {_number(mode.bandwidth_gbs)} GB/s"]
    for unit, rates in (("GPU", mode.gpu), ("DLA", mode.dla)):
        for precision, rate in rates.items():
            sparse = "" if rate.sparse is None else f", {_number(rate.sparse)} sparse"
            lines.append(f"{unit}  {precision:<5} {_number(rate.dense)} TOPS dense{sparse}")
    return lines


def _place(target: Target, key: str) -> int:
    """The number of a field's source in the list below."""
    return _distinct(target).index(target.sources[key]) + 1


def _source_lines(target: Target) -> list[str]:
    return [f"  [{number}] {text}" for number, text in enumerate(_distinct(target), 1)]


def _distinct(target: Target) -> list[str]:
    return list(dict.fromkeys(target.sources.values()))


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{_PRODUCTS[name]} {version}" for name, version in versions.items())


_PRODUCTS = {"tensorrt": "TensorRT", "jetpack": "JetPack", "onnxruntime": "onnxruntime"}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
