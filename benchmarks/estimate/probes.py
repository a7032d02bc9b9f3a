"""What this machine's processor reaches: convolutions in each precision and engine, and copies of every size.

The best that any engine reaches in a stack of plain convolutions is taken as the peak of a precision, the best
of copying and reading as the bandwidth. Both are kept in the user's cache, for a processor, a number of threads
and versions of the engines.
"""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np

from edgevision import device, registry
from edgevision.backends import BackendOptions, Session
from edgevision.benchmarks.estimate.flops import DENSE
from edgevision.benchmarks.estimate.machine import THIS, Limits, Machine, Rate
from edgevision.benchmarks.estimate.stacks import STACKS, Stack
from edgevision.errors import BackendError, UsageError
from edgevision.spec import InputSpec, ModelSpec, OutputSpec
from edgevision.user_cache import user_cache
from edgevision.variant import Variant
from edgevision.whole_file import write_whole

__all__ = ["known_rates", "machine_of_rates", "measure_rates"]

_SCHEMA = 1
#: Engine, precision that it is to compute in; the graph's precision is int8 or fp32.
_ENGINES = (
    ("ort", "fp32"),
    ("ort", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
_SIZES = tuple(2**power for power in (17, 19, 21, 23, 25, 27, 28))
_LEAST_RUNS = 4


def known_rates(threads: int = 0) -> dict[str, Any] | None:
    """What was measured here before; None if nothing was, or the processor or an engine is another now."""
    path = _kept(threads or device.cpu_count())
    if path is None:
        return None
    try:
        rates = json.loads(path.read_text(encoding="utf-8"))
        machine_of_rates(rates)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(rates) if rates.get("key") == _key(threads or device.cpu_count()) else None


def measure_rates(
    threads: int = 0, *, seconds: float = 0.2, tell: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Measures this machine, which ought to have nothing else to do, and keeps the result.

    Args:
        threads: That engines and copies may use; 0 is every core.
        seconds: For each of about 50 probes.
        tell: Called with the name of what comes next.

    Returns:
        JSON-ready: ``key``, ``measured_at``, ``compute`` (a list of every probe) and ``bandwidth``.
    """
    threads = threads or device.cpu_count()
    rates = {
        "schema": _SCHEMA,
        "key": _key(threads),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "compute": list(_compute(threads, seconds, tell or (lambda _: None))),
        "bandwidth": [_bandwidth(size, threads, seconds / 2) for size in _SIZES],
    }
    path = _kept(threads)
    if path is not None:
        with suppress(OSError):  # a cache: what cannot be kept is measured again
            write_whole(path, json.dumps(rates, indent=2).encode())
    return rates


def machine_of_rates(rates: Mapping[str, Any]) -> Machine:
    """The machine that was measured; the best probe of each precision counts.

    Raises:
        KeyError, TypeError, ValueError: These are no rates, or of another version.
    """
    if rates["schema"] != _SCHEMA:
        raise ValueError(f"rates of schema {rates['schema']}")
    best: dict[tuple[str, str], Rate] = {}
    for probe in rates["compute"]:
        found, which = _positive(probe["gflops"]), (str(probe["precision"]), str(probe["kind"]))
        if which not in best or found > (best[which].flops_per_s or 0):
            best[which] = Rate(found, f"{probe['engine']}, {probe['stack']}")
    moved = [
        (int(entry["bytes"]), max(_positive(entry["copy_gbs"]), _positive(entry["read_gbs"])))
        for entry in rates["bandwidth"]
    ]
    # What is larger is no faster: a noisy probe of a small size must not say so.
    falling = [(size, max(rate for _, rate in moved[at:])) for at, (size, _) in enumerate(moved)]
    key = rates["key"]
    threads = int(key["threads"])
    mode = Limits(
        f"{threads} thread{'' if threads == 1 else 's'}",
        {precision: rate for (precision, kind), rate in best.items() if kind == DENSE},
        tuple(falling),
        {which: rate for which, rate in best.items() if which[1] != DENSE},
    )
    source = f"measured {rates['measured_at']} by convolutions ({_engines(rates)}) and copies"
    return Machine(THIS, str(key["processor"]), (mode,), device.memory_mb() * 2**20, source)


def _positive(giga: Any) -> float:
    """10⁹ of something a second; what is no such number is an error."""
    value = float(giga) * 1e9
    if not 0 < value < math.inf:
        raise ValueError(f"no rate: {giga}")
    return value


def _engines(rates: Mapping[str, Any]) -> str:
    return ", ".join(dict.fromkeys(f"{p['engine']} {p['version']}" for p in rates["compute"]))


def _key(threads: int) -> dict[str, Any]:
    """What the rates are of: with anything else they are measured again."""
    versions = {}
    for name in ("onnxruntime", "openvino", "numpy"):
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "processor": device.cpu_name(),
        "features": hashlib.sha256(" ".join(sorted(device.cpu_features())).encode()).hexdigest()[
            :12
        ],
        "threads": threads,
        "libraries": versions,
    }


def _kept(threads: int) -> Path | None:
    folder = user_cache("rates")
    if folder is None:
        return None
    name = hashlib.sha256(json.dumps(_key(threads), sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"{name}.json"


def _compute(threads: int, seconds: float, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    for engine, precision in _ENGINES:
        for stack in STACKS:
            tell(f"{engine} {precision}")
            try:
                session = _opened(engine, precision, threads, stack)
            except (BackendError, UsageError):  # not installed, or the processor has no such type
                break
            try:
                yield {
                    "engine": engine,
                    "version": session.executed.version,
                    "precision": precision,
                    "kind": stack.kind,
                    "stack": str(stack),
                    "gflops": round(stack.flops / _fastest(session, seconds) / 1e9, 2),
                }
            finally:
                session.close()


def _opened(engine: str, precision: str, threads: int, stack: Stack) -> Session:
    from edgevision.benchmarks.estimate.cost import onnx_file

    graph = "int8" if precision == "int8" else "fp32"
    spec = ModelSpec("classify", InputSpec(size=(stack.side, stack.side)), OutputSpec("softmax"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "probe.onnx")
        file.write_bytes(onnx_file(stack.text(quantized=graph == "int8")))
        variant = Variant(graph, graph, file, spec)
        compute = precision if precision == "bf16" else None
        options = BackendOptions("latency", threads, compute)
        session: Session = registry.load("backends", engine)().open(variant, options)
        return session


def _fastest(session: Session, seconds: float) -> float:
    """Seconds of the fastest of many runs, each shorter than others are given a core for: load hardly matters.

    Not processor time: what the threads of an engine used until now is known to the kernel's last tick only.
    """
    slot = session.slot()
    best, end, runs = float("inf"), time.perf_counter() + seconds, 0
    with session.attach():
        while runs < _LEAST_RUNS or time.perf_counter() < end:
            begin = time.perf_counter()
            slot.submit()
            slot.wait()
            best, runs = min(best, time.perf_counter() - begin), runs + 1
    return best


def _bandwidth(size: int, threads: int, seconds: float) -> dict[str, Any]:
    """Bytes a second over all threads, each on its part of a working set of ``size`` bytes."""
    with ThreadPoolExecutor(threads) as pool:
        together = Barrier(threads)

        def rate(work: Callable[[Any, Any], int]) -> float:
            parts = [
                pool.submit(_moved, work, size // threads, seconds, together)
                for _ in range(threads)
            ]
            return sum(part.result() for part in parts)

        return {"bytes": size, "copy_gbs": round(rate(_copy), 2), "read_gbs": round(rate(_read), 2)}


def _moved(work: Callable[[Any, Any], int], size: int, seconds: float, together: Barrier) -> float:
    """10⁹ bytes a second of one thread, the fastest of many passes."""
    a, b = np.ones(size // 8, np.float32), np.ones(size // 8, np.float32)
    passes = max(1, 2**22 // size)  # a clock is too coarse for one pass over little
    together.wait()
    best, end = 0.0, time.perf_counter() + seconds
    while not best or time.perf_counter() < end:
        begin = time.thread_time()
        moved = sum(work(a, b) for _ in range(passes))
        best = max(best, moved / (time.thread_time() - begin) / 1e9)
    return best


def _copy(source: Any, target: Any) -> int:
    np.copyto(target, source)
    return int(source.nbytes + target.nbytes)


def _read(first: Any, second: Any) -> int:
    first.max()
    second.max()
    return int(first.nbytes + second.nbytes)
