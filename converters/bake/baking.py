"""Bakes what was asked for into a cleaned model, one word after the other, and proves it on pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import onnx

from edgevision.converters.bake.input import bake_input
from edgevision.converters.bake.nms import bake_nms, check_family
from edgevision.converters.bake.proof import prove_input, prove_nms
from edgevision.errors import UsageError
from edgevision.frame import Image
from edgevision.spec import ModelSpec

__all__ = ["BAKES", "Baked", "bake", "check_bakes"]

#: What can be baked, in the order in which it is.
BAKES = ("input", "nms")


@dataclass(frozen=True)
class Baked:
    """A model that does more by itself.

    Attributes:
        model: The copy that was rewritten; the model itself where nothing was asked for.
        spec: How it is run now.
        changes: Sentences for people.
    """

    model: onnx.ModelProto
    spec: ModelSpec
    changes: list[str] = field(default_factory=list)


def check_bakes(words: Collection[str], spec: ModelSpec | None = None) -> None:
    """What can be known to be wrong before any work.

    Args:
        words: Of `BAKES`.
        spec: How the model is run, once that is known.

    Raises:
        UsageError: There is another word among them, or the model has no NMS that can be baked.
    """
    unknown = [word for word in words if word not in BAKES]
    if unknown:
        raise UsageError(
            f"there is no {', '.join(sorted(unknown))} to bake", expected="of: " + ", ".join(BAKES)
        )
    if spec is not None and "nms" in words:
        check_family(spec)


def bake(
    model: onnx.ModelProto, spec: ModelSpec, words: Collection[str], pictures: Sequence[Image]
) -> Baked:
    """Bakes the input, then NMS.

    Args:
        model: Cleaned; not changed.
        spec: How it is run; its input names the tensor.
        words: Of `BAKES`.
        pictures: To prove it on, uint8 ``(H, W, 3)`` BGR.

    Raises:
        UsageError: This model has nothing of the kind to bake.
        ModelError: The baked model does something else.
    """
    check_bakes(words, spec)
    done = Baked(model, spec)
    if "input" in words:
        found = bake_input(model, spec.input)
        told = [prove_input(model, spec.input, found, pictures)] if found.same else []
        done = Baked(found.model, replace(spec, input=found.spec), [*found.changes, *told])
    if "nms" in words:
        final = bake_nms(done.model, done.spec)
        told = [prove_nms(done.model, done.spec, final, pictures)]
        done = Baked(final.model, final.spec, [*done.changes, *final.changes, *told])
    return done
