"""Make an ONNX graph plain: true shapes, constants folded, nothing left over, current opset."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from numpy.typing import NDArray

from edgevision.converters.graph.activations import HARD_SWISH, LEAKY
from edgevision.converters.graph.affine import AFFINE, FACTORS
from edgevision.converters.graph.batch import FreeBatch, batched_inputs, several
from edgevision.converters.graph.duplicates import SHARED_CONSTANTS, SHARED_NODES
from edgevision.converters.graph.execute import Feed, difference, run_all, trial_feeds
from edgevision.converters.graph.finish import Header, Names, Shapes
from edgevision.converters.graph.folding import Folding
from edgevision.converters.graph.functions import FUNCTIONS
from edgevision.converters.graph.idle import IDLE_NODES
from edgevision.converters.graph.index import RANDOM, nodes_in
from edgevision.converters.graph.inputs import InitializersOffInputs, InputShapes
from edgevision.converters.graph.opset import Opset
from edgevision.converters.graph.passes import Pass, run_passes
from edgevision.converters.graph.pools import POOLS
from edgevision.converters.graph.pruning import Outputs, Unused
from edgevision.converters.graph.rewrites import PADS, SPLITS
from edgevision.converters.graph.sizes import SIZES
from edgevision.converters.graph.taps import picked_from, says_nothing, tapped
from edgevision.converters.graph.transposes import TRANSPOSES
from edgevision.errors import ModelError

__all__ = ["PASSES", "Cleaned", "clean"]

#: What makes the graph simpler and faster, in this order: an earlier pass uncovers work for a later one.
PASSES: tuple[Pass, ...] = (
    IDLE_NODES,
    TRANSPOSES,
    PADS,
    HARD_SWISH,
    LEAKY,
    POOLS,
    AFFINE,
    FACTORS,
    SPLITS,
    SIZES,
    SHARED_CONSTANTS,
    SHARED_NODES,
)

# Relative to the largest magnitude of each channel; see `difference`.
_TOLERANCE = 1e-3


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
    outputs: Collection[str] | None = None,
) -> Cleaned:
    """Clean a model for quantization and for engines.

    1. The inputs are put right: initializers leave their list, shapes are as asked, and where
       another batch is asked for, nothing in the graph holds on to the old one.
    2. Functions are written out, the opset is raised to ``min_opset``, constants are folded.
    3. `PASSES` make the graph simpler. One that does harm is undone, and ``changes`` says so.
    4. What is unused is dropped, every node gets a name, every tensor its shape.

    What comes out computes what the inputs as asked gave before, on two seeded feeds. Where an output is
    empty or constant on them, so do the tensors that it is picked from.

    Args:
        model: What to clean; not changed.
        shapes: Input name → dims, int to fix, str to keep symbolic. A batch that is symbolic, or
            larger than the model's own, is proven: three pictures at once must give what each
            gives alone.
        min_opset: The lowest opset of the ``ai.onnx`` domain that the result may have.
        outputs: Names of the outputs to keep; all by default.

    Raises:
        UsageError: ``shapes`` or ``outputs`` name something that is not there, or a shape has a
            wrong number of dims.
        ModelError: The model does not run, gives something else each time, cannot take the batch
            asked for, or has an opset below 13 that cannot be raised.
    """
    shapes = shapes or {}
    batched = batched_inputs(model, shapes)
    first = [InitializersOffInputs(), Outputs(outputs), FreeBatch(batched), InputShapes(shapes)]
    begun = run_passes(model, first)
    feeds = trial_feeds(begun.model)
    _refuse_random(begun.model, feeds[0])
    batch = next((str(d) for n in batched if isinstance(d := shapes[n][0], str)), None)
    if batched:
        three = several(begun.model, batched)
        feeds += [three] if batch is not None else []
    expected = run_all(begun.model, feeds)
    rest = [
        FUNCTIONS,
        Opset(begun.model, min_opset),
        Folding(),
        *PASSES,
        Unused(),
        Names(),
        Shapes(expected, batch),
        Header(model),
    ]
    blind = says_nothing(expected)

    def fault(changed: onnx.ModelProto) -> str | None:
        found = _fault(changed, feeds, expected)
        return found or (_inner_fault(begun.model, changed, feeds) if blind else None)

    done = run_passes(begun.model, rest, fault)
    return Cleaned(done.model, begun.changes + done.changes)


def _refuse_random(model: onnx.ModelProto, feed: Feed) -> None:
    """What is not the same twice can be compared with nothing."""
    random = {node.op_type for node in nodes_in(model.graph)} & RANDOM
    if not random or difference(*run_all(model, [feed, feed])) <= _TOLERANCE:
        return
    raise ModelError(
        "the model gives something else each time for the same picture",
        received=f"a graph with {', '.join(sorted(random))}",
        expected="the same outputs for the same picture",
        hint="export it in evaluation mode, after model.eval(), and without operators that draw random numbers",
    )


def _fault(
    model: onnx.ModelProto, feeds: Sequence[Feed], expected: Sequence[Mapping[str, NDArray[Any]]]
) -> str | None:
    """Why the model cannot take the place of the one that gave ``expected``."""
    try:
        onnx.checker.check_model(model)
        actual = run_all(model, feeds)
    except onnx.checker.ValidationError as exc:
        return "the graph was not valid: " + " ".join(str(exc).split())[:300]
    except ModelError as exc:
        return f"the graph did not run: {exc.received or exc}"
    return _too_far("outputs", expected, actual)


def _inner_fault(
    model: onnx.ModelProto, changed: onnx.ModelProto, feeds: Sequence[Feed]
) -> str | None:
    """The same by the tensors that detections and the like are picked from, as far as both models have them."""
    shared = sorted(picked_from(model) & picked_from(changed))
    before, after = (run_all(tapped(each, shared), feeds) for each in (model, changed))
    return _too_far("what the outputs are picked from", before, after)


def _too_far(what: str, expected: Sequence[Feed], actual: Sequence[Feed]) -> str | None:
    gap = max(difference(a, b) for a, b in zip(expected, actual, strict=True))
    if gap <= _TOLERANCE:
        return None
    return f"{what} differed by {gap:.2g} of what is largest in their channel"
