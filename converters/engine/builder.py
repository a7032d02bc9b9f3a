"""Parses an ONNX file and builds an engine of it. Runs in the child: this is native code that may crash.

The network is strongly typed: precisions are those of the ONNX file, and the builder takes no precision flag.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from edgevision.converters.engine.built_facts import engine_facts, network_facts
from edgevision.converters.engine.device import facts_for, gpu_for
from edgevision.converters.engine.library import load_library
from edgevision.converters.engine.order import Request
from edgevision.converters.engine.progress import Phases
from edgevision.converters.engine.timing_cache import cache_file, load_cache, save_cache
from edgevision.engine_key import DeviceFacts, key_for
from edgevision.errors import BackendError, ModelError, OutputError
from edgevision.progress import Tell
from edgevision.text import printable
from edgevision.trt.library import Log, log_of

__all__ = ["BUILDING", "PLAN", "build_plan"]

#: What the child leaves in its folder.
PLAN = "plan.engine"
#: The stage in which a build can be stopped, and what it has measured is worth keeping.
BUILDING = "building"
_MOST_ERRORS = 5


def build_plan(
    request: Request, folder: Path, tell: Tell, cancelled: threading.Event
) -> dict[str, Any]:
    """Builds `PLAN` in a folder.

    Args:
        request: What to build.
        folder: An empty folder.
        tell: Told the stage, how much of it is done, and of how much.
        cancelled: Set by somebody else to stop.

    Returns:
        ``key`` (`EngineKey` as a dict), ``device`` (the GPU's name), ``network`` and ``engine`` as
        `read_back.shortfalls` takes them, ``seconds`` {``parse``, ``build``}, ``size_bytes``,
        ``timing_cache`` (whether there was one).

    Raises:
        EdgevisionError: There is no TensorRT, it refuses the model, or the build failed.
    """
    tell("loading TensorRT", 0, None)
    gpu = gpu_for(request.cc)  # before TensorRT, which may end the process where no driver works
    library = load_library(request.libraries)
    facts = facts_for(library.name, library.version, request.cc, gpu)
    key = key_for(facts, request.variant_sha256, request.profile)
    if key in request.taken:
        raise OutputError(
            f"there is an engine of {request.model.name} already",
            received=str(key),
            hint="--force builds it again",
        )
    trt, log = library.module, log_of(library.module)
    if library.name == "tensorrt":
        trt.init_libnvinfer_plugins(log.logger, "")
    builder = log.made("a builder", lambda: trt.Builder(log.logger))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    started = monotonic()
    tell("parsing", 0, None)
    # It is kept until the engine is built: the network's weights are in its memory.
    parser = log.made("a parser", lambda: trt.OnnxParser(network, log.logger))
    _parse(parser, request)
    parsed = monotonic()
    config = _config(trt, builder, log, request, facts)
    timings = None if gpu is None else _timings(request, facts)
    cached = timings is not None and load_cache(config, timings)
    phases = Phases(lambda done, total: tell(BUILDING, done, total), cancelled)
    config.progress_monitor = _monitor(trt, phases)
    log.take(of_all_threads=True)  # what was said of kernel times is no reason why a build fails
    plan = builder.build_serialized_network(network, config)
    built = monotonic()
    if timings is not None:  # of a build that was stopped, too: the next one goes on from there
        save_cache(config, timings)
    if plan is None:
        raise _not_built(request, log, cancelled)
    tell("reading back", 0, None)
    data = memoryview(plan)
    _write(folder / PLAN, data)
    return {
        "key": asdict(key),
        "device": facts.device,
        "network": network_facts(trt, network),
        "engine": None if gpu is None else engine_facts(trt, log, data, folder),
        "seconds": {"parse": round(parsed - started, 2), "build": round(built - parsed, 2)},
        "size_bytes": data.nbytes,
        "timing_cache": cached,
    }


def _write(path: Path, data: memoryview) -> None:
    """Whole, or not at all: on a full disk what was written of it is the room to say so."""
    try:
        path.write_bytes(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _timings(request: Request, facts: DeviceFacts) -> Path | None:
    if request.timing_cache is None or facts.library == "tensorrt-rtx":  # its caches do nothing
        return None
    return cache_file(request.timing_cache, facts)


def _parse(parser: Any, request: Request) -> None:
    unknown = {
        op: node for op, node in request.operators.items() if not parser.supports_operator(op)
    }
    if unknown:
        raise ModelError(
            "TensorRT does not know operators of this model",
            received=", ".join(f"{op} in {printable(node, 80)}" for op, node in unknown.items()),
            expected="operators that its parser has",
            hint="export the model without them; or run it without TensorRT: --backend ort",
        )
    if parser.parse_from_file(str(request.model)):
        return
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    said = [
        printable(
            f"{e.node_name() or 'node ' + str(e.node())} ({e.node_operator()}): {e.desc()}", 400
        )
        for e in errors[:_MOST_ERRORS]
    ]
    raise ModelError(
        f"TensorRT's parser refuses {request.model.name}",
        received="; ".join(said) or "it gives no reason",
        hint="this is a construct that edgevision does not know of: please report it with the model; "
        "--backend ort runs it",
    )


def _config(trt: Any, builder: Any, log: Log, request: Request, facts: DeviceFacts) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # What is float32 in the file is proven in float32; TF32 has 10 bits of mantissa.
    config.clear_flag(trt.BuilderFlag.TF32)
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib * 2**20)
    if facts.library == "tensorrt-rtx":  # it would build for every GPU that it knows
        capability = trt.ComputeCapability
        config.num_compute_capabilities = 1
        named = getattr(capability, f"SM{facts.cc.replace('.', '')}", capability.CURRENT)
        if not config.set_compute_capability(named, 0):
            raise log.refusal(f"compute capability {facts.cc}")
    if request.ranges:
        profile = builder.create_optimization_profile()
        for name, (least, best, most) in request.ranges.items():
            profile.set_shape(name, least, best, most)
        if config.add_optimization_profile(profile) < 0:
            raise log.refusal(
                f"the shapes {request.profile}", "--shape NAME=LEAST..BEST..MOST sets others"
            )
    return config


def _monitor(trt: Any, phases: Phases) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

        def step_complete(self, name: str, step: int) -> bool:
            return phases.step(name, step)

    return Monitor()


def _not_built(request: Request, log: Log, cancelled: threading.Event) -> BackendError:
    if cancelled.is_set():
        return BackendError("the build was cancelled")
    hints = ["if memory ran out: close other programs, or --workspace MIB"]
    if request.workspace_mib is not None:
        hints = ["leave --workspace out, or allow more MiB"]
    if request.ranges:
        hints.append("--shape and --batch may ask for less")
    return BackendError(
        f"TensorRT cannot build {request.model.name}",
        received=log.take(of_all_threads=True),
        hint="; ".join([*hints, "--backend ort runs the model without"]),
    )
