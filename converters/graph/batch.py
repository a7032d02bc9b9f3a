"""Let a graph that was exported for one batch size take another, or any; and prove that it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from edgevision.converters.graph.editing import Replacement, Wiring, node_with
from edgevision.converters.graph.execute import Feed, difference, run_all, trial_feeds
from edgevision.converters.graph.folding import Folding
from edgevision.converters.graph.index import attribute, shape_of
from edgevision.converters.graph.passes import Pass
from edgevision.errors import ModelError, StoppedError
from edgevision.text import counted

__all__ = ["FreeBatch", "batched_inputs", "several"]

_ROWS = 3
# Relative to the largest magnitude of each channel; see `difference`.
_TOLERANCE = 1e-3


def batched_inputs(
    model: onnx.ModelProto, shapes: Mapping[str, Sequence[int | str]]
) -> dict[str, int]:
    """Inputs asked for with an open batch, or one larger than declared → the batch they were exported with."""
    found = {}
    for value in model.graph.input:
        asked, declared = shapes.get(value.name), shape_of(value)
        if not asked or not declared or len(asked) != len(declared):
            continue
        before, after = declared[0], asked[0]
        if isinstance(after, str) or (isinstance(before, int) and before < after):
            found[value.name] = before if isinstance(before, int) and before > 0 else 1
    return found


class FreeBatch(Pass):
    """No constant says how many pictures there are: shapes to reshape to, sizes, operands of Concat.

    Whether that was all, `several` proves.
    """

    name = "batch"
    indispensable = True

    def __init__(self, inputs: Mapping[str, int]) -> None:
        self._inputs = inputs

    def obstacle(self, model: onnx.ModelProto) -> str | None:  # noqa: ARG002 - the order decides
        """Nobody asked for another batch."""
        return None if self._inputs else "the batch stays as it is"

    def change(self, model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[str]]:
        """Run before the new shapes are set: what is baked in can be seen at the old ones only."""
        old = _folded(model, self._inputs)
        _set_rows(old, self._inputs)
        wiring = Wiring(old)
        batch = max(self._inputs.values())
        edits = {"Reshape": _reshape, "Expand": _expand, "Resize": _resize, "Concat": _concat}
        count = 0
        for node in list(wiring.nodes):
            edit = edits.get(node.op_type)
            found = edit(node, wiring, batch) if edit is not None else None
            if found is not None:
                wiring.apply(found)
                count += 1
        if not count:
            return model, []
        wiring.write_back()
        del old.graph.input[:]
        old.graph.input.extend(model.graph.input)
        return old, [f"made {counted(count, 'node')} independent of the batch of {batch}"]


def several(model: onnx.ModelProto, inputs: Mapping[str, int]) -> Feed:
    """A feed of three pictures.

    Raises:
        ModelError: The model does not run on three, or gives for one of them something else than
            for it alone.
    """
    three = _with_rows(model, dict.fromkeys(inputs, _ROWS))
    try:
        feed = trial_feeds(three)[0]
        together = run_all(three, [feed])[0]
        singles = [
            {k: v[row : row + 1] if k in inputs else v for k, v in feed.items()}
            for row in range(_ROWS)
        ]
        alone = run_all(_with_rows(model, dict.fromkeys(inputs, 1)), singles)
    except StoppedError:  # for one picture it would be too much as well
        raise
    except ModelError as exc:
        raise _refused(str(exc.received or exc)) from exc
    for row, outputs in enumerate(alone):
        for name, one in outputs.items():
            reason = _unlike(one, together[name], row)
            if reason is not None:
                raise _refused(f"output {name!r} {reason}")
    return feed


def _unlike(one: NDArray[Any], together: NDArray[Any], row: int) -> str | None:
    """How one picture's output differs from its row in a batch."""
    if not one.ndim or len(one) != 1 or together.shape != (_ROWS, *one.shape[1:]):
        shapes = list(one.shape), list(together.shape)
        return f"has the shape {shapes[0]} for one picture, {shapes[1]} for {_ROWS}"
    gap = difference({"": one}, {"": together[row : row + 1]})
    return f"of picture {row + 1} differs by {gap:.2g} in a batch" if gap > _TOLERANCE else None


def _refused(received: str) -> ModelError:
    return ModelError(
        "the model cannot take any number of pictures at once",
        received=received,
        expected="for each picture of a batch what the model gives for it alone",
        hint="export the model with a dynamic batch, or convert it for one picture at a time",
    )


def _with_rows(model: onnx.ModelProto, rows: Mapping[str, int]) -> onnx.ModelProto:
    """A copy for batches of a fixed size, with no other shape declared."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _set_rows(copy, rows)
    return copy


def _set_rows(model: onnx.ModelProto, rows: Mapping[str, int]) -> None:
    del model.graph.value_info[:]
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in model.graph.input:
        if value.name in rows:
            value.type.tensor_type.shape.dim[0].dim_value = rows[value.name]


def _folded(model: onnx.ModelProto, inputs: Mapping[str, int]) -> onnx.ModelProto:
    """A copy whose constants can be looked at; with the batch open, only what does not depend on it is folded."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name in inputs:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        output.type.tensor_type.ClearField("shape")
    return Folding().change(copy)[0]


def _reshape(node: onnx.NodeProto, wiring: Wiring, batch: int) -> Replacement | None:
    """The batch is copied from the input (0), or follows from what is left (−1)."""
    target, shape = wiring.array(node.input[1]), wiring.shape(node.input[0])
    if target is None or not target.size or shape is None or attribute(node, "allowzero", 0):
        return None
    first = int(target[0])
    if first <= 0 or first % batch:
        return None
    free = target.copy()
    if first == batch and shape[:1] == [batch]:
        free[0] = 0
    elif (target > 0).all():
        free[0] = -1
    else:
        return None
    return _with_constant(node, 1, free, wiring)


def _expand(node: onnx.NodeProto, wiring: Wiring, batch: int) -> Replacement | None:
    """A dim of 1 expands to whatever the input has."""
    target, shape = wiring.array(node.input[1]), wiring.shape(node.input[0])
    if target is None or shape is None or len(shape) != target.size or target[0] == 1:
        return None
    if shape[:1] != [batch]:
        return None
    return _with_constant(node, 1, np.array([1, *target[1:]], target.dtype), wiring)


def _resize(node: onnx.NodeProto, wiring: Wiring, batch: int) -> Replacement | None:
    """Sizes become scales that give the same sizes."""
    sizes = wiring.array(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    shape = wiring.shape(node.input[0])
    if sizes is None or shape is None or attribute(node, "axes") or sizes[0] != batch:
        return None
    if len(shape) != sizes.size or not all(isinstance(d, int) and d > 0 for d in shape):
        return None
    before = np.array(shape, np.float32)
    scales = sizes.astype(np.float32) / before
    if (np.floor(before * scales).astype(np.int64) != sizes).any():
        return None
    name = wiring.fresh(f"{node.output[0]}/scales")
    made = node_with(node, inputs=[*node.input[:2], name])
    return Replacement([node], [made], {name: scales})


def _concat(node: onnx.NodeProto, wiring: Wiring, batch: int) -> Replacement | None:
    """A constant operand is expanded to the batch of the operand beside it."""
    constants = {n: a for n in node.input if (a := wiring.array(n)) is not None}
    data = [n for n in node.input if n not in constants]
    axis = attribute(node, "axis")
    rank = wiring.rank(node.output[0])
    if not constants or not data or not rank or axis % rank == 0:
        return None
    arrays = constants.values()
    if any(len(a) != batch or a.dtype.kind != "f" or (a != a[:1]).any() for a in arrays):
        return None
    made, values, names = _batch_of(data[0], rank, node.output[0], wiring)
    renamed = {}
    for name, array in constants.items():
        row, renamed[name] = (wiring.fresh(f"{name}/{end}") for end in ("row", "rows"))
        values[row] = array[:1]
        made.append(helper.make_node("Expand", [row, names], [renamed[name]], name=renamed[name]))
    made.append(node_with(node, inputs=[renamed.get(n, n) for n in node.input]))
    return Replacement([node], made, values)


def _batch_of(
    data: str, rank: int, near: str, wiring: Wiring
) -> tuple[list[onnx.NodeProto], dict[str, NDArray[Any]], str]:
    """Nodes that make the shape (batch, 1, 1, …), their constants and its name."""
    shape, first, ones, count, zero = (
        wiring.fresh(f"{near}/{end}") for end in ("shape", "batch", "ones", "expanded", "zero")
    )
    nodes = [
        helper.make_node("Shape", [data], [shape], name=shape),
        helper.make_node("Gather", [shape, zero], [first], name=first, axis=0),
        helper.make_node("Concat", [first, ones], [count], name=count, axis=0),
    ]
    return nodes, {zero: np.zeros(1, np.int64), ones: np.ones(rank - 1, np.int64)}, count


def _with_constant(
    node: onnx.NodeProto, position: int, value: NDArray[Any], wiring: Wiring
) -> Replacement:
    name = wiring.fresh(f"{node.input[position]}/free")
    inputs = [name if i == position else n for i, n in enumerate(node.input)]
    return Replacement([node], [node_with(node, inputs=inputs)], {name: value})
