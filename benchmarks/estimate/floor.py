"""How near to the floor a benchmark came: the entry ``floor`` of its record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgevision import jetson
from edgevision.benchmarks.estimate.layers import AS_WRITTEN, layers_of
from edgevision.benchmarks.estimate.machine import Machine, gpu_target, machine_of_target
from edgevision.benchmarks.estimate.probes import known_rates, machine_of_rates
from edgevision.benchmarks.estimate.roofline import Floor, floor_on, missing_precision
from edgevision.benchmarks.estimate.shapes import input_shapes
from edgevision.benchmarks.record import Record
from edgevision.errors import EdgevisionError, UsageError
from edgevision.onnx_header import read_header
from edgevision.percentiles import summary_ms
from edgevision.preprocess import tensor_size
from edgevision.variant import Variant

__all__ = ["floor_of", "floor_of_run"]

_ROOT = Path("/")
_NS_PER_MS = 1e6


def floor_of(
    onnx_path: Path,
    precision: str,
    machine: Machine,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    mode: str | None = None,
) -> Floor:
    """The floor of one inference of a model.

    Args:
        onnx_path: The ONNX file.
        precision: That is computed in; for ``int8`` and ``as-written`` the graph says what is, and what is not.
        machine: What computes.
        shapes: Input → shape; those that the file declares, where left out.
        mode: Power mode; one without figures counts as the fastest, for no slower one is below that.

    Raises:
        UsageError: Sizes are left open, or the machine does not compute so.
        ModelError: The model does not take these shapes.
        ModuleNotFoundError: There is no onnx.
    """
    from edgevision.benchmarks.estimate.cost import read_network

    known = {limits.name.lower() for limits in machine.modes}
    limits = machine.mode(mode if (mode or "").lower() in known else None)
    network = read_network(onnx_path, shapes or input_shapes(read_header(onnx_path).inputs))
    work = layers_of(network, AS_WRITTEN if precision == "int8" else precision)
    missing = missing_precision(work, limits)
    if missing is not None:
        raise UsageError(f"nothing is known of how fast {machine.name} computes in {missing}")
    return floor_on(work, limits)


def floor_of_run(
    record: Record, variant: Variant, rows: int = 1, *, root: Path = _ROOT
) -> dict[str, Any]:
    """What a run measured beside the floor of what it ran, JSON-ready.

    Args:
        record: The run.
        variant: What ran, with the size that it ran at.
        rows: Rows of its input, where the model leaves them open.
        root: Where the file system begins.

    Returns:
        ``floor_ms`` of one inference and ``measured_over_floor``, with what they rest on; both are None
        where there is no floor, and ``reason`` says why.
    """
    try:
        machine, mode = _machine(record, root)
        shapes = _shapes(record, variant, rows)
        floor = floor_of(variant.file, record.compute, machine, shapes=shapes, mode=mode)
    except EdgevisionError as error:
        return _none(error.problem)
    except ModuleNotFoundError as error:
        return _none(f"it needs {error.name}: pip install 'edgevision[convert]'")
    return _entry(record, machine, floor, next(iter(shapes.values()))[0])


def _entry(record: Record, machine: Machine, floor: Floor, rows: int) -> dict[str, Any]:
    measured, how = _measured_ms(record, rows)
    floor_ms = floor.seconds * 1e3
    rate = floor.rate.flops_per_s if floor.rate is not None else None
    return {
        "floor_ms": round(floor_ms, 6),
        "measured_ms": None if measured is None else round(measured, 6),
        "measured": how,
        "measured_over_floor": round(measured / floor_ms, 3) if measured and floor_ms else None,
        "bound": floor.bound,
        "compulsory_ms": round(floor.compulsory_s * 1e3, 6),
        "precision": record.compute,
        "machine": machine.name,
        "mode": floor.mode,
        "source": machine.source,
        "flops": floor.work.flops,
        "bytes": floor.bytes,
        "flops_per_s": rate,
        "bytes_per_s": floor.bytes_per_s,
        "reason": None,
    }


def _none(reason: str) -> dict[str, Any]:
    return {"floor_ms": None, "measured_over_floor": None, "reason": reason}


def _measured_ms(record: Record, rows: int) -> tuple[float | None, str]:
    """Milliseconds of one inference, and what they are.

    Where inferences overlap, the time of each is shared with others: only their number a second tells. End to
    end each picture is stamped with the whole inference that it was part of.
    """
    pictures = record.samples_per_query
    if record.in_flight > 1:
        inferences = -(-record.queries * pictures // rows)
        per_inference = record.ran_ns / _NS_PER_MS / inferences if inferences else None
        return per_inference, "duration of the run ÷ inferences"
    alone = record.boundary["kind"] == "inference-only"
    p50 = summary_ms(record.stages_ns["compute"])["p50"]
    runs = -(-pictures // rows) if alone else pictures
    return (None if p50 is None else p50 / runs), "p50 of the stage compute"


def _shapes(record: Record, variant: Variant, rows: int) -> dict[str, tuple[int, ...]]:
    spec, source = variant.spec.input, record.source
    inputs = read_header(variant.file).inputs
    size = spec.size
    if size is None and "height" in source:
        size = tensor_size(spec, source["height"], source["width"])
    first = next((t for t in inputs if t.name == spec.tensor), inputs[0])
    open_batch = bool(first.shape) and isinstance(first.shape[0], str)
    return input_shapes(inputs, size=size, batch=rows if open_batch else None, spec=spec)


def _machine(record: Record, root: Path) -> tuple[Machine, str | None]:
    """What ran it, and in which power mode.

    Raises:
        UsageError: Nothing is known of it; says what to do.
    """
    device, threads = str(record.engine["device"]), record.threads["engine"]
    if record.backend == "fake":
        raise UsageError("the backend 'fake' computes nothing")
    if device.lower() == "cpu":
        rates = known_rates(threads)
        if rates is None:
            raise UsageError(
                "this machine was not measured yet: "
                f"edgevision estimate MODEL --target this-machine --threads {threads}"
            )
        return machine_of_rates(rates), None
    target = jetson.board_target(root) or gpu_target(device)
    if target is None:
        raise UsageError(f"nothing is known of how fast {device} is")
    mode = jetson.power_mode(root)
    return machine_of_target(target), mode[1] if mode else None
