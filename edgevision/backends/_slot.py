"""What the slots of CPU engines share: input buffers, preprocessors, and the order of the calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import BackendError, SpecError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, Shape, TensorSpec

__all__ = [
    "CallOrder",
    "InputBuffers",
    "closed",
    "concrete_shape",
    "image_input",
    "no_input",
    "put_value",
]


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


def closed() -> BackendError:
    """What a session or slot says when its model has been closed."""
    return BackendError("the model is closed", hint="open it again")


class CallOrder:
    """The state of a slot, which says what call may come next: idle → submitted → idle."""

    def __init__(self) -> None:
        self._submitted = self._closed = False

    def idle(self, call: str) -> None:
        """Refuses a call while the slot is submitted."""
        if self._submitted:
            raise BackendError(f"{call}() on a slot that is submitted", expected="wait() first")

    def submitting(self) -> None:
        self.idle("submit")
        if self._closed:
            raise closed()
        self._submitted = True

    def waiting(self) -> None:
        if not self._submitted:
            raise BackendError(
                "wait() without submit()", expected="load, submit, wait, in that order"
            )
        self._submitted = False

    def close(self) -> None:
        """Nothing is submitted any more; what is under way can still be waited for."""
        self._closed = True


class InputBuffers(CallOrder):
    """The input tensors of one slot, and the state that says which call may come next.

    Attributes:
        arrays: The buffers by input name; their addresses never change.
        rows: Size of the picture input's first dimension.
    """

    def __init__(
        self, spec: InputSpec, inputs: Mapping[str, TensorSpec], shapes: Mapping[str, Shape]
    ) -> None:
        super().__init__()
        picture = image_input(spec, inputs)
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(concrete_shape(tensor, shapes.get(name)), tensor.dtype)
            for name, tensor in inputs.items()
        }
        self._picture = picture.name
        self._loaders = {picture.name: Preprocessor(spec, self.arrays[picture.name])}
        self._spec = spec
        self.rows = len(self.arrays[picture.name])

    def load(
        self, image: Image, *, row: int = 0, region: Affine | None = None, input: str | None = None
    ) -> Transform:
        self.idle("load")
        name = self._picture if input is None else input
        loader = self._loaders.get(name)
        if loader is None:  # a second input for pictures (two-frame models) shares the spec
            loader = self._loaders[name] = Preprocessor(self._spec, self._array(name))
        return loader.load(image, row, region)

    def put(self, input: str, value: NDArray[Any]) -> None:
        self.idle("put")
        put_value(input, value, self._array(input))

    def _array(self, name: str) -> NDArray[Any]:
        try:
            return self.arrays[name]
        except KeyError:
            raise no_input(name, self.arrays) from None


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
