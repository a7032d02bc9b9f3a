"""Make an ONNX graph plain: true shapes, constants folded, nothing left over, current opset."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import helper, version_converter

from edgevision.converters.execute import Feed, difference, random_feed, run_once
from edgevision.converters.graph import captured, shape_of
from edgevision.converters.rewrites import rewrite
from edgevision.errors import ModelError, UsageError

__all__ = ["Cleaned", "clean"]

# Relative to the largest magnitude of each output.
_TOLERANCE = 1e-3
# Per-channel QuantizeLinear/DequantizeLinear exist from opset 13 on.
_LOWEST_OPSET = 13


@dataclass(frozen=True)
class Cleaned:
    """A model that computes the same as the one it came from, and what was done to it.

    Attributes:
        model: The cleaned model; the one given is untouched.
        changes: One sentence per change, for people.
    """

    model: onnx.ModelProto
    changes: list[str] = field(default_factory=list)


def clean(
    model: onnx.ModelProto,
    *,
    shapes: Mapping[str, Sequence[int | str]] | None = None,
    min_opset: int = 17,
) -> Cleaned:
    """Clean a model for quantization and for engines.

    1. Initializers listed among the graph's inputs are taken off that list: they could be
       overridden at run time, so nothing could be folded.
    2. Input shapes are set to ``shapes``: an int fixes a dim, a text leaves it open under that
       name. Declared output shapes and value_info may be stale, so they are cleared and inferred
       anew; what inference leaves open is read from one real run where all inputs are fixed.
    3. The opset is raised to ``min_opset``.
    4. Constants are folded, Identity and Dropout dropped, batch norms and pads merged, Constant
       nodes turned into initializers (onnxruntime's BASIC level, whose result is standard ONNX).
    5. Patterns that INT8 kernels cannot fuse are rewritten; see `rewrites`.
    6. Unused nodes and initializers are dropped.
    7. Every node gets a name, unique and the same each time.

    Args:
        model: What to clean; not changed.
        shapes: Input name → dims, int to fix, str to keep symbolic.
        min_opset: The lowest opset of the ``ai.onnx`` domain that the result may have.

    Raises:
        UsageError: ``shapes`` names an input that is not there, or has a wrong number of dims.
        ModelError: The model does not run, or the cleaned one computes something else.
    """
    work = onnx.ModelProto()
    work.CopyFrom(model)
    changes: list[str] = []
    _initializers_off_inputs(work, changes)
    _set_shapes(work, shapes or {}, changes)
    feed = random_feed(work)
    expected = run_once(work, feed)
    work = _raise_opset(work, min_opset, feed, changes)
    work = _fold(work, changes)
    rewrite(work, changes)
    _prune(work, changes)
    _name_nodes(work)
    work = _infer_shapes(work, feed)
    _restore_header(work, model)
    _confirm(work, feed, [expected[v.name] for v in model.graph.output])
    return Cleaned(work, changes)


def _initializers_off_inputs(model: onnx.ModelProto, changes: list[str]) -> None:
    """Case 1."""
    weights = {t.name for t in model.graph.initializer}
    kept = [v for v in model.graph.input if v.name not in weights]
    dropped = len(model.graph.input) - len(kept)
    if dropped:
        del model.graph.input[:]
        model.graph.input.extend(kept)
        changes.append(f"removed {dropped} initializers from the graph inputs")


def _set_shapes(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | str]], changes: list[str]
) -> None:
    """Case 2, first half: the inputs as asked, everything derived forgotten."""
    inputs = {v.name: v for v in model.graph.input}
    for name, dims in shapes.items():
        if name not in inputs:
            raise UsageError(
                f"the model has no input {name!r}",
                received=f"a shape for {name!r}",
                expected=f"one of {sorted(inputs)}",
            )
        before = shape_of(inputs[name])
        if before is not None and len(before) != len(dims):
            raise UsageError(
                f"the input {name!r} has {len(before)} dims",
                received=f"the shape {list(dims)}",
                expected=f"as many dims as {before}",
            )
        if before == list(dims):
            continue
        elem_type = inputs[name].type.tensor_type.elem_type
        inputs[name].CopyFrom(helper.make_tensor_value_info(name, elem_type, list(dims)))
        changes.append(f"set the shape of input {name!r} from {before} to {list(dims)}")
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _raise_opset(
    model: onnx.ModelProto, minimum: int, feed: Feed, changes: list[str]
) -> onnx.ModelProto:
    """Case 3. A conversion that fails or changes the outputs is not used."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if version >= minimum:
        return model
    # The converter knows the ai.onnx domain only, and fails on leftovers of other domains.
    standard = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if all(n.domain in ("", "ai.onnx") for n in model.graph.node):
        del model.opset_import[:]
        model.opset_import.extend(standard)
    problem = ""
    try:
        raised = version_converter.convert_version(model, minimum)
        gap = difference(run_once(model, feed).values(), run_once(raised, feed).values())
        if gap <= _TOLERANCE:
            changes.append(f"raised the opset from {version} to {minimum}")
            return raised
        problem = f"outputs moved by {gap:.2g}"
    except (ModelError, RuntimeError) as exc:  # the converter raises ConvertError, a RuntimeError
        problem = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
    if version < _LOWEST_OPSET:
        raise ModelError(
            f"the model's opset {version} cannot be raised to {minimum}",
            received=problem,
            expected=f"opset {_LOWEST_OPSET} or newer",
            hint=f"export the model again with opset {minimum}",
        )
    changes.append(f"kept opset {version}: raising it to {minimum} failed ({problem})")
    return model


def _fold(model: onnx.ModelProto, changes: list[str]) -> onnx.ModelProto:
    """Case 4."""
    before = len(model.graph.node)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "folded.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError("onnxruntime cannot load the model", received=str(exc)) from exc
        folded = onnx.load(str(target))
    had = {n.domain for n in model.graph.node}
    added = {n.domain for n in folded.graph.node} - had - {"", "ai.onnx"}
    if added:  # a future onnxruntime may fuse at this level; then the plain graph is kept
        changes.append(f"left constants unfolded: folding needs operators of {sorted(added)}")
        return model
    if before != len(folded.graph.node):
        changes.append(f"folded constants: {before} nodes became {len(folded.graph.node)}")
    return folded


def _prune(model: onnx.ModelProto, changes: list[str]) -> None:
    """Case 6."""
    graph = model.graph
    needed = {v.name for v in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(n for n in [*node.input, *captured(node)] if n)
            kept.append(node)
    weights = [t for t in graph.initializer if t.name in needed]
    nodes, constants = len(graph.node) - len(kept), len(graph.initializer) - len(weights)
    if nodes or constants:
        _replace(graph.node, kept[::-1])
        _replace(graph.initializer, weights)
        changes.append(f"dropped {nodes} unused nodes and {constants} unused initializers")


def _replace(field_: object, items: Sequence[object]) -> None:
    """Set a repeated protobuf field to ``items``, which may come from that field."""
    copies = []
    for item in items:
        copy = type(item)()
        copy.CopyFrom(item)  # type: ignore[attr-defined]
        copies.append(copy)
    del field_[:]  # type: ignore[attr-defined]
    field_.extend(copies)  # type: ignore[attr-defined]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Case 7. Reports, exclusions and the decode tail all speak of nodes by name."""
    taken: set[str] = set()
    for position, node in enumerate(model.graph.node):
        name = node.name or f"{node.op_type}_{position}"
        while name in taken:
            name += "_"
        node.name = name
        taken.add(name)


def _infer_shapes(model: onnx.ModelProto, feed: Feed) -> onnx.ModelProto:
    """Case 2, second half."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    if all(isinstance(d, int) for v in model.graph.input for d in shape_of(v) or [""]):
        arrays = run_once(model, feed)
        for value in inferred.graph.output:
            known = shape_of(value)
            seen = arrays[value.name].shape
            # A run knows sizes that inference cannot; data-dependent ones it must not freeze.
            if known is None or not _data_dependent(inferred):
                _declare(value, seen)
    return inferred


def _declare(value: onnx.ValueInfoProto, dims: Sequence[int]) -> None:
    elem_type = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, elem_type, list(dims)))


def _data_dependent(model: onnx.ModelProto) -> bool:
    """Whether some output's size may follow from the values in it."""
    risky = ("NonZero", "NonMaxSuppression", "Unique", "Loop", "If", "Compress", "StringSplit")
    return any(n.op_type in risky for n in model.graph.node)


def _restore_header(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Keep metadata and names; declare only the domains used, and the oldest fitting IR."""
    used = {n.domain for n in model.graph.node} | {""}
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(
        helper.make_opsetid(d, v) for d, v in sorted(opsets.items()) if d in used
    )
    del model.metadata_props[:]
    model.metadata_props.extend(original.metadata_props)
    model.graph.name = original.graph.name or "graph"
    model.doc_string = original.doc_string
    model.producer_name, model.producer_version = (
        original.producer_name,
        original.producer_version,
    )
    # Old TensorRT parsers refuse a newer IR than they know, though nothing in it is used.
    needed = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(8, needed)


def _confirm(model: onnx.ModelProto, feed: Feed, expected: Sequence[object]) -> None:
    onnx.checker.check_model(model)
    actual = run_once(model, feed)
    gap = difference(expected, actual.values())  # type: ignore[arg-type]
    if gap > _TOLERANCE:
        raise ModelError(
            "cleaning changed what the model computes",
            received=f"outputs that differ by {gap:.2g} of their largest value",
            expected=f"at most {_TOLERANCE}",
            hint="this is a fault in edgevision: please report it with the model",
        )
