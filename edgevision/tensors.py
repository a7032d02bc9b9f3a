"""A model's inputs as a slot fills them: which one takes pictures, of what shape they are, how a value is put in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import BackendError, SpecError
from edgevision.spec import InputSpec, Shape, TensorSpec

__all__ = ["concrete_shape", "image_input", "no_input", "put_value"]


def image_input(spec: InputSpec, inputs: Mapping[str, TensorSpec]) -> TensorSpec:
    """The input that takes pictures: the one the spec names, else the only one with four dimensions.

    Raises:
        SpecError: There is none, there are several, or its type or layout is not what the spec says.
    """
    seen = "; ".join(map(str, inputs.values()))
    if spec.tensor is not None:
        found = [inputs[spec.tensor]] if spec.tensor in inputs else []
    else:
        found = [tensor for tensor in inputs.values() if len(tensor.shape) == 4]
    if len(found) != 1:
        raise SpecError(
            "the model has no single input for pictures",
            received=seen,
            expected=f"an input called {spec.tensor!r}"
            if spec.tensor
            else "one input with four dimensions",
            hint="name it as 'tensor' in the input spec",
        )
    tensor = found[0]
    channel = tensor.shape[1 if spec.layout == "nchw" else 3] if len(tensor.shape) == 4 else 0
    if tensor.dtype != spec.dtype or channel not in (spec.channels, *_symbols(tensor.shape)):
        raise SpecError(
            "the input spec does not fit the model",
            received=str(tensor),
            expected=f"{spec.dtype}, {spec.layout}, {spec.channels} channels, as the spec says",
            hint="choose another preset, or set dtype, layout and colour in a --config file",
        )
    return tensor


def concrete_shape(tensor: TensorSpec, wanted: Shape | None) -> tuple[int, ...]:
    """A shape of numbers: the tensor's own, with ``wanted`` in place of its symbols; a symbol left over is 1.

    Raises:
        BackendError: ``wanted`` contradicts a fixed dimension.
    """
    wanted = tensor.shape if wanted is None else wanted
    if len(wanted) != len(tensor.shape) or any(
        isinstance(have, int) and want != have
        for have, want in zip(tensor.shape, wanted, strict=True)
    ):
        raise BackendError(
            f"input {tensor.name!r} cannot take that shape",
            received="×".join(map(str, wanted)),
            expected="×".join(map(str, tensor.shape)),
        )
    return tuple(dim if isinstance(dim, int) else 1 for dim in wanted)


def put_value(name: str, value: NDArray[Any], array: NDArray[Any]) -> None:
    """Copies a value into an input's buffer.

    Raises:
        BackendError: Its shape is another one.
    """
    if value.shape != array.shape:
        raise BackendError(
            f"input {name!r} cannot take that value",
            received=f"shape {value.shape}",
            expected=f"shape {array.shape}",
        )
    np.copyto(array, value, casting="same_kind")


def no_input(name: str, known: Iterable[str]) -> BackendError:
    """What a slot says of an input that the model does not have."""
    return BackendError(f"the model has no input {name!r}", expected="one of: " + ", ".join(known))


def _symbols(shape: Shape) -> list[str]:
    return [dim for dim in shape if isinstance(dim, str)]
