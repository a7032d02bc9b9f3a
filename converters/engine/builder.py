"""Parses an ONNX file and builds an engine of it. Runs in the child: this is native code that may crash.

The network is strongly typed: precisions are those of the ONNX file, and the builder takes no precision flag.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from edgevision.converters.engine.device import facts_for, gpu_for
from edgevision.converters.engine.library import load_library
from edgevision.converters.engine.order import Request
from edgevision.converters.engine.progress import Phases
from edgevision.converters.engine.timing_cache import cache_file, load_cache, save_cache
from edgevision.engines import DeviceFacts, key_for
from edgevision.errors import BackendError, ModelError, OutputError
from edgevision.progress import Tell
from edgevision.text import printable
from edgevision.trt.library import Log

__all__ = ["LAYERS", "PLAN", "build_plan"]

#: What the child leaves in its folder: the plan, and where a GPU opened it the inspector's report of its layers.
PLAN = "plan.engine"
LAYERS = "layers.json"
_MOST_ERRORS = 5
#: Of a tensor in the inspector's report, such as "Channel major FP16 format where channel % 4 == 0" or "Int8".
_TYPE = re.compile(r"\b(Q?Int8|INT8|Half|FP16|Float16|FP32|Float)\b")
#: Layers between a DequantizeLinear and the layer that reads it, which move values and change none.
_PASSING = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")


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
    trt, log = library.module, Log(library.module)
    if library.name == "tensorrt":
        trt.init_libnvinfer_plugins(log.logger, "")
    builder = trt.Builder(log.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    started = monotonic()
    tell("parsing", 0, None)
    _parse(trt, network, log, request)
    parsed = monotonic()
    config = _config(trt, builder, request, facts)
    folder_of_timings = None if gpu is None else request.timing_cache
    timings = folder_of_timings and cache_file(folder_of_timings, key, facts.device)
    cached = timings is not None and load_cache(config, timings)
    phases = Phases(lambda done, total: tell("building", done, total), cancelled)
    config.progress_monitor = _monitor(trt, phases)
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
        "network": _network_facts(trt, network),
        "engine": None if gpu is None else _engine_facts(trt, log, data, folder),
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


def _parse(trt: Any, network: Any, log: Log, request: Request) -> None:
    parser = trt.OnnxParser(network, log.logger)
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


def _config(trt: Any, builder: Any, request: Request, facts: DeviceFacts) -> Any:
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
        config.set_compute_capability(named, 0)
    if request.ranges:
        profile = builder.create_optimization_profile()
        for name, (least, best, most) in request.ranges.items():
            profile.set_shape(name, least, best, most)
        config.add_optimization_profile(profile)
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
    return BackendError(
        f"TensorRT cannot build {request.model.name}",
        received=log.take(),
        hint="if memory ran out: close other programs, or --workspace MIB; --backend ort runs the model without",
    )


def _network_facts(trt: Any, network: Any) -> dict[str, Any]:
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    makers = {
        layer.get_output(place).name: layer
        for layer in layers
        for place in range(layer.num_outputs)
    }
    kinds = (
        trt.LayerType.CONVOLUTION,
        trt.LayerType.DECONVOLUTION,
        trt.LayerType.MATRIX_MULTIPLY,
    )
    found = [layer for layer in layers if layer.type in kinds]
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    return {
        "inputs": {tensor.name: _dtype(tensor.dtype) for tensor in inputs},
        "outputs": {tensor.name: _dtype(tensor.dtype) for tensor in outputs},
        "layers": dict(Counter(_dtype(layer.get_output(0).dtype) for layer in found)),
        "int8_layers": sum(_is_int8(trt, layer, makers) for layer in found),
    }


def _is_int8(trt: Any, layer: Any, makers: Mapping[str, Any]) -> bool:
    """Whether data and weights come from a DequantizeLinear."""
    if layer.num_inputs < 2:
        return False
    passing = tuple(getattr(trt.LayerType, name, None) for name in _PASSING)
    for place in (0, 1):
        tensor = layer.get_input(place)
        maker = None if tensor is None else makers.get(tensor.name)
        while maker is not None and maker.type in passing:
            maker = makers.get(maker.get_input(0).name)
        if maker is None or maker.type != trt.LayerType.DEQUANTIZE:
            return False
    return True


def _engine_facts(trt: Any, log: Log, data: memoryview, folder: Path) -> dict[str, Any]:
    """Opens the engine on the GPU at hand: its inputs and outputs, and the inspector's report of its layers."""
    runtime = trt.Runtime(log.logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise BackendError(
            "the engine that was built cannot be opened",
            received=log.take(),
            hint="see whether other programs use the GPU's memory, and build again",
        )
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    sides: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
    for name in names:
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        sides["inputs" if is_input else "outputs"][name] = _dtype(engine.get_tensor_dtype(name))
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    (folder / LAYERS).write_text(text, encoding="utf-8")
    return {**sides, "types": inspected_types(text)}


def inspected_types(text: str) -> dict[str, int]:
    """Element types in an inspector's report, as it writes them → how many tensors have them."""
    try:
        layers = json.loads(text).get("Layers") or ()
    except (ValueError, AttributeError):
        return {}
    found: Counter[str] = Counter()
    for layer in (layer for layer in layers if isinstance(layer, dict)):
        tensors = [*(layer.get("Inputs") or ()), *(layer.get("Outputs") or ())]
        for tensor in (tensor for tensor in tensors if isinstance(tensor, dict)):
            written = str(tensor.get("Format/Datatype", tensor.get("Datatype", "")))
            found.update(_TYPE.findall(written)[-1:])
    return dict(found)


def _dtype(kind: Any) -> str:
    """numpy's name of TensorRT's element type."""
    names = {"HALF": "float16", "FLOAT": "float32", "BF16": "bfloat16", "FP8": "float8_e4m3fn"}
    return names.get(kind.name, str(kind.name).lower())
