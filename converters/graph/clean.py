"""Make an ONNX graph plain: true shapes, constants folded, nothing left over, current opset."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, version_converter

from edgevision.backends._ort_message import plain_message
from edgevision.converters.graph.execute import Feed, difference, run_all, trial_feeds
from edgevision.converters.graph.index import captured, domains, shape_of
from edgevision.converters.graph.rewrites import rewrite
from edgevision.errors import ModelError, UsageError
from edgevision.text import counted

__all__ = ["Cleaned", "clean"]

# Outputs of one model, by name, for each of the feeds that it is tried on.
_Outputs = Sequence[Mapping[str, NDArray[Any]]]

# Relative to the largest magnitude of each channel; see `difference`.
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
       anew; what inference leaves open is read from real runs where all inputs are fixed.
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
    feeds = trial_feeds(work)
    expected = run_all(work, feeds)
    work = _raise_opset(work, min_opset, feeds, expected, changes)
    work = _fold(work, changes)
    rewrite(work, changes)
    _prune(work, changes)
    _name_nodes(work)
    work = _infer_shapes(work, run_all(work, feeds))
    _restore_header(work, model)
    _confirm(work, feeds, expected)
    return Cleaned(work, changes)


def _initializers_off_inputs(model: onnx.ModelProto, changes: list[str]) -> None:
    """Case 1."""
    weights = {t.name for t in model.graph.initializer}
    kept = [v for v in model.graph.input if v.name not in weights]
    dropped = len(model.graph.input) - len(kept)
    if dropped:
        del model.graph.input[:]
        model.graph.input.extend(kept)
        # Before IR 4 every initializer had to be an input; the opset's converter holds us to it.
        model.ir_version = max(model.ir_version, 4)
        changes.append(f"removed {counted(dropped, 'initializer')} from the graph inputs")


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
    model: onnx.ModelProto,
    minimum: int,
    feeds: Sequence[Feed],
    expected: _Outputs,
    changes: list[str],
) -> onnx.ModelProto:
    """Case 3. A conversion that fails or changes the outputs is not used."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if version >= minimum:
        return model
    # The converter knows the ai.onnx domain only, and fails on leftovers of other domains.
    standard = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if domains(model) == {""}:
        del model.opset_import[:]
        model.opset_import.extend(standard)
    problem = ""
    try:
        raised = version_converter.convert_version(model, minimum)
        gap = _gap(expected, run_all(raised, feeds))
        if gap <= _TOLERANCE:
            changes.append(f"raised the opset from {version} to {minimum}")
            return raised
        problem = f"outputs moved by {gap:.2g}"
    except (ModelError, RuntimeError, version_converter.ConvertError) as exc:
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
        options.log_severity_level = 4  # see execute.open_session
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        try:
            ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # onnxruntime's exceptions share no public base class
            raise ModelError(
                "onnxruntime cannot load the model", received=plain_message(exc)
            ) from exc
        folded = onnx.load(str(target))
    added = domains(folded) - domains(model) - {""}
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
        counts = [(nodes, "unused node"), (constants, "unused initializer")]
        changes.append("dropped " + " and ".join(counted(n, what) for n, what in counts if n))


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


def _infer_shapes(model: onnx.ModelProto, seen: _Outputs) -> onnx.ModelProto:
    """Case 2, second half."""
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    fixed = all(isinstance(d, int) for v in model.graph.input for d in shape_of(v) or [""])
    fixed = fixed and not _data_dependent(inferred)
    for value in inferred.graph.output:
        found = {arrays[value.name].shape for arrays in seen}
        # A run knows sizes that inference cannot; those that follow the data it must not freeze.
        if fixed and len(found) == 1:
            _declare(value, [*found.pop()])
        elif shape_of(value) is None:
            rank = len(found.pop())
            _declare(value, [f"{value.name}_{axis}" for axis in range(rank)])
    return inferred


def _declare(value: onnx.ValueInfoProto, dims: Sequence[int | str]) -> None:
    elem_type = value.type.tensor_type.elem_type
    value.CopyFrom(helper.make_tensor_value_info(value.name, elem_type, list(dims)))


def _data_dependent(model: onnx.ModelProto) -> bool:
    """Whether some output's size may follow from the values in it."""
    risky = ("NonZero", "NonMaxSuppression", "Unique", "Loop", "If", "Compress", "StringSplit")
    return any(n.op_type in risky for n in model.graph.node)


def _restore_header(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Keep metadata and names; declare only the domains used, and the oldest fitting IR."""
    used = domains(model) | {""}
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


def _confirm(model: onnx.ModelProto, feeds: Sequence[Feed], expected: _Outputs) -> None:
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as exc:
        raise ModelError(
            "cleaning left a graph that is not valid",
            received=" ".join(str(exc).split())[:300],
            hint="this is a fault in edgevision: please report it with the model",
        ) from exc
    gap = _gap(expected, run_all(model, feeds))
    if gap > _TOLERANCE:
        raise ModelError(
            "cleaning changed what the model computes",
            received=f"outputs that differ by {gap:.2g} of what is largest in their channel",
            expected=f"at most {_TOLERANCE}",
            hint="this is a fault in edgevision: please report it with the model",
        )


def _gap(expected: _Outputs, actual: _Outputs) -> float:
    """The largest deviation over all feeds."""
    return max(difference(a, b) for a, b in zip(expected, actual, strict=True))
