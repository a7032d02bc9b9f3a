"""Run an ONNX graph on onnxruntime's CPU provider, and make feeds to try it with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper

from edgevision.converters.graph import shape_of
from edgevision.errors import ModelError

__all__ = ["Feed", "difference", "open_session", "random_feed", "run_once"]

Array = NDArray[Any]
Feed = Mapping[str, Array]

# Sizes to try for a dim that the model leaves open. Most networks accept a multiple of 32.
_TRIAL_SIZES = (64, 224, 320, 48)


def open_session(
    model: onnx.ModelProto, *, optimize: bool = True, threads: int = 0
) -> ort.InferenceSession:
    """A session that gives its memory back: no arena, no memory pattern.

    Args:
        model: The graph to run.
        optimize: False runs the nodes as written, so that any tensor can be looked at.
        threads: Threads inside one operator; 0 lets onnxruntime choose.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see backends/ort.py
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as exc:  # onnxruntime's exceptions share no public base class
        raise ModelError("onnxruntime cannot load the model", received=_first_line(exc)) from exc


def run_once(
    model: onnx.ModelProto, feed: Feed, *, optimize: bool = True, outputs: Sequence[str] = ()
) -> dict[str, Array]:
    """Run one feed and name the outputs.

    Raises:
        ModelError: The model does not load, or does not run on this feed.
    """
    session = open_session(model, optimize=optimize)
    names = list(outputs) or [o.name for o in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, dict(feed)), strict=True))
    except Exception as exc:
        shapes = ", ".join(f"{k} {list(v.shape)}" for k, v in feed.items())
        raise ModelError(
            f"the model does not run on {shapes}",
            received=_first_line(exc),
            hint="give the input shape that the model was made for",
        ) from exc


def random_feed(
    model: onnx.ModelProto, *, seed: int = 0, open_size: int | None = None
) -> dict[str, Array]:
    """Seeded noise for every input: floats in [-1, 1), integers in 0…255, False or True.

    Args:
        model: The graph to feed.
        seed: Of the generator.
        open_size: Length of the dims left open, except a leading one, which is 1. None tries a
            few lengths until the model runs.
    """
    if open_size is None:
        return _first_that_runs(model, seed)
    generator = np.random.default_rng(seed)
    weights = {t.name for t in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in weights]
    return {v.name: _noise(v, generator, open_size) for v in values}


def difference(expected: Iterable[Array], actual: Iterable[Array]) -> float:
    """The largest deviation over all outputs, relative to each output's largest magnitude.

    Infinite where a shape differs or where only one side is finite.
    """
    worst = 0.0
    for left, right in zip(expected, actual, strict=True):
        if left.shape != right.shape:
            return float("inf")
        a, b = left.astype(np.float64), right.astype(np.float64)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if same.all():
            continue
        if not (np.isfinite(a[~same]).all() and np.isfinite(b[~same]).all()):
            return float("inf")
        finite = a[np.isfinite(a)]
        worst = max(worst, float(np.abs(a - b)[~same].max() / max(np.abs(finite).max(), 1e-6)))
    return worst


def _first_that_runs(model: onnx.ModelProto, seed: int) -> dict[str, Array]:
    weights = {t.name for t in model.graph.initializer}
    shapes = [shape_of(v) or [] for v in model.graph.input if v.name not in weights]
    if all(isinstance(d, int) for s in shapes for d in s[1:]):
        return random_feed(model, seed=seed, open_size=1)
    failure: ModelError | None = None
    for size in _TRIAL_SIZES:
        feed = random_feed(model, seed=seed, open_size=size)
        try:
            run_once(model, feed)
            return feed
        except ModelError as exc:
            failure = failure or exc
    raise ModelError(
        "the model ran at none of the sizes tried for its open dims",
        received=str(failure),
        expected=f"one of {_TRIAL_SIZES} to work",
        hint="fix the input size with --size HxW",
    ) from failure


def _noise(value: onnx.ValueInfoProto, generator: np.random.Generator, size: int) -> Array:
    dims = shape_of(value)
    if dims is None:
        raise ModelError(
            f"the input {value.name!r} declares no shape",
            expected="a declared number of dims",
            hint="fix the input size with --size HxW",
        )
    # A declared 0 is an exporter's way to say "open".
    fixed = [
        d if isinstance(d, int) and d > 0 else (1 if i == 0 else size) for i, d in enumerate(dims)
    ]
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    if dtype == np.bool_:
        return generator.integers(0, 2, fixed).astype(np.bool_)
    if np.issubdtype(dtype, np.integer):
        top = min(256, np.iinfo(dtype).max + 1)
        return generator.integers(0, top, fixed).astype(dtype)
    return generator.uniform(-1, 1, fixed).astype(dtype)


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0][:300]
