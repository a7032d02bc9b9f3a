"""The input tensors of one slot of the backend ``trt``: pictures by the kernel, everything else by a copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevision.cuda.kernel import Kernel
from edgevision.cuda.memory import Twin
from edgevision.cuda.picture import KernelPictures
from edgevision.frame import Image
from edgevision.geometry import Affine, Transform
from edgevision.preprocess import Preprocessor
from edgevision.spec import InputSpec, TensorSpec
from edgevision.tensors import image_input, no_input, put_value

__all__ = ["Inputs"]


class Inputs:
    """The inputs of one slot.

    Args:
        spec: How pictures become tensors.
        tensors: Each input with a shape of numbers.
        kernel: Writes pictures on the device; None leaves that to the processor.
        mapped: Whether the GPU reads the host's memory in place.

    Attributes:
        rows: Size of the picture input's first dimension.
    """

    def __init__(
        self,
        spec: InputSpec,
        tensors: Mapping[str, TensorSpec],
        kernel: Kernel | None,
        *,
        mapped: bool,
    ) -> None:
        self._picture = image_input(spec, tensors).name
        self.rows = int(tensors[self._picture].shape[0])
        self._feeds = {
            name: _Feed(tensor, spec, kernel, mapped=mapped) for name, tensor in tensors.items()
        }

    def prepare(self) -> None:
        """Allocates what the inputs will be filled from, as far as it is known."""
        for name, feed in self._feeds.items():
            feed.prepare(picture=name == self._picture)

    def load(
        self, image: Image, row: int, region: Affine | None, input: str | None, format: str
    ) -> Transform:
        return self._feed(self._picture if input is None else input).load(
            image, row, region, format
        )

    def put(self, input: str, value: NDArray[Any]) -> None:
        self._feed(input).put(value)

    def addresses(self) -> dict[str, int]:
        """Where each input is on the device."""
        return {name: feed.address for name, feed in self._feeds.items()}

    def places(self) -> tuple[int, ...]:
        """What a captured graph holds of them: addresses that only change when buffers grow."""
        return tuple(place for feed in self._feeds.values() for place in feed.places())

    def upload(self, stream: Any) -> None:
        """Copies to the device what is new since the last time."""
        for feed in self._feeds.values():
            feed.upload(stream)

    def launch(self, stream: Any, rows: int) -> None:
        """Starts the kernel for each row of pictures."""
        for feed in self._feeds.values():
            feed.launch(stream, rows)

    def close(self) -> None:
        """Frees all; may be called twice."""
        for feed in self._feeds.values():
            feed.close()

    def _feed(self, name: str) -> _Feed:
        try:
            return self._feeds[name]
        except KeyError:
            raise no_input(name, self._feeds) from None


class _Feed:
    """One input, filled by the kernel from pictures, or from the host: by `Preprocessor`, or by hand."""

    def __init__(
        self, tensor: TensorSpec, spec: InputSpec, kernel: Kernel | None, *, mapped: bool
    ) -> None:
        self._tensor, self._spec, self._kernel = tensor, spec, kernel
        self._twin = Twin(mapped=mapped)
        self._mapped = mapped
        self._array: NDArray[Any] | None = None
        self._loader: Preprocessor | None = None
        self._pictures: KernelPictures | None = None
        self._by_kernel = self._fresh = False

    def prepare(self, *, picture: bool) -> None:
        """Allocates what the input will be filled from, as far as it is known."""
        if picture and self._kernel is not None:
            self._use_kernel(self._kernel)
        else:
            self._host()

    @property
    def address(self) -> int:
        if self._by_kernel and self._pictures is not None:
            return self._pictures.target
        return self._twin.address

    def places(self) -> tuple[int, ...]:
        if self._by_kernel and self._pictures is not None:
            return self._pictures.places()
        return (self._twin.address,)

    def load(self, image: Image, row: int, region: Affine | None, format: str) -> Transform:
        if self._kernel is not None:
            return self._use_kernel(self._kernel).load(image, row, region, format)
        array = self._host()
        if self._loader is None:
            self._loader = Preprocessor(self._spec, array)
        transform = self._loader.load(image, row, region)
        self._fresh = True
        return transform

    def put(self, value: NDArray[Any]) -> None:
        put_value(self._tensor.name, value, self._host())
        if self._loader is not None:
            self._loader.forget()
        self._by_kernel, self._fresh = False, True

    def upload(self, stream: Any) -> None:
        if self._by_kernel and self._pictures is not None:
            self._pictures.upload(stream)
        elif self._fresh:
            self._twin.upload(self._twin.host.size, stream)
            self._fresh = False

    def launch(self, stream: Any, rows: int) -> None:
        if self._by_kernel and self._pictures is not None:
            self._pictures.launch(stream, rows)

    def close(self) -> None:
        self._array = self._loader = None
        self._twin.close()
        if self._pictures is not None:
            self._pictures.close()

    def _host(self) -> NDArray[Any]:
        """The tensor on the host; zeros until something is put."""
        if self._array is None:
            dtype = np.dtype(self._tensor.dtype)
            shape = tuple(int(dim) for dim in self._tensor.shape)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            self._twin.reserve(size)
            self._twin.host[:] = 0
            self._array = self._twin.host.view(dtype).reshape(shape)
            self._fresh = True
        return self._array

    def _use_kernel(self, kernel: Kernel) -> KernelPictures:
        if self._pictures is None:
            self._pictures = KernelPictures(self._spec, self._tensor, kernel, mapped=self._mapped)
        self._by_kernel = True
        return self._pictures
