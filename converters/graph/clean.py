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
from edgevision.converters.graph.idle import IDLE_NODES
from edgevision.converters.graph.inputs import InitializersOffInputs, InputShapes
from edgevision.converters.graph.opset import Opset
from edgevision.converters.graph.passes import Pass, run_passes
from edgevision.converters.graph.pools import POOLS
from edgevision.converters.graph.pruning import Outputs, Unused, prune
from edgevision.converters.graph.rewrites import PADS, SPLITS
from edgevision.converters.graph.sizes import SIZES
from edgevision.converters.graph.transposes import TRANSPOSES
from edgevision.errors import ModelError

__all__ = ["PASSES", "Cleaned", "clean", "prune"]

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
    2. The opset is raised to ``min_opset``, constants are folded.
    3. `PASSES` make the graph simpler. One that does harm is undone, and ``changes`` says so.
    4. What is unused is dropped, every node gets a name, every tensor its shape.

    What comes out computes what the inputs as asked gave before, on two seeded feeds.

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
        ModelError: The model does not run, cannot take the batch asked for, or has an opset below
            13 that cannot be raised.
    """
    shapes = shapes or {}
    batched = batched_inputs(model, shapes)
    first = [InitializersOffInputs(), Outputs(outputs), FreeBatch(batched), InputShapes(shapes)]
    begun = run_passes(model, first)
    feeds = trial_feeds(begun.model)
    batch = next((str(d) for n in batched if isinstance(d := shapes[n][0], str)), None)
    if batched:
        three = several(begun.model, batched)
        feeds += [three] if batch is not None else []
    expected = run_all(begun.model, feeds)
    rest = [
        Opset(begun.model, min_opset),
        Folding(),
        *PASSES,
        Unused(),
        Names(),
        Shapes(expected, batch),
        Header(model),
    ]
    done = run_passes(begun.model, rest, lambda changed: _fault(changed, feeds, expected))
    return Cleaned(done.model, begun.changes + done.changes)


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
    gap = max(difference(a, b) for a, b in zip(expected, actual, strict=True))
    if gap <= _TOLERANCE:
        return None
    return f"outputs differed by {gap:.2g} of what is largest in their channel"
