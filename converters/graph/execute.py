"""Run an ONNX graph on onnxruntime's CPU provider, and make feeds to try it with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.index import shape_of
from edgevision.converters.graph.limits import limited
from edgevision.errors import ModelError, StoppedError

__all__ = ["Feed", "difference", "open_session", "run_all", "run_once", "trial_feeds"]

Array = NDArray[Any]
Feed = Mapping[str, Array]

# Sizes to try for a dim that the model leaves open. Most networks accept a multiple of 32.
_TRIAL_SIZES = (64, 224, 320, 48)
_SEED = 0
# Side of the flat patches in the second trial feed: networks see more in them than in noise.
_PATCH = 8
# A slice of fewer values has no scale of its own.
_LEAST_SLICE = 16
# Sums are rounded relative to their terms, not to what is left of them, and sigmoid's tail is
# absolute: no channel's scale counts as less than this, or than this share of its output's.
_FLOOR = 1e-3
_SUPPORTED_OPSET = re.compile(r"Opset (\d+) is under development.* is till opset (\d+)")


def open_session(
    model: onnx.ModelProto, *, optimize: bool = True, threads: int = 0
) -> ort.InferenceSession:
    """A session that gives its memory back: no arena, no memory pattern.

    Args:
        model: The graph to run.
        optimize: False runs the nodes as written, so that any tensor can be looked at.
        threads: Threads inside one operator; 0 lets onnxruntime choose.

    Raises:
        ModelError: onnxruntime refuses the model, or takes too much to load it.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors reach the caller as exceptions, not as lines on stderr
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see backends/ort.py
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        with limited("load", lambda: options.set_load_cancellation_flag(True)):
            return ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
    except StoppedError:
        raise
    except Exception as exc:  # onnxruntime's exceptions share no public base class
        raise _not_loaded(exc) from exc


def run_once(model: onnx.ModelProto, feed: Feed, *, optimize: bool = True) -> dict[str, Array]:
    """Run one feed and name the outputs.

    Raises:
        ModelError: The model does not load, or does not run on this feed.
    """
    return run_all(model, [feed], optimize=optimize)[0]


def run_all(
    model: onnx.ModelProto, feeds: Sequence[Feed], *, optimize: bool = True
) -> list[dict[str, Array]]:
    """Run several feeds in one session and name the outputs of each.

    Raises:
        ModelError: The model does not load, or does not run on a feed.
    """
    session = open_session(model, optimize=optimize)
    names = [o.name for o in session.get_outputs()]
    return [dict(zip(names, _run(session, names, feed), strict=True)) for feed in feeds]


def trial_feeds(model: onnx.ModelProto) -> list[Feed]:
    """Two seeded feeds for every input, noise, and for pictures then flat patches, on which the model runs.

    Pictures are inputs with four dims or of uint8: floats in [-1, 1), then in [-2, 2), about the
    range of normalised ones; integers in 0…255. Other integers may be indices or sizes and are 0,
    which is what they are fed at run time. Other floats are noise, others False or True.

    It is run as it is written first: an inference can be stopped, but not the optimizer in the middle of
    folding constants, which then takes no longer than the inference did.

    Raises:
        ModelError: An input declares no shape, the model does not run, or at no size tried for the
            open dims.
    """
    weights = {t.name for t in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in weights]
    shapes = [shape_of(v) or [] for v in values]
    fixed = all(isinstance(d, int) for s in shapes for d in s[1:])
    failure: ModelError | None = None
    for size in (1,) if fixed else _TRIAL_SIZES:
        feeds = _feeds(values, size)
        try:
            run_once(model, feeds[0], optimize=False)
            return feeds
        except ModelError as exc:
            if fixed or isinstance(exc, StoppedError):
                raise
            failure = failure or exc
    raise ModelError(
        "the model ran at none of the sizes tried for its open dims",
        received=failure.received or failure.problem if failure is not None else "",
        expected=f"one of {_TRIAL_SIZES} to work",
        hint="fix the input size with --size HxW",
    ) from failure


def difference(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> float:
    """The largest deviation over all outputs, relative to what is large in its place.

    One output may hold boxes in hundreds of pixels beside scores below 1, so a deviation counts
    relative to the largest magnitude of its slice along axis 1 or along the last one, whichever
    makes it larger. Infinite where a shape differs or where only one side is finite.
    """
    return max((_deviation(array, actual[name]) for name, array in expected.items()), default=0.0)


def _not_loaded(exc: Exception) -> ModelError:
    newer = _SUPPORTED_OPSET.search(" ".join(str(exc).split()))
    if newer is not None:
        return ModelError(
            f"onnxruntime {ort.__version__} does not know opset {newer[1]} yet",
            received=f"a model of opset {newer[1]}",
            expected=f"at most opset {newer[2]}",
            hint="export it with an older one, such as 17 to 21, or install a newer onnxruntime",
        )
    return ModelError(
        "onnxruntime cannot load the model",
        received=plain_message(exc),
        expected=f"operators and types that onnxruntime {ort.__version__} has on a CPU",
        hint="export it with another opset, such as 17, or without that operator",
    )


def _run(session: ort.InferenceSession, names: Sequence[str], feed: Feed) -> list[Array]:
    options = ort.RunOptions()
    try:
        with limited("inference", lambda: setattr(options, "terminate", True)):
            return list(session.run(names, dict(feed), options))
    except StoppedError:
        raise
    except Exception as exc:  # onnxruntime's exceptions share no public base class
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in feed.items())
        raise ModelError(
            f"the model does not run on {shapes}",
            received=plain_message(exc),
            hint="give the input shape that the model was made for",
        ) from exc


def _deviation(expected: Array, actual: Array) -> float:
    if expected.shape != actual.shape:
        return float("inf")
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    moved = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if not moved.any():
        return 0.0
    if not (np.isfinite(a[moved]).all() and np.isfinite(b[moved]).all()):
        return float("inf")
    gap = np.zeros_like(a)
    gap[moved] = np.abs(a[moved] - b[moved])
    size = np.where(np.isfinite(a), np.abs(a), 0.0)
    floor = max(_FLOOR, _FLOOR * float(size.max()))
    worst = gap.max() / max(floor, size.max())
    for others in _across_slices(expected):
        worst = max(worst, (gap.max(others) / np.maximum(floor, size.max(others))).max())
    return float(worst)


def _across_slices(array: Array) -> list[tuple[int, ...]]:
    """For each axis that may count channels, the other axes."""
    if array.ndim < 2 or array.dtype.itemsize < 4:
        return []  # float16 keeps three digits of what is large, and nothing of what is small
    channels = [i for i in {1, array.ndim - 1} if array.size >= _LEAST_SLICE * array.shape[i]]
    return [tuple(i for i in range(array.ndim) if i != channel) for channel in channels]


def _feeds(values: Sequence[onnx.ValueInfoProto], size: int) -> list[Feed]:
    """Noise, then patches; ``size`` is the length of open dims but a leading one, which is 1."""
    generator = np.random.default_rng(_SEED)
    return [
        {v.name: _array(v, _trial_shape(v, size), generator, patches) for v in values}
        for patches in (False, True)
    ]


def _trial_shape(value: onnx.ValueInfoProto, size: int) -> list[int]:
    dims = shape_of(value)
    if dims is None:
        raise ModelError(
            f"the input {value.name!r} declares no shape",
            expected="a declared number of dims",
            hint="fix the input size with --size HxW",
        )
    # A declared 0 is an exporter's way to say "open".
    return [
        d if isinstance(d, int) and d > 0 else (1 if i == 0 else size) for i, d in enumerate(dims)
    ]


def _array(
    value: onnx.ValueInfoProto, shape: list[int], generator: np.random.Generator, patches: bool
) -> Array:
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(np.bool_)
    integer = np.issubdtype(dtype, np.integer)
    if integer and len(shape) != 4 and dtype != np.uint8:
        return np.zeros(shape, dtype)
    patches = patches and len(shape) == 4
    coarse = [-(-d // _PATCH) if patches and d >= 2 * _PATCH else d for d in shape]
    if integer:
        drawn: Array = generator.integers(0, min(256, np.iinfo(dtype).max + 1), coarse)
    else:
        drawn = generator.uniform(-1, 1, coarse) * (2 if patches else 1)
    for axis, (short, long) in enumerate(zip(coarse, shape, strict=True)):
        if short != long:
            drawn = np.repeat(drawn, _PATCH, axis).take(range(long), axis)
    return drawn.astype(dtype)
