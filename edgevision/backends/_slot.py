"""What the slots of CPU engines share: input buffers, preprocessors, and the order of the calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.errors import BackendError
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, Shape, TensorSpec
from edgevision.tensors import concrete_shape, image_input, no_input, put_value

__all__ = ["FORMATS", "CallOrder", "InputBuffers", "closed"]

#: What CPU engines' slots load; the pipeline turns all else into it, once a frame.
FORMATS = ("bgr",)


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
        self,
        image: Image,
        *,
        row: int = 0,
        region: Affine | None = None,
        input: str | None = None,
        format: str = "bgr",
    ) -> Transform:
        self.idle("load")
        if format not in FORMATS:
            raise BackendError(
                "the slots of this engine do not load such frames",
                received=format,
                expected="one of the session's formats: " + ", ".join(FORMATS),
            )
        name = self._picture if input is None else input
        loader = self._loaders.get(name)
        if loader is None:  # a second input for pictures (two-frame models) shares the spec
            loader = self._loaders[name] = Preprocessor(self._spec, self._array(name))
        return loader.load(image, row, region)

    def put(self, input: str, value: NDArray[Any]) -> None:
        self.idle("put")
        put_value(input, value, self._array(input))
        if input in self._loaders:
            self._loaders[input].forget()

    def _array(self, name: str) -> NDArray[Any]:
        try:
            return self.arrays[name]
        except KeyError:
            raise no_input(name, self.arrays) from None
